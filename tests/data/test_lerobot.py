"""LeRobot's formats: what Holdfast writes comes back bit for bit; sets as others make them; everything damaged."""

import json
import os
import resource
import shutil
import tempfile
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.data import Selection, read
from holdfast.data.formats import lerobot
from holdfast.data.formats.lerobot import parquet, plan, writer
from holdfast.data.formats.lerobot.info import Feature
from holdfast.data.pictures import Frames
from holdfast.data.validity import validate
from holdfast.errors import DataError
from holdfast.seeding import stream
from holdfast.types import Episodes, Observation

ROOT = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("HOLDFAST_DATA", ROOT.parent / "shared" / "data"))
G1 = DATA / "lerobot_v21_g1"
MARKS = "holdfast"


def made(lengths=(5, 1, 2), dtype=torch.float32, cameras=("top",), **changes):
    rng = stream(0, "tests", "lerobot")
    rows = sum(lengths)
    state = torch.randn(rows, 3, generator=rng, dtype=dtype)
    picture = torch.randint(0, 256, (rows, 6, 8, 3), generator=rng, dtype=torch.uint8)
    episodes = Episodes(
        actions=torch.randn(rows, 2, generator=rng, dtype=dtype),
        states=state,
        lengths=torch.tensor(lengths),
        observations=Observation(state=state, environment_state=2 * state[:, :2]),
        cameras={name: Frames(picture) for name in cameras},
        rewards=torch.randn(rows, generator=rng, dtype=dtype),
        tasks=tuple("abcab"[place % 5] for place in range(len(lengths))),
        dt=1 / 30,
        system="arm",
    )
    return replace(episodes, **changes)


def bits(values):
    return values.contiguous().view(torch.uint8)


def assert_same_tensor(a, b):
    assert (a is None) == (b is None)
    if a is not None:
        assert (a.dtype, a.shape) == (b.dtype, b.shape)
        assert torch.equal(bits(a), bits(b))


def assert_same(a, b):
    for name in ("actions", "states", "lengths", "final_states", "rewards", "timestamps"):
        assert_same_tensor(getattr(a, name), getattr(b, name))
    assert (a.observations is None) == (b.observations is None)
    assert_same_tensor(a.observed.state, b.observed.state)
    assert_same_tensor(a.observed.environment_state, b.observed.environment_state)
    assert a.cameras.keys() == b.cameras.keys()
    rows = torch.arange(len(a.actions))
    for name, pictures in a.cameras.items():
        assert torch.equal(pictures.read(rows), b.cameras[name].read(rows))
    assert (a.tasks, dict(a.names), a.dt, a.system, dict(a.meta)) == (
        b.tasks,
        dict(b.names),
        b.dt,
        b.system,
        dict(b.meta),
    )


def again(episodes, **options):
    with tempfile.TemporaryDirectory() as folder:
        lerobot.write(episodes, Path(folder) / "set", **options)
        assert lerobot.FORMAT.recognises(Path(folder) / "set")
        return lerobot.read(Path(folder) / "set")


def edit(folder, **changes):
    """Change keys of info.json; `...` removes one."""
    file = folder / "meta" / "info.json"
    info = json.loads(file.read_text()) | changes
    file.write_text(json.dumps({key: value for key, value in info.items() if value is not ...}))


class TestRoundTrip:
    @pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
    def test_all_of_it(self, dtype):
        names = {
            "action": ("dx", "dy"),
            "state": ("x", "y", "θ"),
            "observation.state": ("a", "b", "c"),
            "observation.environment_state": ("p", "q"),
        }
        steps = torch.cat([torch.arange(length) for length in (5, 1, 2)])
        whole = made(
            dtype=dtype,
            names=names,
            final_states=torch.randn(3, 3, generator=stream(1), dtype=dtype),
            timestamps=steps.to(dtype) / 30 + 0.001,
            meta={"expert": "mpc", "seeds": [1, 2], "nested": {"ü": None}},
        )
        assert_same(again(whole), whole)

    def test_the_least(self):
        least = Episodes(actions=torch.ones(1, 1), states=torch.zeros(1, 1), lengths=torch.tensor([1]))
        assert_same(again(least), least)

    def test_observations_that_are_the_states_stay_apart_from_none(self):
        state = made().states
        for seen in (None, Observation(state=state), Observation(state=state.double()), Observation(state=-state)):
            assert_same(again(made(observations=seen)), made(observations=seen))

    def test_signs_of_zero(self):
        zero = torch.zeros(2, 2)
        one = Episodes(actions=zero, states=-zero, observations=Observation(state=zero), lengths=torch.tensor([2]))
        assert_same(again(one), one)

    @pytest.mark.parametrize("dt", [None, 0.035, 1 / 3, 0.1, 1 / 50, 2.0, 1e-3, 7.123456789])
    def test_steps(self, dt):
        assert again(made(dt=dt)).dt == dt

    def test_exact_times(self):
        times = torch.tensor([0.0, 0.1, 0.2 + 1e-9, 0.35, 0.4, 7.0, 0.0, 0.1], dtype=torch.float64)
        assert_same(again(made(timestamps=times)), made(timestamps=times))

    def test_strides(self):
        wide = torch.randn(8, 12, generator=stream(2))
        strided = made(states=wide[:, ::3], actions=wide[:, 1:3], observations=None)
        assert_same(again(strided), strided)

    @pytest.mark.parametrize("megabytes", [1e-5, 3e-4])
    def test_several_files(self, tmp_path, monkeypatch, megabytes):
        monkeypatch.setattr(plan, "FILE_MEGABYTES", megabytes)
        many = made(lengths=tuple(1 + place % 4 for place in range(60)))
        lerobot.write(many, tmp_path / "set")
        assert len(list((tmp_path / "set" / "data").rglob("*.parquet"))) > 10
        assert_same(lerobot.read(tmp_path / "set"), many)

    def test_more_files_than_may_be_open(self, tmp_path, monkeypatch):
        monkeypatch.setattr(plan, "FILE_MEGABYTES", 1e-5)
        monkeypatch.setattr(writer, "CHUNK", 10)
        many = made(lengths=(1,) * 103, cameras=())
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/dev/fd")) + 30, limits[1]))
        try:
            lerobot.write(many, tmp_path / "set")
            assert (tmp_path / "set" / "data" / "chunk-010" / "file-002.parquet").is_file()
            assert_same(lerobot.read(tmp_path / "set"), many)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)

    def test_pictures_beyond_memory_are_mapped(self, tmp_path, monkeypatch):
        monkeypatch.setattr(parquet, "RESIDENT", 100)
        lerobot.write(made(), tmp_path / "set")
        found = lerobot.read(tmp_path / "set")
        assert isinstance(found.cameras["top"].content, np.memmap)
        shutil.rmtree(tmp_path / "set")
        assert_same(found, made())

    def test_numbers_are_held_once(self, tmp_path):
        large = made(lengths=(2000,) * 50, cameras=(), observations=None)
        lerobot.write(large, tmp_path / "set")
        tracemalloc.start()
        lerobot.read(tmp_path / "set")
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        # 100,000 rows of 3 states, 2 actions, reward, time (4 bytes each), task and episode (8 bytes each), and checks
        assert peak < 2 * 100_000 * (7 * 4 + 2 * 8)

    @settings(max_examples=15, deadline=None)
    @given(data=st.data())
    def test_anything(self, data):
        lengths = data.draw(st.lists(st.integers(1, 6), min_size=1, max_size=5))
        rows, seed = sum(lengths), data.draw(st.integers(0, 2**31))
        rng = np.random.default_rng(seed)

        def numbers(*shape):
            kind = data.draw(st.sampled_from([np.float32, np.float64]))
            # any bits but those of numbers that are not finite
            found = rng.integers(0, 2**63, shape).astype(np.uint64).view(np.float64)
            with np.errstate(over="ignore", invalid="ignore"):
                return torch.as_tensor(np.where(np.isfinite(found.astype(kind)), found, 1.0).astype(kind))

        n, m, e = (data.draw(st.integers(1, 4)) for _ in range(3))
        maybe = lambda make: make() if data.draw(st.booleans()) else None  # noqa: E731
        states = numbers(rows, n)
        some = Episodes(
            actions=numbers(rows, m),
            states=states,
            lengths=torch.tensor(lengths),
            final_states=maybe(lambda: numbers(len(lengths), n)),
            observations=maybe(
                lambda: Observation(state=numbers(rows, n), environment_state=maybe(lambda: numbers(rows, e)))
            ),
            rewards=maybe(lambda: numbers(rows, 1)[:, 0]),
            timestamps=maybe(lambda: numbers(rows, 1)[:, 0]),
            tasks=maybe(lambda: tuple(data.draw(st.text(st.characters(codec="utf-8"), max_size=5)) for _ in lengths)),
            dt=maybe(lambda: data.draw(st.floats(1e-4, 100))),
            system=maybe(lambda: "arm"),
        )
        assert_same(again(some), some)


class TestWritten:
    """The files themselves, as LeRobot's loader wants them (`tests/external/lerobot_reads.py` asks LeRobot itself)."""

    @pytest.fixture
    def folder(self, tmp_path):
        lerobot.write(made(names={"action": ("dx", "dy")}), tmp_path / "set")
        return tmp_path / "set"

    def test_info(self, folder):
        info = json.loads((folder / "meta" / "info.json").read_text())
        assert (info["codebase_version"], info["fps"], info["robot_type"]) == ("v3.0", 30, "arm")
        assert isinstance(info["fps"], int)
        assert (info["total_episodes"], info["total_frames"], info["total_tasks"]) == (3, 8, 3)
        assert info["splits"] == {"train": "0:3"}
        assert info["features"]["action"] == {"dtype": "float32", "shape": [2], "names": ["dx", "dy"]}
        assert info["features"]["next.reward"] == {"dtype": "float32", "shape": [1], "names": None}
        top = info["features"]["observation.images.top"]
        assert (top["dtype"], top["shape"], top["names"]) == ("image", [6, 8, 3], ["height", "width", "channels"])
        for name in ("timestamp", "frame_index", "episode_index", "index", "task_index"):
            assert info["features"][name]["shape"] == [1]

    def test_rows(self, folder):
        table = pq.read_table(folder / "data" / "chunk-000" / "file-000.parquet")
        columns = table.to_pydict()
        assert columns["episode_index"] == [0, 0, 0, 0, 0, 1, 2, 2]
        assert columns["frame_index"] == [0, 1, 2, 3, 4, 0, 0, 1]
        assert columns["index"] == list(range(8))
        assert columns["task_index"] == [0, 0, 0, 0, 0, 1, 2, 2]
        assert columns["next.done"] == [False] * 4 + [True, True, False, True]
        assert columns["timestamp"] == pytest.approx([0, 1 / 30, 2 / 30, 3 / 30, 4 / 30, 0, 0, 1 / 30])
        assert table.schema.field("action").type == pa.list_(pa.float32(), 2)
        described = json.loads(table.schema.metadata[b"huggingface"])["info"]["features"]
        assert set(described) == set(table.column_names)
        assert described["observation.images.top"] == {"_type": "Image"}
        assert columns["observation.images.top"][0]["bytes"].startswith(b"\x89PNG")

    def test_tasks_are_an_index(self, folder):
        table = pq.read_table(folder / "meta" / "tasks.parquet")
        assert table.to_pydict() == {"task_index": [0, 1, 2], "task": ["a", "b", "c"]}
        assert json.loads(table.schema.metadata[b"pandas"])["index_columns"] == ["task"]

    def test_episodes(self, folder):
        columns = pq.read_table(folder / "meta" / "episodes" / "chunk-000" / "file-000.parquet").to_pydict()
        assert columns["length"] == [5, 1, 2]
        assert (columns["dataset_from_index"], columns["dataset_to_index"]) == ([0, 5, 6], [5, 6, 8])
        assert columns["tasks"] == [["a"], ["b"], ["c"]]
        assert columns["data/chunk_index"] == columns["data/file_index"] == [0, 0, 0]
        assert columns["meta/episodes/chunk_index"] == columns["meta/episodes/file_index"] == [0, 0, 0]
        actions = made().actions
        assert columns["stats/action/max"][2] == pytest.approx(actions[6:].max(0).values.tolist())
        assert columns["stats/action/q50"][1] == pytest.approx(actions[5].tolist())
        assert [len(channel) for channel in columns["stats/observation.images.top/mean"][0]] == [1, 1, 1]

    def test_statistics(self, folder):
        stats = json.loads((folder / "meta" / "stats.json").read_text())
        actions = made().actions.double()
        expected = {f"q{round(100 * q):02d}": actions.quantile(q, dim=0) for q in (0.01, 0.1, 0.5, 0.9, 0.99)}
        expected |= {"min": actions.min(0).values, "max": actions.max(0).values, "mean": actions.mean(0)}
        expected |= {"std": actions.std(0, correction=0), "count": torch.tensor([8])}
        assert stats["action"].keys() == expected.keys()
        for name, values in expected.items():
            assert stats["action"][name] == pytest.approx(values.tolist())
        pictures = made().cameras["top"].values.double() / 255
        for channel in range(3):
            assert stats["observation.images.top"]["mean"][channel] == [
                [pytest.approx(float(pictures[..., channel].mean()))]
            ]
            assert stats["observation.images.top"]["max"][channel] == [
                [pytest.approx(float(pictures[..., channel].max()))]
            ]
        info = json.loads((folder / "meta" / "info.json").read_text())
        assert stats.keys() == info["features"].keys()

    def test_films(self, tmp_path):
        ramp = (torch.arange(8)[:, None, None, None] * 20 + torch.arange(32)[:, None]).expand(8, 16, 32, 3)
        filmed = replace(made(), cameras={"top": Frames(ramp.to(torch.uint8).contiguous())})
        lerobot.write(filmed, tmp_path / "set", video=True)
        found = lerobot.read(tmp_path / "set")
        rows = torch.tensor([7, 0, 5, 6, 4])
        assert float((found.cameras["top"].read(rows).int() - ramp[rows]).abs().float().mean()) < 2
        assert_same(replace(found, cameras={}), replace(filmed, cameras={}))
        info = json.loads((tmp_path / "set" / "meta" / "info.json").read_text())
        assert info["features"]["observation.images.top"]["dtype"] == "video"
        columns = pq.read_table(tmp_path / "set" / "meta" / "episodes" / "chunk-000" / "file-000.parquet").to_pydict()
        assert columns["videos/observation.images.top/from_timestamp"] == pytest.approx([0, 5 / 30, 6 / 30])
        assert columns["videos/observation.images.top/to_timestamp"] == pytest.approx([5 / 30, 6 / 30, 8 / 30])
        assert (
            "observation.images.top" not in pq.read_schema(tmp_path / "set" / "data/chunk-000/file-000.parquet").names
        )

    def test_several_films(self, tmp_path, monkeypatch):
        monkeypatch.setattr(plan, "VIDEO_ROWS", 6)
        shade = (torch.arange(8)[:, None, None, None] * 30).expand(8, 16, 32, 3).to(torch.uint8).contiguous()
        lerobot.write(replace(made(), cameras={"top": Frames(shade)}), tmp_path / "set", video=True)
        found = lerobot.read(tmp_path / "set").cameras["top"]
        assert [file.name for file in found.files] == ["file-000.mp4", "file-001.mp4"]
        assert found.file_of.tolist() == [0, 0, 0, 0, 0, 0, 1, 1]
        assert found.seconds.tolist() == pytest.approx([0, 1 / 30, 2 / 30, 3 / 30, 4 / 30, 5 / 30, 0, 1 / 30])
        seen = found.read(torch.tensor([7, 6, 5, 0]))[:, 8, 16, 0].tolist()
        assert seen == pytest.approx([210, 180, 150, 0], abs=4)

    def test_films_of_uneven_times(self, tmp_path):
        times = torch.tensor([0, 0.1, 0.2, 0.3, 0.4, 0, 0, 0.2])
        with pytest.raises(DataError, match=r"row 7 has the timestamp 0.2 s, but its time in a video is 0.1 s"):
            lerobot.write(made(timestamps=times, dt=0.1), tmp_path / "set", video=True)

    def test_what_the_format_cannot_hold(self, tmp_path):
        with pytest.raises(DataError, match=r"meta cannot be stored as JSON"):
            lerobot.write(made(meta={"x": object()}), tmp_path / "set")
        with pytest.raises(DataError, match=r"camera 'a/b' cannot name a folder"):
            lerobot.write(made(cameras=("a/b",)), tmp_path / "set")
        with pytest.raises(DataError, match=r"action is bfloat16"):
            lerobot.write(made(actions=torch.zeros(8, 2, dtype=torch.bfloat16)), tmp_path / "set")
        empty = Observation(state=torch.zeros(8, 3), environment_state=torch.zeros(8, 0))
        with pytest.raises(DataError, match=r"observation.environment_state has no coordinates"):
            lerobot.write(made(observations=empty), tmp_path / "set")
        assert not (tmp_path / "set").exists()

    def test_after_an_edit_by_another_program(self, folder):
        # LeRobot writes info.json anew without the keys that it does not know
        edit(folder, holdfast=...)
        found = lerobot.read(folder)
        assert torch.equal(found.states, made().states)
        assert (found.dt, found.system, found.tasks) == (1 / 30, "arm", ("a", "b", "c"))
        assert found.names == {"action": ("dx", "dy")}
        assert found.timestamps.tolist() == pytest.approx([0, 1 / 30, 2 / 30, 3 / 30, 4 / 30, 0, 0, 1 / 30])

    def test_a_newer_holdfast(self, folder):
        edit(folder, holdfast={"version": 2})
        with pytest.raises(DataError, match=r"version 2, but this Holdfast reads up to 1. Upgrade"):
            lerobot.read(folder)


FEATURES = {
    "observation.state": {"dtype": "float32", "shape": [3], "names": {"motors": ["a", "b", "c"]}},
    "action": {"dtype": "float32", "shape": [1], "names": ["u"]},
    "observation.force": {"dtype": "float32", "shape": [2], "names": None},
    "instruction": {"dtype": "string", "shape": [1], "names": None},
    "observation.images.wrist": {"dtype": "video", "shape": [3, 8, 10], "names": ["channels", "height", "width"]},
    **{name: {"dtype": "int64", "shape": [1], "names": None} for name in ("episode_index", "task_index")},
    "timestamp": {"dtype": "float32", "shape": [1], "names": None},
}


def columns_of(episodes, start):
    """Rows as other programs may store them: plain lists, doubles, single numbers."""
    rows = sum(length for _, length in episodes)
    tasks = [0 if step < 2 else 1 for _, length in episodes for step in range(length)]
    return {
        "observation.state": pa.array([[start + row, 0.5, -1.0] for row in range(rows)], pa.list_(pa.float64())),
        "action": pa.array([float(start + row) for row in range(rows)], pa.float32()),
        "observation.force": pa.array([[1.0, 2.0]] * rows, pa.list_(pa.float32())),
        "instruction": pa.array(["x"] * rows),
        "timestamp": pa.array([step / 20 for _, length in episodes for step in range(length)], pa.float32()),
        "episode_index": pa.array([index for index, length in episodes for _ in range(length)]),
        "task_index": pa.array(tasks),
    }


def save(folder, name, columns):
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), folder / name)


@pytest.fixture
def foreign(tmp_path):
    """A set of version 3.0 as another program may write it: two tables of rows, two of episodes, films left out."""
    folder = tmp_path / "foreign"
    save(folder, "data/chunk-000/file-000.parquet", columns_of([(0, 2), (1, 3)], 0))
    save(folder, "data/chunk-001/file-000.parquet", columns_of([(2, 1)], 5))
    listed = {"episode_index": [0, 1], "length": [2, 3], "data/chunk_index": [0, 0], "data/file_index": [0, 0]}
    save(folder, "meta/episodes/chunk-000/file-000.parquet", listed | {"stats/action/min": [[0.0], [2.0]]})
    last = {"length": [1], "episode_index": [2], "data/file_index": [0], "data/chunk_index": [1]}
    save(folder, "meta/episodes/chunk-000/file-001.parquet", last)
    save(folder, "meta/tasks.parquet", {"task_index": [1, 0], "__index_level_0__": ["pull", "push"]})
    info = {"codebase_version": "v3.0", "fps": 20, "features": FEATURES, "robot_type": "so100", "total_episodes": 3}
    info |= {
        "data_path": "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet",
        "video_path": "v/{video_key}.mp4",
    }
    (folder / "meta" / "info.json").write_text(json.dumps(info))
    return folder


class TestChosenBeforeReading:
    """Tables, groups of rows and films of episodes that are left out are not touched."""

    @pytest.fixture
    def rows_read(self, monkeypatch):
        read_rows = list[int]()
        original = parquet._rows

        def counted(table, names, size, kept):
            for batch in original(table, names, size, kept):
                read_rows.append(batch.num_rows)
                yield batch

        monkeypatch.setattr(parquet, "_rows", counted)
        return read_rows

    def test_a_table_without_chosen_episodes_is_not_opened(self, foreign):
        whole = read(foreign)
        (foreign / "data/chunk-000/file-000.parquet").write_bytes(b"broken")
        found = read(foreign, selection=Selection(episodes=("2",)))
        assert torch.equal(found.states, whole.states[5:])
        with pytest.raises(DataError, match="is damaged"):
            read(foreign, selection=Selection(episodes=("1-2",)))

    def test_rows_of_other_episodes_are_not_read(self, foreign, rows_read):
        whole = read(foreign)
        rows_read.clear()
        found = read(foreign, selection=Selection(episodes=("1",)))
        # 3 of the 5 rows of the table
        assert rows_read == [3]
        assert torch.equal(found.states, whole.states[2:5])
        assert found.lengths.tolist() == [3]

    def test_groups_of_rows_without_chosen_episodes_are_not_decoded(self, foreign, monkeypatch):
        place = foreign / "data/chunk-000/file-000.parquet"
        pq.write_table(pq.read_table(place), place, row_group_size=1)
        groups, original = list[int](), pq.ParquetFile.iter_batches

        def spied(self, **options):
            groups.extend(options["row_groups"])
            return original(self, **options)

        monkeypatch.setattr(pq.ParquetFile, "iter_batches", spied)
        found = read(foreign, selection=Selection(episodes=("1",)))
        assert groups == [2, 3, 4]
        assert found.states[:, 0].tolist() == [2.0, 3.0, 4.0]

    def test_the_given_order(self, foreign):
        whole = read(foreign)
        found = read(foreign, selection=Selection(episodes=("2", "0")))
        assert torch.equal(found.states, torch.cat([whole.states[5:], whole.states[:2]]))
        assert found.lengths.tolist() == [1, 2]

    def test_an_instruction(self, foreign):
        # the rows of an episode begin with task 0, push
        for name, tasks in (("000", [["pull"], ["pull"]]), ("001", [["push"]])):
            place = foreign / f"meta/episodes/chunk-000/file-{name}.parquet"
            pq.write_table(pq.read_table(place).append_column("tasks", pa.array(tasks)), place)
        (foreign / "data/chunk-000/file-000.parquet").write_bytes(b"broken")
        found = read(foreign, selection=Selection(task="push"))
        assert (found.tasks, found.lengths.tolist()) == (("push",), [1])

    def test_a_split(self, foreign):
        edited = json.loads((foreign / "meta/info.json").read_text()) | {"splits": {"train": "0:2", "test": "2:3"}}
        (foreign / "meta/info.json").write_text(json.dumps(edited))
        (foreign / "data/chunk-000/file-000.parquet").write_bytes(b"broken")
        assert read(foreign, selection=Selection(filter_key="test")).lengths.tolist() == [1]
        with pytest.raises(DataError, match="leaves no episode"):
            read(foreign, selection=Selection(filter_key="test", episodes=("0",)))

    def test_films_of_other_episodes_may_be_missing(self, foreign):
        key = "observation.images.wrist"
        edited = json.loads((foreign / "meta/info.json").read_text())
        edited["video_path"] = "videos/{video_key}/{chunk_index}-{file_index}.mp4"
        (foreign / "meta/info.json").write_text(json.dumps(edited))
        for name, count, file in (("000", 2, 0), ("001", 1, 1)):
            place = foreign / f"meta/episodes/chunk-000/file-{name}.parquet"
            table = pq.read_table(place)
            for part, value in (("chunk_index", 0), ("file_index", file), ("from_timestamp", 0.0)):
                table = table.append_column(f"videos/{key}/{part}", pa.array([value] * count))
            pq.write_table(table, place)
        (foreign / "videos" / key).mkdir(parents=True)
        (foreign / "videos" / key / "0-1.mp4").write_bytes(b"film")
        assert read(foreign).meta["cameras_missing"] == ["wrist"]
        assert len(read(foreign, selection=Selection(episodes=("2",))).cameras["wrist"]) == 1


class TestForeign:
    def test_content(self, foreign):
        found = lerobot.read(foreign)
        assert found.lengths.tolist() == [2, 3, 1]
        assert found.states.tolist() == [[float(row), 0.5, -1.0] for row in range(6)]
        assert found.states.dtype == torch.float32
        assert found.actions.flatten().tolist() == [0, 1, 2, 3, 4, 5]
        assert found.timestamps.tolist() == pytest.approx([0, 0.05, 0, 0.05, 0.1, 0])
        assert (found.dt, found.system, found.observations, found.rewards) == (0.05, "so100", None, None)
        assert found.tasks == ("push", "push", "push")
        assert found.names == {"action": ("u",), "observation.state": ("a", "b", "c"), "state": ("a", "b", "c")}
        assert found.meta == {
            "features_left_out": ["instruction"],
            "cameras_missing": ["wrist"],
            "tasks_vary": [1],
            "reading_notes": [
                "observation.state is float32 in meta/info.json, float64 in the tables: cast to float32."
            ],
        }
        assert found.columns["observation.force"].tolist() == [[1.0, 2.0]] * 6
        validate(found, source="the set")

    @pytest.mark.parametrize(
        ("stored", "expected"),
        [
            (["a", "b"], ("a", "b")),
            ([["a", "b"]], ("a", "b")),
            ({"motors": ["a", "b"]}, ("a", "b")),
            ({"left": ["a"], "right": ["b"]}, ("a", "b")),
            ({"b": 1, "a": 0}, ("a", "b")),
            (None, None),
            (["only one"], None),
        ],
    )
    def test_names_in_every_form(self, stored, expected):
        assert Feature(dtype="float32", shape=(2,), names=stored).flat_names == expected

    @pytest.mark.parametrize(
        ("shape", "names"),
        [
            ((48, 64, 3), None),
            ((3, 48, 64), None),
            ((3, 48, 64), ["channels", "height", "width"]),
            ((48, 64, 3), ["height", "width", "channel"]),
        ],
    )
    def test_sizes_of_pictures(self, shape, names):
        assert Feature(dtype="video", shape=shape, names=names).picture_shape == (48, 64, 3)

    def test_cameras_of_distances_are_left_out(self, foreign):
        wrist = FEATURES["observation.images.wrist"] | {"info": {"video.is_depth_map": True}}
        edit(foreign, features=FEATURES | {"observation.images.wrist": wrist})
        found = lerobot.read(foreign)
        assert found.meta["features_left_out"][-1] == "observation.images.wrist"
        assert "cameras_missing" not in found.meta

    def test_whole_numbers_become_float32(self, foreign):
        edit(
            foreign,
            features=FEATURES
            | {"task_index": ..., "action": {"dtype": "int64", "shape": [1]}}
            | {"task_index": FEATURES["task_index"]},
        )
        for file in (foreign / "data").rglob("*.parquet"):
            table = pq.read_table(file)
            place = table.column_names.index("action")
            pq.write_table(table.set_column(place, "action", table["action"].cast(pa.int32())), file)
        assert lerobot.read(foreign).actions.dtype == torch.float32


class TestDamage:
    def test_missing_files(self, foreign):
        for name, message in {
            "data/chunk-001/file-000.parquet": r"chunk-001/file-000.parquet is missing",
            "meta/tasks.parquet": r"meta/tasks.parquet is missing",
            "meta/info.json": r"lacks meta/info.json, which every LeRobot data set has",
        }.items():
            kept = (foreign / name).read_bytes()
            (foreign / name).unlink()
            assert lerobot.FORMAT.recognises(foreign)
            with pytest.raises(DataError, match=message):
                lerobot.read(foreign)
            (foreign / name).write_bytes(kept)
        shutil.rmtree(foreign / "meta" / "episodes")
        with pytest.raises(
            DataError, match=r"no table in meta/episodes: the recording was not finalised.*finalize\(\)"
        ):
            lerobot.read(foreign)

    def test_episodes_not_written_down_yet(self, foreign):
        (foreign / "meta" / "episodes" / "chunk-000" / "file-001.parquet").unlink()
        with pytest.raises(DataError, match=r"lists 3 episodes, meta/episodes has 2: .*finalize\(\)"):
            lerobot.read(foreign)

    @pytest.mark.parametrize("frames", [0, 5, 7, 600, "6", 6.5])
    def test_another_number_of_frames(self, foreign, frames):
        place = foreign / "meta" / "info.json"
        info = json.loads(place.read_text())
        place.write_text(json.dumps(info | {"total_frames": 6}))
        assert len(lerobot.read(foreign).actions) == 6
        place.write_text(json.dumps(info | {"total_frames": frames}))
        with pytest.raises(DataError, match=r"lists '?[\d.]+'? frames, the episodes in meta/episodes have 6 together"):
            lerobot.read(foreign)

    @pytest.mark.parametrize("keep", [0, 4, 60, -1, -8])
    @pytest.mark.parametrize("name", ["data/chunk-000/file-000.parquet", "meta/episodes/chunk-000/file-000.parquet"])
    def test_no_footer(self, foreign, name, keep):
        (foreign / name).write_bytes((foreign / name).read_bytes()[:keep])
        with pytest.raises(
            DataError, match=r"has no footer.*not finalised, or the file was cut short. Call finalize\(\)"
        ):
            lerobot.read(foreign)

    def test_rubbish(self, foreign):
        file = foreign / "data" / "chunk-000" / "file-000.parquet"
        content = bytearray(file.read_bytes())
        for first in range(4, len(content) - 200, 97):
            changed = bytearray(content)
            changed[first : first + 40] = bytes(40)
            file.write_bytes(changed)
            # changed numbers cannot be told from others; whatever is noticed is said as such
            try:
                lerobot.read(foreign)
            except DataError:
                continue
        file.write_bytes(b"<html>not found</html>")
        with pytest.raises(DataError, match=r"file-000.parquet is damaged"):
            lerobot.read(foreign)

    @pytest.mark.parametrize("fps", [0, -30, None, "30", float("nan"), True, ...])
    def test_rate(self, foreign, fps):
        edit(foreign, fps=fps)
        with pytest.raises(DataError, match=r"fps must be a number above 0"):
            lerobot.read(foreign)

    @pytest.mark.parametrize("version", ["v1.6", "v4.0", ...])
    def test_version(self, foreign, version):
        edit(foreign, codebase_version=version)
        with pytest.raises(DataError, match=r"Known: v2.0, v2.1, v3.0. .*convert_dataset_v1_to_v2"):
            lerobot.read(foreign)

    @pytest.mark.parametrize("name", ["observation.state", "action"])
    def test_what_is_needed(self, foreign, name):
        edit(foreign, features={key: value for key, value in FEATURES.items() if key != name})
        with pytest.raises(DataError, match=r"expected the features action and observation.state; found .*timestamp"):
            lerobot.read(foreign)

    def test_info(self, foreign):
        file = foreign / "meta" / "info.json"
        for content, message in [("{", "is damaged"), ("[]", "expected a dictionary")]:
            file.write_text(content)
            with pytest.raises(DataError, match=message):
                lerobot.read(foreign)

    @pytest.mark.parametrize("features", [None, [], {"action": {}}, {"action": {"dtype": "float32", "shape": "x"}}])
    def test_features(self, foreign, features):
        edit(foreign, features=features)
        with pytest.raises(DataError, match="features"):
            lerobot.read(foreign)

    @pytest.mark.parametrize(
        ("feature", "message"),
        [
            ({"dtype": "float32", "shape": [2]}, r"has 3 numbers a row, but meta/info.json gives 2"),
            ({"dtype": "string", "shape": [1]}, r"has dtype string and shape \[1\]; expected numbers"),
            ({"dtype": "float32", "shape": [3, 0]}, r"has dtype float32 and shape \[3, 0\]; expected numbers"),
            ({"dtype": "float33", "shape": [3]}, r"unknown dtype 'float33'"),
        ],
    )
    def test_features_that_disagree_with_the_tables(self, foreign, feature, message):
        edit(foreign, features=FEATURES | {"observation.state": feature})
        with pytest.raises(DataError, match=message):
            lerobot.read(foreign)

    def test_tables_that_disagree(self, foreign):
        file = foreign / "data" / "chunk-001" / "file-000.parquet"
        columns = columns_of([(2, 1)], 5)
        pq.write_table(pa.table(columns | {"observation.state": pa.array([[1.0, 2.0]])}), file)
        with pytest.raises(DataError, match=r"chunk-001/file-000.parquet: observation.state has 2 numbers a row"):
            lerobot.read(foreign)
        del columns["action"]
        pq.write_table(pa.table(columns), file)
        with pytest.raises(DataError, match=r"file-000.parquet lacks action, which meta/info.json lists"):
            lerobot.read(foreign)

    def test_uneven_rows_that_add_up(self, foreign):
        file = foreign / "data" / "chunk-000" / "file-000.parquet"
        uneven = pa.array([[1.0] * width for width in (3, 2, 4, 3, 3)])
        pq.write_table(pa.table(columns_of([(0, 2), (1, 3)], 0) | {"observation.state": uneven}), file)
        with pytest.raises(DataError, match=r"has 2 numbers a row, but meta/info.json gives 3"):
            lerobot.read(foreign)

    @pytest.mark.parametrize("state", [[None], [[1.0, None, 2.0]]])
    def test_rows_without_a_value(self, foreign, state):
        columns = columns_of([(2, 1)], 5) | {"observation.state": pa.array(state, pa.list_(pa.float32()))}
        pq.write_table(pa.table(columns), foreign / "data" / "chunk-001" / "file-000.parquet")
        with pytest.raises(DataError, match=r"has rows without a value"):
            lerobot.read(foreign)

    def test_files_of_two_sets(self, foreign):
        file = foreign / "data" / "chunk-001" / "file-000.parquet"
        pq.write_table(pa.table(columns_of([(2, 2)], 5)), file)
        with pytest.raises(DataError, match=r"has 6 steps, its tables have 7"):
            lerobot.read(foreign)
        pq.write_table(pa.table(columns_of([(1, 1)], 5)), file)
        with pytest.raises(DataError, match=r"row 5 belongs to episode 1 in the tables, to episode 2"):
            lerobot.read(foreign)

    def test_an_empty_episode(self, foreign):
        last = {"length": [1, 0], "episode_index": [2, 3], "data/file_index": [0, 0], "data/chunk_index": [1, 1]}
        save(foreign, "meta/episodes/chunk-000/file-001.parquet", last)
        edit(foreign, total_episodes=4)
        assert read(foreign, check=False).lengths.tolist() == [2, 3, 1, 0]
        with pytest.raises(DataError, match=r"episode 3 is empty .* --drop-episodes 3"):
            read(foreign)

    def test_an_unknown_task(self, foreign):
        save(foreign, "meta/tasks.parquet", {"task_index": [1], "task": ["pull"]})
        with pytest.raises(DataError, match=r"list of tasks lacks number 0"):
            lerobot.read(foreign)
        save(foreign, "meta/tasks.parquet", {"task_index": [1]})
        with pytest.raises(DataError, match=r"expected task_index and one column of text"):
            lerobot.read(foreign)

    @pytest.mark.parametrize(
        ("template", "message"),
        [
            ("../{chunk_index}.parquet", "leads out of the data set"),
            ("/etc/{chunk_index}", "leads out of the data set"),
            ("data/{episode}.parquet", "cannot be filled in"),
            ("data/{chunk_index", "cannot be filled in"),
        ],
    )
    def test_templates(self, foreign, template, message):
        edit(foreign, data_path=template)
        with pytest.raises(DataError, match=message):
            lerobot.read(foreign)

    def test_pictures_that_are_only_names(self, tmp_path):
        lerobot.write(made(), tmp_path / "set")
        file = tmp_path / "set" / "data" / "chunk-000" / "file-000.parquet"
        table = pq.read_table(file)
        names = pa.array([{"bytes": None, "path": "a.png"}] * 8, table.schema.field("observation.images.top").type)
        place = table.column_names.index("observation.images.top")
        pq.write_table(table.set_column(place, "observation.images.top", names), file)
        with pytest.raises(DataError, match=r"holds no pictures, only paths of files"):
            lerobot.read(tmp_path / "set")


@pytest.fixture
def older(tmp_path):
    """A set of version 2.1: one table an episode, in chunks of two."""
    folder = tmp_path / "older"
    for index, length in enumerate((2, 3, 1)):
        name = f"data/chunk-{index // 2:03d}/episode_{index:06d}.parquet"
        save(folder, name, columns_of([(index, length)], 10 * index))
    info = {"codebase_version": "v2.1", "fps": 20, "features": FEATURES, "chunks_size": 2, "total_episodes": 3}
    info |= {"data_path": "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet"}
    (folder / "meta").mkdir()
    (folder / "meta" / "info.json").write_text(json.dumps(info))
    lines = [{"episode_index": index, "length": length} for index, length in [(1, 3), (0, 2), (2, 1)]]
    (folder / "meta" / "episodes.jsonl").write_text("\n".join(map(json.dumps, lines)))
    tasks = [{"task_index": 0, "task": "push"}, {"task_index": 1, "task": "pull"}]
    (folder / "meta" / "tasks.jsonl").write_text("\n".join(map(json.dumps, tasks)) + "\n\n")
    return folder


class TestVersion21:
    def test_content(self, older):
        found = lerobot.read(older)
        assert found.lengths.tolist() == [2, 3, 1]
        assert found.actions.flatten().tolist() == [0, 1, 10, 11, 12, 20]
        assert found.tasks == ("push", "push", "push")
        assert found.meta["tasks_vary"] == [1]

    def test_another_number_of_frames(self, older):
        place = older / "meta" / "info.json"
        info = json.loads(place.read_text())
        place.write_text(json.dumps(info | {"total_frames": 7}))
        with pytest.raises(DataError, match=r"lists 7 frames, the episodes in meta/episodes.jsonl have 6 together"):
            lerobot.read(older)

    @pytest.mark.parametrize(
        ("name", "content", "message"),
        [
            ("meta/episodes.jsonl", None, "episodes.jsonl is missing"),
            ("meta/tasks.jsonl", None, "tasks.jsonl is missing"),
            ("data/chunk-001/episode_000002.parquet", None, "episode_000002.parquet is missing"),
            ("meta/episodes.jsonl", '{"episode_index": 0', "is damaged"),
            ("meta/episodes.jsonl", '{"episode_index": 0}', "line 1: expected episode_index and length"),
            ("meta/episodes.jsonl", '{"episode_index": 0, "length": 2}', "lists 3 episodes, meta/episodes.jsonl has 1"),
        ],
    )
    def test_damage(self, older, name, content, message):
        if content is None:
            (older / name).unlink()
        else:
            (older / name).write_text(content)
        with pytest.raises(DataError, match=message):
            lerobot.read(older)

    @pytest.mark.skipif(not G1.exists(), reason=f"the real G1 recordings are not at {G1}")
    def test_a_real_robot(self, tmp_path):
        found = lerobot.read(G1)
        assert (len(found), found.states.shape, found.actions.shape) == (100, (35965, 26), (35965, 26))
        assert (found.dt, found.system) == (1 / 30, "Unitree_G1_Inspire")
        assert set(found.tasks) == {"Pick up the yellow bottle on the table."}
        assert found.meta == {"cameras_missing": ["cam_high"]}
        assert found.names["state"][:2] == ("kLeftShoulderPitch", "kLeftShoulderRoll")
        # the statistics that its recorder stored, which reading never looks at
        first = json.loads((G1 / "meta" / "episodes_stats.jsonl").read_text().splitlines()[0])["stats"]
        rows = slice(0, int(found.lengths[0]))
        assert found.states[rows].max(0).values.tolist() == pytest.approx(first["observation.state"]["max"])
        assert found.actions[rows].mean(0).tolist() == pytest.approx(first["action"]["mean"], abs=1e-4)
        lerobot.write(found, tmp_path / "v3")
        assert_same(lerobot.read(tmp_path / "v3"), found)


def test_recognises(tmp_path):
    assert not lerobot.FORMAT.recognises(tmp_path)
    assert not lerobot.FORMAT.recognises(tmp_path / "nothing")
    (tmp_path / "meta").mkdir()
    (tmp_path / "meta" / "episode_ends").mkdir()
    assert not lerobot.FORMAT.recognises(tmp_path)
