"""Holdfast's own format: what is damaged is said to be; older versions are read. Round trips are in test_formats."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from holdfast.data import formats, read
from holdfast.data import write as write_any
from holdfast.data.pictures import Frames
from holdfast.errors import DataError
from holdfast.seeding import stream
from holdfast.types import Episodes, Observation


def made() -> Episodes:
    rng = stream(0, "episodes")
    states = torch.randn(8, 3, generator=rng, dtype=torch.float64)
    pictures = torch.randint(0, 256, (8, 4, 4, 3), generator=rng, dtype=torch.uint8)
    return Episodes(
        actions=torch.randn(8, 2, generator=rng, dtype=torch.float64),
        states=states,
        lengths=torch.tensor([5, 1, 2]),
        final_states=torch.randn(3, 3, generator=rng, dtype=torch.float64),
        observations=Observation(state=states, environment_state=states[:, :2] * 2),
        cameras={"top": Frames(pictures)},
        dt=1 / 30,
        system="toy",
        meta={"seed": 1},
    )


def write(episodes, path):
    write_any(episodes, path, format="holdfast")


def test_strided_arrays(tmp_path):
    wide = torch.randn(4, 6, generator=stream(0), dtype=torch.float64)
    write(Episodes(actions=wide[:, ::3], states=wide[:, 1:4], lengths=torch.tensor([4])), tmp_path / "demos")
    again = read(tmp_path / "demos")
    assert torch.equal(again.actions, wide[:, [0, 3]])
    assert torch.equal(again.states, wide[:, [1, 2, 3]])


def test_files_are_what_they_are_said_to_be(tmp_path):
    write(made(), tmp_path / "demos")
    header = json.loads((tmp_path / "demos" / "episodes.json").read_text())
    assert (header["format"], header["version"], header["meta"]) == ("holdfast-episodes", 2, {"seed": 1})
    assert header["arrays"]["final_states"] == {"shape": [3, 3], "dtype": "torch.float64"}
    # any program can look at the pictures
    pictures = np.load(tmp_path / "demos" / "camera-0.npy", allow_pickle=False)
    assert np.array_equal(pictures, made().cameras["top"].values.numpy())


def test_version_1_is_read(tmp_path):
    """It kept pictures among the tensors, and knew no names, tasks, rewards or cameras."""
    folder, episodes = tmp_path / "demos", made()
    folder.mkdir()
    header = {"format": "holdfast-episodes", "version": 1, "system": "toy", "dt": 0.1, "lengths": [5, 1, 2], "meta": {}}
    (folder / "episodes.json").write_text(json.dumps(header | {"arrays": {}}))
    pictures = episodes.cameras["top"].values
    tensors = {"actions": episodes.actions, "states": episodes.states, "observation.images.top": pictures}
    save_file(tensors, folder / "episodes.safetensors")
    again = read(folder)
    assert torch.equal(again.actions, episodes.actions)
    assert torch.equal(again.cameras["top"].read(torch.arange(8)), pictures)
    assert (again.dt, again.system, again.names, again.tasks) == (0.1, "toy", {}, None)


class TestDamage:
    @pytest.fixture
    def folder(self, tmp_path):
        write(made(), tmp_path / "demos")
        return tmp_path / "demos"

    def change(self, folder, **fields):
        header = json.loads((folder / "episodes.json").read_text())
        (folder / "episodes.json").write_text(json.dumps(header | fields))

    @pytest.mark.parametrize("keep", [0, 5, 100, -1])
    def test_truncated_tensors(self, folder, keep):
        file = folder / "episodes.safetensors"
        file.write_bytes(file.read_bytes()[:keep])
        with pytest.raises(DataError, match=r"damaged or cut short.*again"):
            read(folder)

    def test_missing_tensors(self, folder):
        (folder / "episodes.safetensors").unlink()
        with pytest.raises(DataError, match=r"has no episodes.safetensors"):
            read(folder)

    def test_missing_header(self, folder):
        (folder / "episodes.json").unlink()
        with pytest.raises(DataError, match=r"has no episodes.json"):
            formats.native.read(folder)
        with pytest.raises(DataError, match=r"it holds camera-0.npy, episodes.safetensors"):
            read(folder)

    def test_truncated_header(self, folder):
        file = folder / "episodes.json"
        file.write_text(file.read_text()[:-10])
        with pytest.raises(DataError, match="is damaged"):
            read(folder)

    def test_newer_version(self, folder):
        self.change(folder, version=4)
        with pytest.raises(DataError, match=r"version 4 of the format, but .* up to 3. Upgrade"):
            read(folder)

    def test_another_program(self, folder):
        self.change(folder, format="lerobot")
        with pytest.raises(DataError, match="does not have the format 'holdfast-episodes'"):
            read(folder)

    def test_files_of_two_sets(self, folder):
        self.change(folder, lengths=[5, 2])
        with pytest.raises(DataError, match="do not belong together"):
            read(folder)

    def test_impossible_lengths(self, folder):
        self.change(folder, lengths=[9, -3, 2])
        with pytest.raises(DataError, match="episode 1 is empty"):
            read(folder)
        self.change(folder, lengths="eight")
        with pytest.raises(DataError, match="list of whole numbers"):
            read(folder)

    def test_missing_field(self, folder):
        header = json.loads((folder / "episodes.json").read_text())
        del header["dt"]
        (folder / "episodes.json").write_text(json.dumps(header))
        with pytest.raises(DataError, match="lacks 'dt'"):
            read(folder)

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("dt", -1),
            ("dt", "fast"),
            ("system", 3),
            ("tasks", "pick"),
            ("names", ["x"]),
            ("names", {"state": [1, 2, 3]}),
            ("meta", []),
        ],
    )
    def test_fields_of_another_kind(self, folder, field, value):
        self.change(folder, **{field: value})
        with pytest.raises(DataError, match=f"{field} cannot be"):
            read(folder)

    def test_tasks_and_names_that_do_not_fit(self, folder):
        self.change(folder, tasks=["a"])
        with pytest.raises(DataError, match="1 tasks for 3 episodes"):
            read(folder)
        self.change(folder, tasks=None, names={"action": ["left"]})
        with pytest.raises(DataError, match="1 names for the 2 coordinates of action"):
            read(folder)

    def test_pictures(self, folder):
        file = folder / "camera-0.npy"
        file.write_bytes(file.read_bytes()[:-1])
        with pytest.raises(DataError, match=r"camera-0.npy is missing or cut short"):
            read(folder)
        file.unlink()
        with pytest.raises(DataError, match=r"camera-0.npy is missing or cut short"):
            read(folder)
        np.save(file, np.zeros((7, 4, 4, 3), dtype=np.uint8))
        with pytest.raises(DataError, match=r"camera-0.npy holds 7 pictures, expected 8"):
            read(folder)
        np.save(file, np.zeros((8, 4, 4, 3), dtype=np.float32))
        with pytest.raises(DataError, match=r"expected pictures \[rows, height, width, channels\] of bytes"):
            read(folder)
