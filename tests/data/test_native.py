"""Holdfast's own format: every bit comes back, and what is damaged is said to be."""

import json
import os

import pytest
import torch

from holdfast.data import formats, read, read_meta, select, write
from holdfast.errors import DataError, OutputError
from holdfast.seeding import stream
from holdfast.types import Episodes, Observation


def made(*, observed=True, final=True, dtype=torch.float64) -> Episodes:
    rng = stream(0, "episodes")
    states = torch.randn(8, 3, generator=rng, dtype=dtype)
    picture = torch.randint(0, 256, (8, 4, 4, 3), generator=rng, dtype=torch.uint8)
    seen = Observation(state=states, environment_state=states[:, :2] * 2, images={"top": picture})
    return Episodes(
        actions=torch.randn(8, 2, generator=rng, dtype=dtype),
        states=states,
        lengths=torch.tensor([5, 1, 2]),
        final_states=torch.randn(3, 3, generator=rng, dtype=dtype) if final else None,
        observations=seen if observed else None,
        dt=1 / 30 if observed else None,
        system="toy" if observed else None,
    )


def assert_same(a, b):
    for x, y in [(a.actions, b.actions), (a.states, b.states), (a.lengths, b.lengths)]:
        assert x.dtype == y.dtype
        assert torch.equal(x, y)
    assert (a.dt, a.system) == (b.dt, b.system)
    assert (a.final_states is None) == (b.final_states is None)
    assert a.final_states is None or torch.equal(a.final_states, b.final_states)
    assert (a.observations is None) == (b.observations is None)
    if a.observations is not None:
        assert torch.equal(a.observations.state, b.observations.state)
        assert torch.equal(a.observations.environment_state, b.observations.environment_state)
        assert a.observations.images.keys() == b.observations.images.keys()
        assert all(torch.equal(x, b.observations.images[c]) for c, x in a.observations.images.items())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("final", [True, False])
@pytest.mark.parametrize("observed", [True, False])
def test_round_trip(tmp_path, observed, final, dtype):
    episodes = made(observed=observed, final=final, dtype=dtype)
    write(episodes, tmp_path / "a" / "demos")
    assert_same(read(tmp_path / "a" / "demos"), episodes)
    assert os.listdir(tmp_path / "a") == ["demos"]


def test_strided_arrays(tmp_path):
    wide = torch.randn(4, 6, generator=stream(0), dtype=torch.float64)
    episodes = Episodes(actions=wide[:, ::3], states=wide[:, 1:4], lengths=torch.tensor([4]))
    write(episodes, tmp_path / "demos")
    assert_same(read(tmp_path / "demos"), episodes)


def test_meta(tmp_path):
    meta = {"expert": "mpc", "names": {"state": ["x", "ẋ", "θ"]}, "seeds": [1, 2]}
    write(made(), tmp_path / "demos", meta=meta)
    assert read_meta(tmp_path / "demos") == meta
    write(made(), tmp_path / "bare")
    assert read_meta(tmp_path / "bare") == {}


@pytest.mark.parametrize("value", [float("nan"), object()])
def test_meta_must_be_json(tmp_path, value):
    with pytest.raises(DataError, match="meta cannot be stored as JSON"):
        write(made(), tmp_path / "demos", meta={"x": value})
    assert os.listdir(tmp_path) == []


def test_refuses_an_existing_folder_and_leaves_it(tmp_path):
    write(made(), tmp_path / "demos")
    with pytest.raises(OutputError, match=r"exists already.*--overwrite"):
        write(select(made(), [0]), tmp_path / "demos")
    assert_same(read(tmp_path / "demos"), made())


def test_overwrite(tmp_path):
    write(made(), tmp_path / "demos", meta={"old": True})
    write(select(made(), [2, 0]), tmp_path / "demos", overwrite=True)
    assert_same(read(tmp_path / "demos"), select(made(), [2, 0]))
    assert read_meta(tmp_path / "demos") == {}
    assert os.listdir(tmp_path) == ["demos"]


def test_overwrite_replaces_data_sets_only(tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    (home / "thesis.txt").write_text("years")
    with pytest.raises(OutputError, match=r"not a data set of Holdfast \(it has no episodes.json\)"):
        write(made(), home, overwrite=True)
    assert (home / "thesis.txt").read_text() == "years"


def test_failed_write_leaves_the_old_set_and_no_litter(tmp_path, monkeypatch):
    write(made(), tmp_path / "demos")

    def full_disk(*_):
        raise OSError("No space left on device")

    monkeypatch.setattr(formats.native, "save_file", full_disk)
    with pytest.raises(OSError, match="No space left"):
        write(select(made(), [0]), tmp_path / "demos", overwrite=True)
    assert_same(read(tmp_path / "demos"), made())
    assert os.listdir(tmp_path) == ["demos"]


def test_failed_rename_puts_the_old_set_back(tmp_path, monkeypatch):
    write(made(), tmp_path / "demos")
    rename, calls = os.rename, []

    def second_fails(source, target):
        calls.append(source)
        if len(calls) == 2:
            raise OSError("stale handle")
        rename(source, target)

    monkeypatch.setattr(os, "rename", second_fails)
    with pytest.raises(OSError, match="stale handle"):
        write(select(made(), [0]), tmp_path / "demos", overwrite=True)
    assert_same(read(tmp_path / "demos"), made())
    assert os.listdir(tmp_path) == ["demos"]


def test_what_cannot_be_read_again_is_not_written(tmp_path):
    episodes = Episodes(actions=torch.zeros(1, 1), states=torch.tensor([[float("nan")]]), lengths=torch.tensor([1]))
    with pytest.raises(DataError, match="the episodes to write: states holds nan"):
        write(episodes, tmp_path / "demos")


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
        with pytest.raises(DataError, match=r"it holds episodes.safetensors"):
            read(folder)

    def test_truncated_header(self, folder):
        file = folder / "episodes.json"
        file.write_text(file.read_text()[:-10])
        with pytest.raises(DataError, match="is damaged"):
            read(folder)

    def test_newer_version(self, folder):
        self.change(folder, version=2)
        with pytest.raises(DataError, match=r"version 2 of the format, but .* up to 1. Upgrade"):
            read(folder)
        with pytest.raises(DataError, match="Upgrade"):
            read_meta(folder)

    def test_another_program(self, folder):
        self.change(folder, format="lerobot")
        with pytest.raises(DataError, match="does not say format 'holdfast-episodes'"):
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
