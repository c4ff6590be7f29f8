"""Files in which one episode is not as the others, or is empty: it is named, with a way out that works."""

import json
import os
import re
import shutil
from pathlib import Path

import h5py
import numpy as np
import pyarrow.parquet as pq
import pytest

from holdfast.data import Preparation, Selection, prepared, read
from holdfast.data.doctor import inspect_episodes
from holdfast.errors import DataError

STEPS, COUNT, ODD = (7, 5, 6, 8), 4, 2
WITHOUT = Selection(episodes=("0-1", "3"))
CASES = Path(os.environ.get("HOLDFAST_CASES", Path(__file__).resolve().parents[3] / "shared" / "cases")) / "formats"


def arrays(number, *, fault, action, state, more=0):
    """The arrays of one episode, one of which has a fault if its number is `ODD`."""
    rng = np.random.default_rng(number)
    found = {action: rng.normal(size=(STEPS[number], 2)), state: rng.normal(size=(STEPS[number] + more, 3))}
    found[f"{state.rpartition('/')[0]}/qvel"] = rng.normal(size=(STEPS[number] + more, 3))
    if fault and number == ODD:
        FAULTS[fault](found, action, state)
    return found


def _replaced(found, key, values):
    found[key] = values


FAULTS = {
    "lacks the state": lambda found, action, state: found.pop(state),
    "lacks the action": lambda found, action, state: found.pop(action),
    "width of the state": lambda found, action, state: _replaced(found, state, found[state][:, :2]),
    "width of the action": lambda found, action, state: _replaced(found, action, found[action][:, :1]),
    "rows of the state": lambda found, action, state: _replaced(found, state, found[state][:-2]),
    "text": lambda found, action, state: _replaced(found, state, found[state].astype("S4")),
    "an empty group": lambda found, action, state: found.clear(),
    "no rows": lambda found, action, state: [_replaced(found, key, found[key][:0]) for key in found],
}
SAYS = {
    "lacks the state": "{state} is not the same .* has no such array, but the other 3 have rows of 3 numbers",
    "lacks the action": "{action} is not the same .* has no such array, but the other 3 have rows of 2 numbers",
    "width of the state": "{state} is not the same .* has rows of 2 numbers.*, but the other 3 have rows of 3",
    "width of the action": "{action} is not the same .* has rows of 1 number.*, but the other 3 have rows of 2",
    "rows of the state": "{state} is not the same .* has rows of 3 numbers, [45] for 6 steps, but the other 3",
    "text": r"{state} is not the same .* has no rows of numbers \(\|S4",
    "an empty group": "episode 2 is empty .* --drop-episodes 2",
    "no rows": "episode 2 is empty .* --drop-episodes 2",
}


def group(path, fault, pattern, **keys):
    with h5py.File(path, "w") as file:
        for number in range(COUNT):
            episode = file.create_group(pattern.format(number))
            for key, values in arrays(number, fault=fault, **keys).items():
                episode[key] = values
    return path


def folder(path, fault, pattern, **keys):
    path.mkdir()
    for number in range(COUNT):
        with h5py.File(path / f"episode_{number}.hdf5", "w") as file:
            for key, values in arrays(number, fault=fault, **keys).items():
                file[key] = values
    return path


LAYOUTS = {
    "generic": (group, "a.h5", "demo_{}", {"action": "actions", "state": "obs/qpos"}, "demo_2"),
    "maniskill": (group, "a.h5", "traj_{}", {"action": "actions", "state": "obs/agent/qpos", "more": 1}, "traj_2"),
    "robomimic": (group, "a.hdf5", "data/demo_{}", {"action": "actions", "state": "obs/qpos"}, "demo_2"),
    "aloha": (folder, "set", "", {"action": "action", "state": "observations/qpos"}, "episode_2.hdf5"),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("fault", FAULTS)
class TestHdf5:
    def path(self, tmp_path, layout, fault):
        write, name, pattern, keys, _ = LAYOUTS[layout]
        return write(tmp_path / name, fault, pattern, **keys)

    def says(self, layout, fault):
        _, _, _, keys, name = LAYOUTS[layout]
        said = SAYS[fault].format(**keys).replace(" .* has", rf" in all episodes: episode 2 \({name}\) has")
        return said + ".*--episodes 0-1 3"

    def test_it_is_named(self, tmp_path, layout, fault):
        with pytest.raises(DataError, match=self.says(layout, fault)):
            read(self.path(tmp_path, layout, fault))

    def test_with_chosen_keys(self, tmp_path, layout, fault):
        keys = LAYOUTS[layout][3]
        path, state = self.path(tmp_path, layout, fault), keys["state"]
        chosen = Selection(state=(state, state.replace("qpos", "qvel")), action=(keys["action"],))
        with pytest.raises(DataError, match=self.says(layout, fault)):
            read(path, selection=chosen)

    def test_the_way_out(self, tmp_path, layout, fault):
        path = self.path(tmp_path, layout, fault)
        found = read(path, selection=WITHOUT)
        assert found.lengths.tolist() == [7, 5, 8]
        assert np.array_equal(found.actions[12:].numpy(), np.random.default_rng(3).normal(size=(8, 2)))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("fault", ["an empty group", "no rows"])
def test_empty_episodes_are_inspected_and_can_be_dropped(tmp_path, layout, fault):
    write, name, pattern, keys, _ = LAYOUTS[layout]
    path = write(tmp_path / name, fault, pattern, **keys)
    found = read(path, check=False)
    assert found.lengths.tolist() == [7, 5, 0, 8]
    says = [finding.what for finding in inspect_episodes(found).findings if finding.check == "lengths"]
    assert "1 episode without a step: 2." in says
    left = prepared(read(path, dropped=("2",)), Preparation(drop_episodes=("2",)))
    assert left.lengths.tolist() == [7, 5, 8]


def test_an_array_that_nobody_asked_for_blocks_nothing_and_is_named(tmp_path):
    path = group(tmp_path / "a.h5", None, "demo_{}", action="actions", state="state/qpos")
    with h5py.File(path, "a") as file:
        del file["demo_1/state/qvel"]
        for number in range(COUNT):
            file[f"demo_{number}/top"] = np.zeros((STEPS[number], 8, 8 if number else 9, 3), np.uint8)
    found = read(path, selection=Selection(state=("qpos",)))
    assert found.states.shape == (26, 3)
    left_out = found.meta["features_left_out"]
    assert left_out == ["state/qvel (differs in episode 1)", "top (differs in episode 0)"]
    (said,) = found.meta["reading_notes"]
    assert re.search(r"episode 0 \(demo_0\) has rows of shape \[8, 9, 3\].* --episodes 1-3", said)


def test_numbers_are_those_of_the_file_after_a_choice(tmp_path):
    path = group(tmp_path / "a.h5", "width of the state", "demo_{}", action="actions", state="obs/qpos")
    with pytest.raises(DataError, match=r"episode 2 \(demo_2\) has .* but the other 2 .* --episodes 1 3"):
        read(path, selection=Selection(episodes=("1-3",)))


def test_an_array_of_few_episodes(tmp_path):
    path = group(tmp_path / "a.h5", None, "demo_{}", action="actions", state="obs/qpos")
    with h5py.File(path, "a") as file:
        file["demo_3/obs/force"] = np.zeros((STEPS[3], 2))
    assert read(path).meta["features_left_out"] == ["obs/force (differs in episodes 0-2)"]
    with pytest.raises(
        DataError, match=r"episodes 0-2 .* have no such array, but one other has rows of 2 .*episodes 3"
    ):
        read(path, selection=Selection(state=("force",)))


def test_a_number_that_is_not_finite_can_be_dropped(tmp_path):
    states = np.zeros((12, 2))
    states[5, 1] = np.nan
    np.savez(tmp_path / "a.npz", actions=np.zeros((12, 1)), states=states, lengths=[4, 4, 4])
    with pytest.raises(DataError, match=r"nan at episode 1, step 1, .* --drop-episodes 1.* --episodes 0 2"):
        read(tmp_path / "a.npz")
    assert len(read(tmp_path / "a.npz", dropped=("1",))) == 3
    with pytest.raises(DataError, match="nan at episode 1, step 1, "):
        read(tmp_path / "a.npz", dropped=("0",))
    # numbers of a part are not those of the file
    with pytest.raises(DataError, match=r"nan at episode 0, step 1, .* --drop-episodes 0") as caught:
        read(tmp_path / "a.npz", selection=Selection(episodes=("1-2",)))
    assert "--episodes" not in str(caught.value)


class TestTables:
    """LeRobot's version 2, which has a table an episode."""

    @pytest.fixture
    def path(self, tmp_path):
        if not CASES.is_dir():
            pytest.skip(f"the layouts are not in {CASES}")
        shutil.copytree(CASES / "a_v20", tmp_path / "set")
        return tmp_path / "set"

    def tables(self, path):
        return sorted((path / "data").rglob("*.parquet"))

    def test_a_missing_feature(self, path):
        tables = self.tables(path)
        whole = pq.read_table(tables[1])
        pq.write_table(whole.drop(["observation.state"]), tables[1])
        with pytest.raises(
            DataError, match=r"lacks observation.state.* episode 1 is not as the others. .* --episodes 0"
        ):
            read(path)
        rest = tuple(str(number) for number in range(len(tables)) if number != 1)
        assert len(read(path, selection=Selection(episodes=rest))) == len(tables) - 1

    def test_an_empty_episode(self, path):
        tables = self.tables(path)
        pq.write_table(pq.read_table(tables[1]).slice(0, 0), tables[1])
        lines = [json.loads(line) for line in (path / "meta/episodes.jsonl").read_text().splitlines()]
        info = json.loads((path / "meta/info.json").read_text())
        info["total_frames"] -= lines[1]["length"]
        lines[1]["length"] = 0
        (path / "meta/episodes.jsonl").write_text("\n".join(map(json.dumps, lines)))
        (path / "meta/info.json").write_text(json.dumps(info))
        assert int(read(path, check=False).lengths[1]) == 0
        with pytest.raises(DataError, match=r"episode 1 is empty .* --drop-episodes 1"):
            read(path)
