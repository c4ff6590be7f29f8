"""All formats alike: what is written comes back, what is no data set is refused, places are replaced whole or not."""

import json
import os
import re
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from holdfast.atomic import leaves
from holdfast.data import (
    FORMATS,
    check_output,
    differences,
    format_of,
    formats,
    hub,
    read,
    select,
    unwritable_columns,
    without_columns,
    write,
)
from holdfast.data.formats import output
from holdfast.data.formats.registry import TABLE, format_by_suffix
from holdfast.data.pictures import Frames
from holdfast.errors import DataError, HoldfastError, OutputError, RecipeError, UnknownNameError
from holdfast.seeding import stream
from holdfast.types import Episodes, Observation

PLACES = {
    "holdfast": "demos",
    "npz": "demos.npz",
    "robomimic": "demos.hdf5",
    "zarr": "demos.zarr",
    "minari": "demos-v0",
    "lerobot": "set",
}


def made(lengths=(5, 1, 2), *, dtype=torch.float64, full=True, seed=0) -> Episodes:
    """A ragged set; `full` with everything that a set can hold."""
    rng, rows = stream(seed, "formats"), sum(lengths)
    states = torch.randn(rows, 3, generator=rng, dtype=dtype)
    bare = Episodes(
        actions=torch.randn(rows, 2, generator=rng, dtype=dtype), states=states, lengths=torch.tensor(lengths)
    )
    if not full:
        return bare
    return replace(
        bare,
        final_states=torch.randn(len(lengths), 3, generator=rng, dtype=dtype),
        observations=Observation(
            state=states.clone(), environment_state=torch.randn(rows, 4, generator=rng, dtype=dtype)
        ),
        rewards=torch.randn(rows, generator=rng, dtype=dtype),
        timestamps=torch.cat([torch.arange(n, dtype=torch.float64) * 0.031 for n in lengths]),
        tasks=tuple(f"täsk {i % 2}" for i in range(len(lengths))),
        names={"state": ("hand_0", "hand_1", "grip_0"), "action": ("left", "right")},
        dt=0.031,
        system="toy",
        columns={
            "executed": torch.randn(rows, 2, generator=rng, dtype=torch.float32),
            "intervention": torch.arange(rows) % 3 == 0,
            # a name with folders in it, and one that collides with a key of an observation
            "arm/effort": torch.arange(rows, dtype=torch.int16)[:, None],
            "hand": torch.full((rows,), float("nan"), dtype=torch.float64),
        },
        episode_columns={
            "operator": tuple(f"öp {i}" for i in range(len(lengths))),
            "success": torch.arange(len(lengths)) % 2 == 0,
            "trial": torch.arange(len(lengths), dtype=torch.uint8),
        },
        meta={"seed": 3, "expert": {"kind": "mpc", "weights": [1.5, None, True]}},
    )


def assert_same_columns(a, b) -> None:
    assert a.keys() == b.keys()
    for name, values in a.items():
        if isinstance(values, tuple):
            assert values == b[name]
        else:
            assert (values.dtype, values.shape) == (b[name].dtype, b[name].shape), name
            assert values.numpy().tobytes() == b[name].numpy().tobytes(), name


def assert_same(a: Episodes, b: Episodes) -> None:
    for name in ("actions", "states", "lengths", "final_states", "rewards", "timestamps"):
        x, y = getattr(a, name), getattr(b, name)
        assert (x is None) == (y is None), name
        # bits, not values: -0.0 is not 0.0
        assert x is None or (x.dtype == y.dtype and x.numpy().tobytes() == y.numpy().tobytes()), name
    assert (a.observations is None) == (b.observations is None)
    if a.observations is not None:
        assert a.observations.state.numpy().tobytes() == b.observations.state.numpy().tobytes()
        rest = a.observations.environment_state, b.observations.environment_state
        assert rest[0] is rest[1] is None or torch.equal(*rest)
    for name in ("tasks", "names", "dt", "system", "meta"):
        assert getattr(a, name) == getattr(b, name), name
    assert_same_columns(a.columns, b.columns)
    assert_same_columns(a.episode_columns, b.episode_columns)
    assert a.cameras.keys() == b.cameras.keys()
    everything = torch.arange(len(a.actions))
    for camera, pictures in a.cameras.items():
        assert torch.equal(pictures.read(everything), b.cameras[camera].read(everything))


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("full", [True, False])
class TestRoundTrip:
    def test_every_bit(self, tmp_path, name, dtype, full):
        episodes = made(dtype=dtype, full=full)
        write(episodes, tmp_path / "a" / PLACES[name], format=name)
        assert format_of(tmp_path / "a" / PLACES[name]) == name
        assert_same(read(tmp_path / "a" / PLACES[name]), episodes)
        assert os.listdir(tmp_path / "a") == [PLACES[name]]

    def test_through_another_format(self, tmp_path, name, dtype, full):
        episodes = made(dtype=dtype, full=full, seed=1)
        write(episodes, tmp_path / PLACES[name], format=name)
        write(read(tmp_path / PLACES[name]), tmp_path / "again", format="holdfast")
        assert_same(read(tmp_path / "again"), episodes)


@settings(deadline=None, max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    lengths=st.lists(st.integers(1, 5), min_size=1, max_size=12),
    parts=st.sets(
        st.sampled_from(
            ["final_states", "observations", "rewards", "timestamps", "tasks", "names", "columns", "episode_columns"]
        )
    ),
    same=st.booleans(),
    name=st.sampled_from([name for name in FORMATS if name != "lerobot"]),
)
def test_any_parts_come_back(tmp_path_factory, lengths, parts, same, name):
    full = made(lengths)
    episodes = replace(made(lengths, full=False), **{part: getattr(full, part) for part in parts})
    if episodes.observations is not None and not same:
        own = Observation(state=torch.randn(len(full.states), 5, generator=stream(7), dtype=torch.float64))
        episodes = replace(episodes, observations=own)
    place = tmp_path_factory.mktemp("any") / PLACES[name]
    write(episodes, place, format=name)
    assert_same(read(place), episodes)


NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=12).filter(
    lambda name: name not in Episodes.RESERVED
)
DTYPES = [torch.bool, torch.float16, torch.float32, torch.float64, torch.uint8, torch.uint16, torch.uint32]
DTYPES += [torch.uint64, torch.int8, torch.int16, torch.int32, torch.int64]


@st.composite
def any_columns(draw, episodes):
    """Columns of any names, dtypes and bits for three episodes with eight rows in all."""
    rng = stream(draw(st.integers(0, 99)), "columns")
    shapes = st.just((3,)) if episodes else st.sampled_from([(8,), (8, 1), (8, 3)])

    def values():
        dtype, shape = draw(st.sampled_from(DTYPES)), draw(shapes)
        if dtype == torch.bool:
            return torch.rand(shape, generator=rng) < 0.5
        size = torch.empty(0, dtype=dtype).element_size()
        return torch.randint(0, 256, (*shape[:-1], shape[-1] * size), generator=rng, dtype=torch.uint8).view(dtype)

    texts = st.tuples(*[st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=5)] * 3)
    names = draw(st.lists(NAMES, max_size=4, unique=True))
    return {name: draw(texts) if episodes and draw(st.booleans()) else values() for name in names}


@pytest.mark.parametrize("name", FORMATS)
@settings(deadline=None, max_examples=15, suppress_health_check=list(HealthCheck))
@given(columns=any_columns(False), episode_columns=any_columns(True), full=st.booleans())
def test_any_columns_come_back(tmp_path_factory, name, columns, episode_columns, full):
    episodes = replace(made(full=full), columns=columns, episode_columns=episode_columns)
    place = tmp_path_factory.mktemp("any") / PLACES[name]
    write(episodes, place, format=name)
    again = read(place)
    assert_same(again, episodes)
    assert differences(episodes, again) == []


WRITTEN = [format for format in TABLE if format.write is not None]


class TestTable:
    """What every format in the table must do."""

    def test_names(self):
        assert PLACES.keys() == set(FORMATS)

    @pytest.mark.parametrize("format", WRITTEN, ids=FORMATS)
    def test_recognises_its_own_and_no_other(self, tmp_path, format):
        path = tmp_path / PLACES[format.name]
        write(made(), path, format=format.name)
        assert [other.name for other in TABLE if other.recognises(path)] == [format.name]
        assert format.is_complete(path)
        assert path.is_dir() == (format.entries is not None)
        if format.entries is not None:
            assert all(format.entries.fullmatch(name) for name in leaves(path))
        assert not any(other.recognises(tmp_path) for other in TABLE)

    @pytest.mark.parametrize("format", TABLE, ids=[format.name for format in TABLE])
    def test_docs_and_errors_name_it(self, format):
        assert format.name in (Path(__file__).parents[2] / "docs" / "data.md").read_text().lower()
        with pytest.raises(DataError, match=re.escape(format.example)):
            read("nowhere")

    @pytest.mark.parametrize("format", WRITTEN, ids=FORMATS)
    def test_suffixes(self, format):
        for suffix in format.suffixes:
            assert format_by_suffix(Path(f"demos{suffix}")) is format

    @pytest.mark.parametrize("format", WRITTEN, ids=FORMATS)
    def test_columns_that_it_lacks_are_named(self, tmp_path, format):
        half = replace(made(), columns={"half": torch.arange(8, dtype=torch.bfloat16)})
        if torch.bfloat16 not in format.lacks:
            write(half, tmp_path / "demos", format=format.name)
            assert torch.equal(read(tmp_path / "demos").columns["half"], half.columns["half"])
            return
        assert unwritable_columns(half, tmp_path / "demos", format=format.name) == ["half"]
        with pytest.raises(DataError, match=rf"{format.name} cannot hold the dtype of the columns half"):
            write(half, tmp_path / "demos", format=format.name)
        write(without_columns(half, "half"), tmp_path / "demos", format=format.name)

    def test_a_format_that_is_only_read(self, tmp_path, monkeypatch):
        monkeypatch.setattr(formats, "format_named", lambda name: replace(TABLE[0], write=None))
        with pytest.raises(DataError, match=r"the format lerobot can only be read. Write one of: lerobot, holdfast"):
            write(made(), tmp_path / "demos", format="lerobot")


@pytest.mark.parametrize("name", [name for name in FORMATS if name != "lerobot"])
def test_pictures(tmp_path, name):
    values = torch.randint(0, 256, (8, 6, 4, 3), generator=stream(0, "pictures"), dtype=torch.uint8)
    # names that would be folders, or collide with an observation
    cameras = {"top/left": Frames(values), "state": Frames(255 - values[..., :1])}
    episodes = replace(made(), cameras=cameras)
    write(episodes, tmp_path / PLACES[name], format=name)
    again = read(tmp_path / PLACES[name])
    assert_same(again, episodes)
    rows = torch.tensor([7, 0, 5, 5, 4, 6])
    assert torch.equal(again.cameras["top/left"].read(rows), values[rows])
    assert again.cameras["top/left"].read(rows[:0]).shape == (0, 6, 4, 3)
    # chosen episodes follow their pictures, and those can be written again
    chosen = select(again, [2, 0])
    write(chosen, tmp_path / "b" / PLACES[name], format=name)
    assert torch.equal(
        read(tmp_path / "b" / PLACES[name]).cameras["top/left"].read(torch.arange(7)), values[[6, 7, 0, 1, 2, 3, 4]]
    )


def test_a_format_by_its_suffix(tmp_path):
    for place, name in [("a.npz", "npz"), ("a.hdf5", "robomimic"), ("a.h5", "robomimic"), ("a.zarr", "zarr")]:
        write(made(), tmp_path / place)
        assert format_of(tmp_path / place) == name
    write(made(), tmp_path / "a.zarr.zip")
    assert zipfile.is_zipfile(tmp_path / "a.zarr.zip")
    assert_same(read(tmp_path / "a.zarr.zip"), made())
    write(made(full=False), tmp_path / "a")
    assert (tmp_path / "a" / "meta" / "info.json").is_file()


def test_recognised_by_content_whatever_the_name(tmp_path):
    for name, place in PLACES.items():
        write(made(full=False), tmp_path / place, format=name)
        (tmp_path / place).rename(tmp_path / f"{name} renamed")
        assert format_of(tmp_path / f"{name} renamed") == name


def test_unknown_format():
    with pytest.raises(
        UnknownNameError,
        match=r"unknown format 'tsv'. Known: holdfast, lerobot, minari, npz, robomimic, zarr",
    ):
        write(made(), "anywhere", format="tsv")


def test_formats_that_are_only_read():
    with pytest.raises(DataError, match=r"the format csv can only be read\. Write one of: .*npz"):
        write(made(), "anywhere", format="csv")


def test_differences_are_named():
    a = made()
    b = replace(a, final_states=None, tasks=None, rewards=a.rewards.float(), dt=0.03)
    assert differences(a, a) == []
    assert set(differences(a, b)) == {"final_states", "tasks", "rewards", "dt"}
    pictures = Frames(torch.zeros(8, 2, 2, 3, dtype=torch.uint8))
    assert differences(replace(a, cameras={"top": pictures}), a) == ["camera top"]
    other = Frames(torch.ones(8, 2, 2, 3, dtype=torch.uint8))
    assert differences(replace(a, cameras={"top": pictures}), replace(a, cameras={"top": other})) == ["camera top"]


class TestNoDataSet:
    def test_nothing_there(self, tmp_path):
        with pytest.raises(DataError, match=r"nowhere does not exist.*known formats: a LeRobot folder"):
            read(tmp_path / "nowhere")

    def test_mistyped_below_a_folder_is_not_asked_of_the_hub(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        (tmp_path / "runs").mkdir()
        with pytest.raises(DataError, match=r"runs/demo does not exist. Give the file or folder"):
            read("runs/demo")

    def test_a_name_of_the_hub(self, monkeypatch, tmp_path):
        write(made(full=False), tmp_path / "set", format="lerobot")
        asked = []
        monkeypatch.setattr(hub, "fetch", lambda name, *, download: asked.append((name, download)) or tmp_path / "set")
        assert len(read("some-owner/pusht_v2.1")) == 3
        assert asked == [("some-owner/pusht_v2.1", True)]

    @pytest.mark.parametrize("name", ["hopper-medium-v2", "D4RL/door/human-v2"])
    def test_a_name_of_minari(self, name):
        with pytest.raises(DataError, match=f"minari download {name}"):
            read(name)

    def test_other_folders_and_files(self, tmp_path):
        with pytest.raises(DataError, match=r"is an empty folder. Known formats"):
            read(tmp_path)
        (tmp_path / "demos.zip").write_bytes(b"PK")
        with pytest.raises(DataError, match=r"demos.zip is a file of no known format.*Unpack"):
            read(tmp_path / "demos.zip")
        with pytest.raises(DataError, match=r"is not a data set: it holds demos\.zip"):
            read(str(tmp_path))

    @pytest.mark.parametrize("name", ["demos.pkl", "demos.pt", "policy.ckpt", "demos", "torch_archive"])
    def test_pickles(self, tmp_path, name):
        import pickle

        path = tmp_path / name
        if name == "torch_archive":
            torch.save({"actions": torch.zeros(3, 1)}, path)
        else:
            path.write_bytes(pickle.dumps({"actions": [1.0]}))
        with pytest.raises(DataError, match=r"is a pickle, and loading one runs.*np.savez.*holdfast convert out.npz"):
            read(path)

    def test_options_of_another_format(self, tmp_path):
        write(made(), tmp_path / "a.npz")
        with pytest.raises(RecipeError, match=r"chosen in robomimic files, but .*a.npz is npz"):
            read(tmp_path / "a.npz", observations=["state"])
        with pytest.raises(UnknownNameError, match=r"unknown filter key 'train'. Known: success"):
            read(tmp_path / "a.npz", filter_key="train")

    @pytest.mark.parametrize("place", ["a.npz", "a.hdf5", "a.h5", "a.zarr.zip"])
    @pytest.mark.parametrize("keep", [0, 10, 0.5, -1])
    def test_cut_short(self, tmp_path, place, keep):
        path = tmp_path / place
        write(made(), path)
        content = path.read_bytes()
        path.write_bytes(content[: keep if isinstance(keep, int) else int(keep * len(content))])
        with pytest.raises(DataError, match=rf"{place}.*(damaged|cut short)"):
            read(path)


def damage_of(path) -> str:
    """What is said when a set and its pictures are read; nothing where they can be. Other errors are not caught."""
    try:
        for camera in read(path).cameras.values():
            camera.read(torch.arange(len(camera)))
    except HoldfastError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("place", [*(place for name, place in PLACES.items() if name != "lerobot"), "demos.zarr.zip"])
def test_no_damage_ends_in_a_traceback_of_another_library(tmp_path, place):
    name = next((name for name in PLACES if PLACES[name] == place), None)
    pictures = Frames(torch.randint(0, 256, (8, 6, 4, 3), generator=stream(0), dtype=torch.uint8))
    write(replace(made(), cameras={"top": pictures}), tmp_path / place, format=name)
    files = sorted(path for path in tmp_path.rglob("*") if path.is_file())
    rng, refused = np.random.default_rng(0), 0
    for _ in range(25):
        file = files[rng.integers(len(files))]
        whole = file.read_bytes()
        damaged = bytearray(whole[: rng.integers(len(whole))] if rng.random() < 0.3 else whole)
        for index in rng.integers(len(damaged), size=20 if damaged else 0):
            damaged[index] = rng.integers(256)
        file.write_bytes(damaged)
        said = damage_of(tmp_path / place)
        assert str(tmp_path) in said or not said
        refused += bool(said)
        file.write_bytes(whole)
    assert refused > 5
    read(tmp_path / place)


class TestTarget:
    def test_existing_sets_stay(self, tmp_path):
        write(made(), tmp_path / "a.npz")
        with pytest.raises(OutputError, match=r"exists already.*--overwrite"):
            write(select(made(), [0]), tmp_path / "a.npz")
        assert_same(read(tmp_path / "a.npz"), made())

    @pytest.mark.parametrize("old", FORMATS)
    @pytest.mark.parametrize("new", ["holdfast", "npz"])
    def test_any_data_set_is_replaced(self, tmp_path, old, new):
        write(made(full=False), tmp_path / "data", format=old)
        write(select(made(), [2, 0]), tmp_path / "data", format=new, overwrite=True)
        assert_same(read(tmp_path / "data"), select(made(), [2, 0]))
        assert os.listdir(tmp_path) == ["data"]

    def test_a_set_replaces_itself(self, tmp_path):
        pictures = Frames(torch.randint(0, 256, (8, 6, 4, 3), generator=stream(0), dtype=torch.uint8))
        episodes = replace(made(), cameras={"top": pictures})
        write(episodes, tmp_path / "a.hdf5")
        # its pictures are still in the file that is about to be replaced
        write(read(tmp_path / "a.hdf5"), tmp_path / "a.hdf5", overwrite=True)
        assert_same(read(tmp_path / "a.hdf5"), episodes)

    def test_nothing_else_is_replaced(self, tmp_path):
        import h5py

        (tmp_path / "home").mkdir()
        (tmp_path / "home" / "thesis.txt").write_text("years")
        (tmp_path / "notes.npz").write_text("years")
        np.savez(tmp_path / "weights.npz", W0=np.zeros(3))
        (tmp_path / "podcast").mkdir()
        (tmp_path / "podcast" / "episodes.json").write_text(json.dumps([{"title": "one"}]))
        with h5py.File(tmp_path / "weights.h5", "w") as file:
            file["data/layer"] = np.zeros(3)
        before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
        for name in ("home", "notes.npz", "weights.npz", "weights.h5", "podcast"):
            with pytest.raises(OutputError, match=f"{name} is not a data set of a known format"):
                write(made(), tmp_path / name, format="npz", overwrite=True)
            with pytest.raises(OutputError, match="is not a data set"):
                check_output(tmp_path / name, overwrite=True)
        assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before

    @pytest.mark.parametrize("name", ["holdfast", "npz", "robomimic", "zarr", "minari"])
    def test_failed_write_leaves_the_old_set_and_no_litter(self, tmp_path, name):
        write(made(), tmp_path / "data", format=name)

        class FullDisk(Frames):
            def read(self, rows):
                raise OSError("No space left on device")

        full = replace(made(), cameras={"top": FullDisk(torch.zeros(8, 2, 2, 3, dtype=torch.uint8))})
        with pytest.raises(OutputError, match="could not be written: No space left"):
            write(full, tmp_path / "data", format=name, overwrite=True)
        assert_same(read(tmp_path / "data"), made())
        assert os.listdir(tmp_path) == ["data"]

    def test_failed_rename_puts_the_old_set_back(self, tmp_path, monkeypatch):
        write(made(), tmp_path / "demos", format="holdfast")
        move, calls = os.replace, []

        def second_fails(source, place):
            calls.append(source)
            if len(calls) == 2:
                raise OSError("stale handle")
            move(source, place)

        monkeypatch.setattr("holdfast.atomic.swap.exchanged", lambda one, other: False)
        monkeypatch.setattr(output.os, "replace", second_fails)
        with pytest.raises(OutputError, match="stale handle"):
            write(select(made(), [0]), tmp_path / "demos", format="holdfast", overwrite=True)
        assert len(calls) == 3
        assert_same(read(tmp_path / "demos"), made())
        assert os.listdir(tmp_path) == ["demos"]

    def test_everything_is_on_disk_before_it_gets_its_name(self, tmp_path, monkeypatch):
        order = []
        sync, move = os.fsync, os.replace
        monkeypatch.setattr(output.os, "fsync", lambda handle: order.append("sync") or sync(handle))
        monkeypatch.setattr(output.os, "replace", lambda a, b: order.append("move") or move(a, b))
        write(made(), tmp_path / "demos", format="holdfast")
        # its folder, the set's folder and the two files in it
        assert order == ["sync"] * 4 + ["move"]

    def test_a_place_below_a_file(self, tmp_path):
        (tmp_path / "file").write_text("")
        with pytest.raises(OutputError, match="is a file"):
            write(made(), tmp_path / "file" / "demos")

    def test_what_cannot_be_read_again_is_not_written(self, tmp_path):
        bad = replace(made(), states=torch.full((8, 3), float("nan"), dtype=torch.float64))
        for name, place in PLACES.items():
            with pytest.raises(DataError, match="the episodes to write: states holds nan"):
                write(bad, tmp_path / place, format=name)
        assert os.listdir(tmp_path) == []

    @pytest.mark.parametrize("value", [float("nan"), object()])
    @pytest.mark.parametrize("name", [name for name in FORMATS if name != "lerobot"])
    def test_meta_must_be_json(self, tmp_path, name, value):
        with pytest.raises(DataError, match="meta cannot be stored as JSON"):
            write(replace(made(), meta={"x": value}), tmp_path / PLACES[name], format=name)
        assert os.listdir(tmp_path) == []

    @pytest.mark.parametrize("name", ["npz", "robomimic", "zarr", "minari"])
    def test_a_dtype_that_numpy_lacks(self, tmp_path, name):
        half = Episodes(
            actions=torch.zeros(2, 1, dtype=torch.bfloat16), states=torch.zeros(2, 1), lengths=torch.tensor([2])
        )
        with pytest.raises(DataError, match=r"actions is torch.bfloat16, which this format cannot hold"):
            write(half, tmp_path / PLACES[name], format=name)
