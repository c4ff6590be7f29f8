"""What passed silently or as another library's error: sets cut short, edited by hand, in the way of others."""

import json
import re
import shutil
import threading
import time
from dataclasses import replace

import h5py
import numpy as np
import pytest
import torch

from holdfast.data import format_of, read, write
from holdfast.data.doctor import inspect_episodes
from holdfast.data.formats.output import atomic_output, check_output
from holdfast.data.pictures import Frames
from holdfast.errors import DataError, OutputError
from holdfast.seeding import stream
from holdfast.types import Episodes


def made(rows=40, **parts) -> Episodes:
    rng = stream(0, "refusals")
    actions, states = (torch.randn(rows, n, generator=rng, dtype=torch.float64) for n in (2, 3))
    return Episodes(actions=actions, states=states, lengths=torch.tensor([rows - 5, 5]), **parts)


def edited(place, *path, value):
    """Change one value of a JSON file."""
    content = json.loads(place.read_text())
    inner = content
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    place.write_text(json.dumps(content))


class TestDeclaredRange:
    @pytest.fixture
    def minari(self, tmp_path):
        """A set of Minari as another program leaves it, and what sets its action_space."""
        write(made(), tmp_path / "set-v0", format="minari")
        metadata = tmp_path / "set-v0" / "data" / "metadata.json"
        content = json.loads(metadata.read_text())
        del content["holdfast"]

        def declare(low, high):
            space = {"type": "Box", "dtype": "float64", "shape": [2], "low": low, "high": high}
            metadata.write_text(json.dumps({**content, "action_space": json.dumps(space)}))
            return tmp_path / "set-v0"

        return declare

    def test_actions_outside_are_refused(self, minari):
        actions = made().actions
        row = int((actions[:, 1] > 1.25).nonzero()[0])
        episode, step = (0, row) if row < 35 else (1, row - 35)
        folder = minari([-9, -9], [9, 1.25])
        count = int((actions[:, 1] > 1.25).sum())
        says = rf"episode {episode}, step {step}, coordinate 1, outside .* \[-9, 1.25\] \({count} such.*Clip"
        with pytest.raises(DataError, match=says):
            read(folder)
        found = [
            finding.what
            for finding in inspect_episodes(read(folder, check=False)).findings
            if finding.severity == "error"
        ]
        assert len(found) == 1
        assert "outside the declared range" in found[0]

    def test_actions_at_the_bounds_are_inside(self, minari):
        actions = made().actions
        episodes = read(minari(actions.amin(0).float().tolist(), actions.amax(0).float().tolist()))
        assert torch.equal(episodes.actions, actions)

    def test_the_declaration_goes_along(self, minari, tmp_path):
        episodes = read(minari([-9, float("-inf")], [9, 7]))
        write(episodes, tmp_path / "a.npz")
        write(read(tmp_path / "a.npz"), tmp_path / "again-v0", format="minari")
        space = json.loads(json.loads((tmp_path / "again-v0" / "data" / "metadata.json").read_text())["action_space"])
        assert (space["low"], space["high"]) == ([-9, float("-inf")], [9, 7])

    @pytest.mark.parametrize("low", [["a", 1], [1, 2, 3]])
    def test_bounds_that_are_none(self, minari, low):
        with pytest.raises(DataError, match="damaged bound 'low'"):
            read(minari(low, [9, 9]))

    @pytest.mark.parametrize("bounds", [{"low": [0]}, {"low": [0, 0, 0], "high": [1, 1, 1]}, 3, {"low": 1, "high": 1}])
    def test_bounds_of_another_kind(self, bounds, tmp_path):
        with pytest.raises(DataError, match="action_bounds"):
            write(made(meta={"action_bounds": bounds}), tmp_path / "a.npz")


class TestZarr:
    @pytest.fixture
    def folder(self, tmp_path):
        write(made(final_states=torch.ones(2, 3)), tmp_path / "a.zarr")
        return tmp_path / "a.zarr"

    @pytest.mark.parametrize("place", ["data/action", "data/state", "meta/final_states"])
    def test_a_chunk_that_is_gone(self, folder, place):
        (folder / place / "0.0").unlink()
        with pytest.raises(DataError, match=f"{place} lacks 1 of its 1 chunks"):
            read(folder)

    @pytest.mark.parametrize("place", ["data/action", "data/state", "meta/final_states"])
    @pytest.mark.parametrize("kept", [0.0, 0.5, 0.99])
    def test_a_chunk_cut_short(self, folder, place, kept):
        chunk = folder / place / "0.0"
        content = chunk.read_bytes()
        chunk.write_bytes(content[: int(len(content) * kept)])
        with pytest.raises(DataError, match="damaged or cut short"):
            read(folder)

    def test_pictures_cut_short(self, tmp_path):
        pixels = torch.randint(0, 256, (40, 8, 8, 3), dtype=torch.uint8, generator=stream(0, "pixels"))
        write(replace(made(), cameras={"img": Frames(pixels)}), tmp_path / "a.zarr")
        chunk = next((tmp_path / "a.zarr" / "data" / "img").glob("0.*"))
        chunk.write_bytes(chunk.read_bytes()[:-100])
        camera = read(tmp_path / "a.zarr").cameras["img"]
        with pytest.raises(DataError, match="cut short"):
            camera.read(torch.tensor([0]))

    def test_an_array_that_is_gone(self, folder):
        shutil.rmtree(folder / "meta" / "final_states")
        with pytest.raises(DataError, match="lacks meta/final_states"):
            read(folder)

    def test_zeros_are_no_gap(self, tmp_path):
        still = replace(made(), actions=torch.zeros(40, 2), rewards=torch.zeros(40))
        write(still, tmp_path / "still.zarr")
        assert torch.equal(read(tmp_path / "still.zarr").actions, still.actions)

    @pytest.mark.parametrize(
        ("key", "value"), [("shape", None), ("chunks", "x"), ("fill_value", []), ("compressor", 3)]
    )
    def test_headers_of_another_kind(self, folder, key, value):
        edited(folder / "data" / "action" / ".zarray", key, value=value)
        with pytest.raises(DataError, match="damaged"):
            read(folder)


class TestEdited:
    @pytest.mark.parametrize(
        ("path", "value"),
        [
            (["chunks_size"], "x"),
            (["features", "action", "shape", 0], -1),
            (["features", "action", "shape", 0], float("inf")),
            (["holdfast", "dt"], "x"),
            (["holdfast", "names"], None),
            (["holdfast", "names"], {"state": 3}),
            (["holdfast", "meta"], []),
        ],
    )
    def test_lerobot(self, tmp_path, path, value):
        write(made(), tmp_path / "set")
        edited(tmp_path / "set" / "meta" / "info.json", *path, value=value)
        with pytest.raises(DataError, match=r"info\.json"):
            read(tmp_path / "set")

    @pytest.mark.parametrize("value", [None, 3, [1]])
    def test_native(self, tmp_path, value):
        write(made(), tmp_path / "set", format="holdfast")
        edited(tmp_path / "set" / "episodes.json", "cameras", value=value)
        with pytest.raises(DataError, match="cameras"):
            read(tmp_path / "set")


@pytest.mark.parametrize("name", ["actions", "states"])
def test_no_coordinates(tmp_path, name):
    arrays = {"actions": np.ones((3, 1)), "states": np.ones((3, 2)), "episode_ends": np.array([3])}
    np.savez(tmp_path / "a.npz", **(arrays | {name: np.ones((3, 0))}))
    with pytest.raises(DataError, match=f"{name} holds rows of no coordinates"):
        read(tmp_path / "a.npz")
    assert any(
        finding.severity == "error" for finding in inspect_episodes(read(tmp_path / "a.npz", check=False)).findings
    )


class TestPlaces:
    @pytest.mark.parametrize("format", ["lerobot", "holdfast", "zarr", "minari"])
    def test_what_lies_beside_a_set_is_not_deleted(self, tmp_path, format):
        write(made(), tmp_path / "set", format=format)
        (tmp_path / "set" / "README.md").write_text("a card")
        write(made(), tmp_path / "set", format=format, overwrite=True)
        (tmp_path / "set" / "thesis.txt").write_text("mine")
        with pytest.raises(OutputError, match=r"holds thesis\.txt"):
            write(made(), tmp_path / "set", format=format, overwrite=True)
        assert (tmp_path / "set" / "thesis.txt").read_text() == "mine"

    @pytest.mark.parametrize("format", ["lerobot", "zarr", "minari"])
    @pytest.mark.parametrize("place", ["data/thesis.txt", "data/deep/notes.json", "data/0.txt"])
    def test_what_lies_inside_a_set_is_not_deleted(self, tmp_path, format, place):
        write(made(), tmp_path / "set", format=format)
        (tmp_path / "set" / place).parent.mkdir(exist_ok=True)
        (tmp_path / "set" / place).write_text("mine")
        with pytest.raises(OutputError, match=rf"holds {re.escape(place)}, which is not part of a"):
            write(made(), tmp_path / "set", format=format, overwrite=True)
        assert (tmp_path / "set" / place).read_text() == "mine"

    @pytest.mark.parametrize("place", ["meta/info.json", "data/metadata.json"])
    def test_another_programs_folder_is_not_deleted(self, tmp_path, place):
        for part in ("meta", "data"):
            (tmp_path / "project" / part).mkdir(parents=True)
        (tmp_path / "project" / place).write_text('{"name": "mine"}')
        with pytest.raises(OutputError, match="is not a data set"):
            write(made(), tmp_path / "project", overwrite=True)
        assert (tmp_path / "project" / place).exists()

    def test_stopped_while_threads_write_on(self, tmp_path):
        """zarr's threads go on with what they were given, and make the folders that they miss."""

        def go_on(room):
            for _ in range(25):
                room.mkdir(parents=True, exist_ok=True)
                time.sleep(0.01)

        def stopped():
            with atomic_output(tmp_path / "set", overwrite=False) as fresh:
                threading.Thread(target=go_on, args=(fresh,)).start()
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            stopped()
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize("kind", ["npy", "hdf5"])
    def test_a_folder_that_is_only_read_with_other_files(self, tmp_path, kind):
        folder, values = tmp_path / "set", made()
        folder.mkdir()
        if kind == "npy":
            for name, rows in {"actions": values.actions, "states": values.states, "lengths": values.lengths}.items():
                np.save(folder / f"{name}.npy", rows.numpy())
        for number in range(2 if kind == "hdf5" else 0):
            with h5py.File(folder / f"episode_{number}.hdf5", "w") as file:
                file["action"], file["observations/qpos"] = values.actions.numpy(), values.states.numpy()
        assert format_of(folder) == kind
        (folder / "thesis.txt").write_text("years of work")
        with pytest.raises(OutputError, match=r"holds thesis\.txt, which is not part of"):
            write(values, folder, overwrite=True)
        (folder / "thesis.txt").unlink()
        write(values, folder, overwrite=True)
        assert torch.equal(read(folder).actions, values.actions)

    def test_the_current_folder_is_refused_before_the_work(self, tmp_path, monkeypatch):
        write(made(), tmp_path / "set")
        monkeypatch.chdir(tmp_path / "set")
        with pytest.raises(OutputError, match="it is the current folder"):
            check_output(".", overwrite=True)

    def test_a_part_of_a_set_names_the_set(self, tmp_path):
        write(made(), tmp_path / "set")
        for part in ("meta", "meta/info.json"):
            with pytest.raises(DataError, match=r"is a part of the data set .*set\. Give that folder"):
                format_of(tmp_path / "set" / part)

    @pytest.mark.parametrize("name", ["a.npz", "a.hdf5"])
    def test_a_folder_called_like_a_file(self, tmp_path, name):
        (tmp_path / name).mkdir()
        with pytest.raises(DataError, match="is an empty folder"):
            read(tmp_path / name)


def test_the_doctor_looks_at_pictures():
    class Broken:
        shape = (4, 4, 3)

        def __len__(self):
            return 40

        def read(self, rows):
            raise DataError("wrist.mp4 is damaged")

    episodes = replace(made(meta={"cameras_missing": ["top"]}), cameras={"wrist": Broken()})
    found = [(f.severity, f.what) for f in inspect_episodes(episodes).findings if f.check == "cameras"]
    assert [severity for severity, _ in found] == ["error", "note"]
    assert "wrist cannot be read: wrist.mp4 is damaged" in found[0][1]
    assert "top" in found[1][1]
