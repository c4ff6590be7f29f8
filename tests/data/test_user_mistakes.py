"""Files with the mistakes that users make: refused with what came and the way out, or read, and the guess is said."""

import json

import h5py
import numpy as np
import pytest
import zarr

from holdfast.data import Selection, read, write
from holdfast.data.doctor import inspect_episodes
from holdfast.data.unseen import Unseen
from holdfast.errors import DataError

LENGTHS = (6, 5, 4)
ROWS = sum(LENGTHS)
ENDS = np.cumsum(LENGTHS)
STATES = np.arange(3.0 * ROWS).reshape(ROWS, 3) ** 1.5
ACTIONS = STATES[:, :2] + 1
PICTURES = np.arange(ROWS * 8 * 8 * 3).reshape(ROWS, 8, 8, 3).astype(np.uint8)


def npz(folder, **changes):
    arrays = {"states": STATES, "actions": ACTIONS, "episode_ends": ENDS, **changes}
    np.savez(folder / "a.npz", **{name: values for name, values in arrays.items() if values is not None})
    return folder / "a.npz"


def groups(folder, change=lambda episode, found: found, **beside):
    """An HDF5 file with a group per episode, and what lies beside the groups."""
    with h5py.File(folder / "a.hdf5", "w") as file:
        for episode, (end, length) in enumerate(zip(ENDS, LENGTHS, strict=True)):
            rows = slice(end - length, end)
            for name, values in change(episode, {"obs/q": STATES[rows], "actions": ACTIONS[rows]}).items():
                file[f"demo_{episode}/{name}"] = values
        for name, values in beside.items():
            file[name] = values
    return folder / "a.hdf5"


def replay(folder, **changes):
    store = zarr.open_group(folder / "a.zarr", mode="w", zarr_format=2)
    arrays = {"data/state": STATES, "data/action": ACTIONS, "meta/episode_ends": ENDS, **changes}
    for name, values in arrays.items():
        if values is not None:
            store.create_array(name, data=values)
    return folder / "a.zarr"


def notes(found):
    return " ".join(found.meta.get("reading_notes", ()))


@pytest.mark.parametrize(
    ("ends", "message"),
    [
        (ENDS - 1, r"gives 14 steps, but there are 15 actions\. .* the last rows: add 1 to each"),
        (np.array([0, 6, 11]), r"gives 11 steps, .* begin with 0, .* the first rows: leave out the 0 and append 15"),
        (np.array(LENGTHS), r"would have -1 steps\..* sum to 15, .* lengths: store their cumulative sum"),
        (ENDS + 2, r"gives 17 steps, but there are 15 actions\. Expected the last entry to be 15"),
    ],
)
class TestEnds:
    def test_npz(self, tmp_path, ends, message):
        with pytest.raises(DataError, match=message):
            read(npz(tmp_path, episode_ends=ends))

    def test_zarr(self, tmp_path, ends, message):
        hint = message.rpartition(".* ")[2]
        with pytest.raises(DataError, match=hint if "Expected" not in hint else "write both from one recording"):
            read(replay(tmp_path, **{"meta/episode_ends": ends}))


def test_lengths_that_are_ends(tmp_path):
    with pytest.raises(DataError, match=r"lengths gives 32 steps, .* seem to be ends.*name them episode_ends"):
        read(npz(tmp_path, episode_ends=None, lengths=ENDS))


@pytest.mark.parametrize("chosen", [Selection(), Selection(state=("states",), action=("actions",))])
class TestRowsThatDoNotFit:
    def refused(self, tmp_path, chosen, message, **changes):
        with pytest.raises(DataError, match=message):
            read(npz(tmp_path, **changes), selection=chosen)

    def test_exchanged_axes(self, tmp_path, chosen):
        message = r"states is \[3, 15\], so its rows and columns seem to be exchanged\..*save its transpose"
        self.refused(tmp_path, chosen, message, states=STATES.T)
        message = r"actions is \[2, 15\], so its rows and columns seem to be exchanged"
        self.refused(tmp_path, chosen, message, states=STATES.T, actions=ACTIONS.T)

    def test_the_state_after_each_episode(self, tmp_path, chosen):
        longer = np.concatenate([np.concatenate([part, part[-1:]]) for part in np.split(STATES, ENDS[:-1])])
        message = r"states has 18 rows for 15 actions, one more for each of the 3 episodes.*final_states \[3, "
        self.refused(tmp_path, chosen, message, states=longer)

    def test_another_number_of_rows(self, tmp_path, chosen):
        self.refused(tmp_path, chosen, r"states has shape \[14, 3\], but there are 15 actions", states=STATES[:-1])

    @pytest.mark.parametrize("kind", ["U", "S20", "c16"])
    def test_no_real_numbers(self, tmp_path, chosen, kind):
        message = r"states holds no rows of numbers \(shape \[15, 3\], .*expected real numbers"
        self.refused(tmp_path, chosen, message, states=STATES.astype(kind))

    @pytest.mark.parametrize("dt", ["0.05", 0.0, -0.1, np.nan, np.full(ROWS, 0.05)])
    def test_a_time_step_that_is_none(self, tmp_path, chosen, dt):
        self.refused(tmp_path, chosen, r"dt must be one number above 0, the seconds per step; got ", dt=dt)


class TestNpz:
    @pytest.mark.parametrize("chosen", [Selection(), Selection(state=("states",))])
    def test_a_rate(self, tmp_path, chosen):
        found = read(npz(tmp_path, fps=20), selection=chosen)
        assert found.dt == 1 / 20
        assert "fps is 20: read as 20 steps per second" in notes(found)
        found = read(npz(tmp_path, fps="20"), selection=chosen)
        assert found.dt is None
        assert "fps is '20', no positive number" in notes(found)

    def test_neither_name_is_usual(self, tmp_path):
        path = npz(tmp_path, states=None, actions=None, pos=STATES, cmd=ACTIONS)
        with pytest.raises(DataError, match=r"actions under .* and states under .*found episode_ends, pos"):
            read(path)
        found = read(path, selection=Selection(state=("pos",), action=("cmd",)))
        assert np.array_equal(found.states.numpy(), STATES)
        assert np.array_equal(found.actions.numpy(), ACTIONS)

    def test_names_of_several_coordinates(self, tmp_path):
        found = read(npz(tmp_path, state_names=["x", "y", "x"]))
        assert found.names["state"] == ("x_0", "y_1", "x_2")
        assert "state_names holds x more than once" in notes(found)

    @pytest.mark.parametrize("chosen", [Selection(), Selection(state=("states",))])
    def test_cameras_have_their_short_names(self, tmp_path, chosen):
        found = read(npz(tmp_path, **{"observation.images.top": PICTURES, "wrist": PICTURES}), selection=chosen)
        assert sorted(found.cameras) == ["top", "wrist"]
        # where two would have one name, each keeps its own
        found = read(npz(tmp_path, **{"observation.images.top": PICTURES, "top": PICTURES}), selection=chosen)
        assert sorted(found.cameras) == ["observation.images.top", "top"]

    @pytest.mark.parametrize("chosen", [Selection(), Selection(state=("states",))])
    def test_pictures_of_real_numbers_are_named(self, tmp_path, chosen):
        found = read(npz(tmp_path, front=PICTURES / np.float32(255)), selection=chosen)
        assert not found.cameras
        assert "front" in found.meta["features_left_out"]
        assert "front is float32 [15, 8, 8, 3], so it is not read as a camera: save pictures as bytes" in notes(found)

    def test_pictures_as_the_state_are_said(self, tmp_path):
        found = read(npz(tmp_path, states=PICTURES))
        assert np.array_equal(found.states.numpy(), PICTURES.reshape(ROWS, -1))
        assert "rows of shape [8, 8, 3]: read as 192 numbers, although they seem to be pictures" in notes(found)

    def test_whole_numbers_are_said(self, tmp_path):
        found = read(npz(tmp_path, states=np.arange(3 * ROWS).reshape(ROWS, 3), actions=ACTIONS > 50))
        assert np.array_equal(found.actions.numpy(), ACTIONS > 50)
        assert notes(found) == "actions is bool: read as real numbers. states is int64: read as real numbers."


@pytest.mark.parametrize("chosen", [Selection(), Selection(state=("states",))])
class TestInstructions:
    def test_one_a_row_or_an_episode_or_for_all(self, tmp_path, chosen):
        by_episode = np.array(["lift", "push", "lift"])
        for values in (by_episode, np.repeat(by_episode, LENGTHS), np.repeat(by_episode, LENGTHS).astype("S")):
            assert read(npz(tmp_path, instruction=values), selection=chosen).tasks == ("lift", "push", "lift")
        assert read(npz(tmp_path, task="lift"), selection=chosen).tasks == ("lift",) * 3

    @pytest.mark.parametrize("index", [np.array([1, 0, 1]), np.repeat([1, 0, 1], LENGTHS)])
    def test_by_number(self, tmp_path, chosen, index):
        found = read(npz(tmp_path, tasks=["lift", "push"], task_index=index), selection=chosen)
        assert found.tasks == ("push", "lift", "push")
        with pytest.raises(DataError, match=r"task_index is 2 in episode 0, but tasks holds 2 instructions, 0 to 1"):
            read(npz(tmp_path, tasks=["lift", "push"], task_index=index + 1), selection=chosen)

    def test_one_that_changes_within_an_episode_is_said(self, tmp_path, chosen):
        found = read(npz(tmp_path, task=[*["lift"] * 3, *["push"] * 12]), selection=chosen)
        assert found.tasks is None
        assert "task changes within episodes" in notes(found)
        assert "task" in found.meta["features_left_out"]

    def test_other_texts_belong_to_the_episodes(self, tmp_path, chosen):
        found = read(npz(tmp_path, operator=np.repeat(["ann", "bob", "cy"], LENGTHS)), selection=chosen)
        assert found.episode_columns["operator"] == ("ann", "bob", "cy")


class TestHdf5:
    def test_instructions_in_arrays(self, tmp_path):
        def change(episode, found):
            text = ["lift", "push", "lift"][episode]
            return found | {"language_instruction": text if episode else [text.encode()] * len(found["actions"])}

        assert read(groups(tmp_path, change)).tasks == ("lift", "push", "lift")

    def test_what_lies_beside_the_episodes(self, tmp_path):
        found = read(groups(tmp_path, fps=20, task="lift", calibration=np.eye(3)))
        assert found.dt == 1 / 20
        assert found.tasks == ("lift",) * 3
        assert found.meta["features_left_out"] == ["calibration"]

    def test_a_rate_that_is_none(self, tmp_path):
        with h5py.File(groups(tmp_path), "a") as file:
            file.attrs["fps"] = "20"
        found = read(tmp_path / "a.hdf5")
        assert found.dt is None
        assert "fps is '20', no positive number, so the time step is not known from it" in notes(found)

    def test_a_gap_in_the_numbers(self, tmp_path):
        with h5py.File(groups(tmp_path), "a") as file:
            del file["demo_1"]
        assert "go from demo_0 to demo_2 without the numbers 1: were they lost?" in notes(read(tmp_path / "a.hdf5"))
        chosen = Selection(episodes=("0", "2"))
        assert "were they lost" not in notes(read(groups(tmp_path), selection=chosen))

    def test_exchanged_axes(self, tmp_path):
        path = groups(tmp_path, lambda _, found: {name: values.T for name, values in found.items()})
        with pytest.raises(DataError, match=r"actions is \[2, 6\] in demo_0 and \[2, 5\] in demo_1, .*the transposes"):
            read(path)

    def test_groups_that_are_not_numbered(self, tmp_path):
        with h5py.File(groups(tmp_path), "a") as file:
            for episode, name in enumerate(("ann", "bob", "cy")):
                file.move(f"demo_{episode}", name)
        with pytest.raises(DataError, match=r"the groups ann, bob, cy hold actions, .*Rename them, to demo_0, demo_1"):
            read(tmp_path / "a.hdf5")
        with h5py.File(tmp_path / "a.hdf5", "a") as file:
            for episode, name in enumerate(("ann", "bob", "cy")):
                file.move(name, f"demo_{episode}")
        assert np.array_equal(read(tmp_path / "a.hdf5").states.numpy(), STATES)

    def test_bytes_that_are_no_pictures_and_pictures_that_are_no_bytes(self, tmp_path):
        def change(_, found):
            steps = len(found["actions"])
            more = {"obs/cam": np.zeros((steps, 100), np.uint8), "obs/top": np.zeros((steps, 8, 8, 3), np.float32)}
            return found | more

        found = read(groups(tmp_path, change), selection=Selection(state=("q",)))
        assert np.array_equal(found.states.numpy(), STATES)
        assert "obs/cam holds rows of bytes that are no JPEG or PNG pictures" in notes(found)
        assert "obs/top is float32 [6, 8, 8, 3], so it is not read as a camera" in notes(found)

    def test_whole_episodes_in_one_array(self, tmp_path):
        blocks = {"observations": STATES[:12].reshape(3, 4, 3), "actions": ACTIONS[:12].reshape(3, 4, 2)}
        with h5py.File(tmp_path / "a.hdf5", "w") as file:
            for name, values in blocks.items():
                file[name] = values
        found = read(tmp_path / "a.hdf5")
        assert found.lengths.tolist() == [4, 4, 4]
        assert np.array_equal(found.states.numpy(), STATES[:12])
        assert "actions [3, 4, 2] is read as [episodes, steps, …]" in notes(found)


class TestZarr:
    def test_an_array_that_nobody_asked_for_blocks_nothing(self, tmp_path):
        found = read(replay(tmp_path, **{"data/force": STATES[:-1]}))
        assert np.array_equal(found.states.numpy(), STATES)
        assert found.meta["features_left_out"] == ["data/force (shape [14, 3] for 15 steps)"]
        with pytest.raises(DataError, match=r"data/force has shape \[14, 3\]"):
            read(tmp_path / "a.zarr", selection=Selection(state=("force",)))

    def test_arrays_beside_the_ends(self, tmp_path):
        path = replay(tmp_path, **{"data/state": None, "data/action": None, "state": STATES, "action": ACTIONS})
        with pytest.raises(DataError, match=r"a group data/ beside meta/episode_ends.*found action, meta, state"):
            read(path)

    def test_a_rate_in_the_attributes(self, tmp_path):
        store = zarr.open_group(tmp_path / "a.zarr", mode="w", zarr_format=3)
        for name, values in {"states": STATES, "actions": ACTIONS, "episode_ends": ENDS}.items():
            store.create_array(name, data=values)
        store.attrs["fps"] = "fast"
        assert "fps is 'fast', no positive number" in notes(read(tmp_path / "a.zarr"))
        store.attrs["fps"] = 25
        assert read(tmp_path / "a.zarr").dt == 1 / 25

    def test_cameras_have_their_short_names(self, tmp_path):
        assert [*read(replay(tmp_path, **{"data/observation.images.top": PICTURES})).cameras] == ["top"]


class TestLerobot:
    @pytest.fixture
    def folder(self, tmp_path):
        """A set of another program: without what Holdfast adds."""
        write(read(npz(tmp_path, dt=0.1, instruction=["lift", "push", "lift"])), tmp_path / "set", format="lerobot")
        self.change(tmp_path / "set", lambda info: info.pop("holdfast"))
        return tmp_path / "set"

    def change(self, folder, change):
        place = folder / "meta" / "info.json"
        info = json.loads(place.read_text())
        change(info)
        place.write_text(json.dumps(info))

    @pytest.mark.parametrize(
        ("given", "names", "said"),
        [
            (["a", "b", "a"], ("a_0", "b_1", "a_2"), r"names a more than once"),
            (["state"], None, r"has 1 name for 3 coordinates"),
        ],
    )
    def test_names_that_do_not_tell_coordinates_apart(self, folder, given, names, said):
        self.change(folder, lambda info: info["features"]["observation.state"].update(names=given))
        found = read(folder)
        assert found.names.get("observation.state") == names
        assert f"observation.state {said}" in notes(found)

    def test_no_features(self, folder):
        self.change(folder, lambda info: info.pop("features"))
        with pytest.raises(DataError, match=r"expected `features` with a dtype and a shape each, got None"):
            read(folder)

    def test_an_action_as_the_state(self, folder):
        found = read(folder, selection=Selection(state=("observation.state", "action")))
        assert "action is both state and action, so the policy observes the action that it predicts" in notes(found)


def test_a_key_that_is_both_state_and_action(tmp_path):
    chosen = Selection(state=("states", "actions"))
    assert "actions is both state and action" in notes(read(npz(tmp_path), selection=chosen))
    assert "actions is both state and action" in notes(read(groups(tmp_path), selection=Selection(state=("actions",))))
    write(read(npz(tmp_path)), tmp_path / "own")
    found = read(tmp_path / "own", selection=Selection(state=("state", "action")))
    assert np.array_equal(found.states.numpy(), np.concatenate([STATES, ACTIONS], axis=1))
    assert "action is both state and action" in notes(found)


def test_an_action_that_is_named_so_is_no_reading_of_the_robot():
    """In Isaac Lab's sets the last action stands among the observations; nothing else may be built on it."""
    from tests.data.test_layout_cases import CASES

    if not (CASES / "isaac.hdf5").exists():
        pytest.skip(f"the cases of formats are not at {CASES}")
    found = inspect_episodes(read(CASES / "isaac.hdf5")).findings
    leak = next(finding for finding in found if finding.check == "leaks")
    assert leak.values["back"] == 1
    assert leak.values["coordinates"] == [f"state actions_{place}" for place in range(7)]
    # the velocities of this set answer to the action of their own step; the recorded one is no later for that
    assert not [finding for finding in found if finding.check == "lag"]
    assert not [finding for finding in found if finding.check == "reading" and "action[" in finding.what]


@pytest.mark.parametrize("name", ["maniskill.h5", "aloha"])
def test_a_servo_that_nearly_arrives_is_no_copy_of_its_target(name):
    """States x[t + 1] = (x[t] + u[t]) / 2 follow smooth targets closely, and are not to be left out."""
    from tests.data.test_layout_cases import CASES

    if not (CASES / name).exists():
        pytest.skip(f"the cases of formats are not at {CASES}")
    assert not [one for one in inspect_episodes(read(CASES / name)).findings if one.check == "leaks" and one.remedy]


def test_unseen_names_nothing_twice(tmp_path):
    found = read(npz(tmp_path, task="lift", operator=["a", "b", "c"]))
    assert Unseen.of(found).unread == ()


class TestRobomimic:
    def written(self, folder, change=lambda episode, found: found, **beside):
        """A file in robomimic's layout, with what lies beside the group of the episodes."""
        with h5py.File(folder / "a.hdf5", "w") as file:
            for episode, (end, length) in enumerate(zip(ENDS, LENGTHS, strict=True)):
                rows = slice(end - length, end)
                found = change(episode, {"obs/q": STATES[rows], "actions": ACTIONS[rows]})
                for name, values in found.items():
                    file[f"data/demo_{episode}/{name}"] = values
            for name, values in beside.items():
                file[name] = values
        return folder / "a.hdf5"

    def test_instructions_and_what_lies_beside_the_episodes(self, tmp_path):
        def change(episode, found):
            return found | {"language_instruction": ["lift", "push", "lift"][episode]}

        found = read(self.written(tmp_path, change, fps=20, calibration=np.eye(3)))
        assert found.tasks == ("lift", "push", "lift")
        assert found.dt == 1 / 20
        assert found.meta["features_left_out"] == ["calibration"]
        assert np.array_equal(found.states.numpy(), STATES)

    def test_rates_that_are_none(self, tmp_path):
        with h5py.File(self.written(tmp_path), "a") as file:
            file["data"].attrs["env_args"] = json.dumps({"env_name": "Lift", "env_kwargs": {"control_freq": 0}})
        assert "control_freq is 0, no positive number" in notes(read(tmp_path / "a.hdf5"))
        with h5py.File(self.written(tmp_path), "a") as file:
            file["data"].attrs["fps"] = "20"
        assert "fps is '20', no positive number" in notes(read(tmp_path / "a.hdf5"))

    def test_gaps_and_pictures_that_are_no_bytes(self, tmp_path):
        def change(_, found):
            return found | {"obs/top": np.zeros((len(found["actions"]), 8, 8, 3), np.float32)}

        path = self.written(tmp_path, change, **{"mask/train": np.array([b"demo_0", b"demo_2"])})
        assert "obs/top is float32 [6, 8, 8, 3], so it is not read as a camera" in notes(read(path))
        assert "were they lost" not in notes(read(path, filter_key="train"))
        with h5py.File(path, "a") as file:
            del file["data/demo_1"]
        assert "go from demo_0 to demo_2 without the numbers 1: were they lost?" in notes(read(path))


def test_a_named_copy_condemns_no_reading_of_the_robot(tmp_path):
    """A servo that arrives within a step has the positions of the last action; the column of that name is the copy."""
    rng = np.random.default_rng(0)
    reached = rng.normal(size=(6, 41, 2)).cumsum(axis=1)
    names = ["x", "y", "last_action_0", "last_action_1"]
    last = np.concatenate([np.zeros((6, 1, 2)), reached[:, 1:-1]], axis=1)
    states = np.concatenate([reached[:, :-1], last], axis=2)
    np.savez(tmp_path / "a.npz", states=states, actions=reached[:, 1:], state_names=names, dt=0.1)
    found = inspect_episodes(read(tmp_path / "a.npz")).findings
    leak = next(finding for finding in found if finding.check == "leaks")
    assert leak.values["coordinates"] == ["state last_action_0", "state last_action_1"]
