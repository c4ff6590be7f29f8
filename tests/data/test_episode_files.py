"""Folders with one npz or one CSV file per episode: what is read equals the numbers that were written."""

import re

import numpy as np
import pytest
import torch

from holdfast.data import Selection, check_output, read
from holdfast.data.doctor import inspect_episodes
from holdfast.data.unseen import Unseen
from holdfast.errors import DataError, OutputError, UnknownNameError

STEPS = (7, 5, 6, 8)
# natural order: 10 comes after 9
NUMBERS = (1, 2, 9, 10)


def arrays(episode, more=0):
    rng = np.random.default_rng(episode)
    steps = STEPS[episode]
    return {"actions": rng.normal(size=(steps, 2)), "states": rng.normal(size=(steps + more, 3))}


def npz(folder, *, more=0, change=None, **single):
    folder.mkdir(exist_ok=True)
    for episode, number in enumerate(NUMBERS):
        found = arrays(episode, more) | {name: values[episode] for name, values in single.items()}
        np.savez(folder / f"episode_{number}.npz", **(change(episode, found) if change else found))
    return folder


def table(found, header=True):
    columns = {f"{name[:-1]}_{i}": values[:, i] for name, values in found.items() for i in range(values.shape[1])}
    lines = [",".join(columns)] if header else []
    return "\n".join([*lines, *(",".join(map(repr, map(float, row))) for row in zip(*columns.values(), strict=True))])


def csv(folder, *, change=None, header=True):
    folder.mkdir(exist_ok=True)
    for episode, number in enumerate(NUMBERS):
        found = arrays(episode)
        (folder / f"run {number}.csv").write_text(table(change(episode, found) if change else found, header))
    return folder


WRITE = {"npz": npz, "csv": csv}
FILE = {"npz": "episode_{}.npz", "csv": "run {}.csv"}


def joined(name, episodes=range(4)):
    return np.concatenate([arrays(episode)[name] for episode in episodes])


@pytest.mark.parametrize("kind", WRITE)
class TestBothKinds:
    def test_numbers_and_their_natural_order(self, tmp_path, kind):
        found = read(WRITE[kind](tmp_path / "set"))
        assert found.lengths.tolist() == list(STEPS)
        assert np.array_equal(found.actions.numpy(), joined("actions"))
        assert np.array_equal(found.states.numpy(), joined("states"))
        names = ", ".join(FILE[kind].format(number) for number in NUMBERS)
        assert found.meta["reading_notes"][0] == f"4 files are read as one episode each, in this order: {names}."
        assert found.meta["reading_notes"][1:] == [
            f"the files go from {FILE[kind].format(1)} to {FILE[kind].format(10)} without the numbers "
            "3, 4, 5, 6, 7, 8: were they lost?"
        ]

    def test_chosen_episodes_alone_are_opened(self, tmp_path, kind):
        folder = WRITE[kind](tmp_path / "set")
        for number in (1, 10):
            (folder / FILE[kind].format(number)).write_bytes(b"broken")
        found = read(folder, selection=Selection(episodes=("2", "1")))
        assert np.array_equal(found.actions.numpy(), joined("actions", [2, 1]))

    @pytest.mark.parametrize("content", [b"", b"\0\0broken", b"\n\n"])
    def test_broken_and_empty_files_are_named(self, tmp_path, kind, content):
        folder = WRITE[kind](tmp_path / "set")
        for number in (2, 9):
            (folder / FILE[kind].format(number)).write_bytes(content)
        broken, other = (re.escape(FILE[kind].format(number)) for number in (2, 9))
        with pytest.raises(
            DataError,
            match=rf"{broken}.* It is episode 1 of the folder\. Nor can these be read: {other} \(episode 2\)\. "
            r"Read the others alone with --episodes 0 3\.",
        ):
            read(folder)
        assert len(read(folder, selection=Selection(episodes=("0", "3")))) == 2

    def test_a_file_with_other_columns_is_named(self, tmp_path, kind):
        def narrow(episode, found):
            return found | ({"states": found["states"][:, :2]} if episode == 2 else {})

        folder, name = WRITE[kind](tmp_path / "set", change=narrow), re.escape(FILE[kind].format(9))
        with pytest.raises(DataError, match=rf"in all episodes: episode 2 \({name}\) has .* --episodes 0-1 3"):
            read(folder)
        found = read(folder, selection=Selection(episodes=("0-1", "3")))
        assert np.array_equal(found.states.numpy(), joined("states", [0, 1, 3]))

    def test_keys_can_be_chosen(self, tmp_path, kind):
        state = {"npz": ("actions",), "csv": ("action_1", "action_0")}[kind]
        action = {"npz": ("states",), "csv": ("2-4",)}[kind]
        found = read(WRITE[kind](tmp_path / "set"), selection=Selection(state=state, action=action))
        order = {"npz": [0, 1], "csv": [1, 0]}[kind]
        assert np.array_equal(found.states.numpy(), joined("actions")[:, order])
        assert np.array_equal(found.actions.numpy(), joined("states"))
        with pytest.raises(UnknownNameError, match="velocity"):
            read(tmp_path / "set", selection=Selection(state=("velocity",)))

    def test_other_files_are_named(self, tmp_path, kind):
        folder = WRITE[kind](tmp_path / "set")
        (folder / "notes.txt").write_text("first try")
        (folder / f"summary.{kind}").write_text("a,b\n1,2\n")
        notes = list(Unseen.of(read(folder)).sentences())
        assert notes[-1] == f"also in the folder, and not read: notes.txt, summary.{kind}."

    def test_inspect_names_what_is_not_read(self, tmp_path, kind):
        folder = WRITE[kind](tmp_path / "set")
        (folder / "notes.txt").write_text("first try")
        found = " ".join(finding.what for finding in inspect_episodes(read(folder)).findings)
        assert "notes.txt" in found
        assert "in this order" in found

    def test_files_with_several_episodes_are_refused(self, tmp_path, kind):
        ends = {"npz": "episode_ends", "csv": "dones"}[kind]

        def several(episode, found):
            flags = np.zeros((STEPS[episode], 1))
            flags[2 if episode == 1 else -1] = 1
            list_of_ends = np.array([3, 5] if episode == 1 else [STEPS[episode]])
            return found | {ends: list_of_ends if kind == "npz" else flags}

        folder, name = WRITE[kind](tmp_path / "set", change=several), re.escape(FILE[kind].format(2))
        says = {"npz": "episode_ends", "csv": "done"}[kind]
        if kind == "csv":
            for file in folder.iterdir():
                file.write_text(file.read_text().replace("done_0", "done"))
        with pytest.raises(DataError, match=rf"{name} holds 2 episodes by its {says}\. .* --episodes 0 2-3\."):
            read(folder)
        assert len(read(folder, selection=Selection(episodes=("0", "2-3")))) == 3

    def test_nothing_is_overwritten(self, tmp_path, kind):
        folder = WRITE[kind](tmp_path / "set")
        with pytest.raises(OutputError, match="does not replace it"):
            check_output(folder, overwrite=True)


class TestNpz:
    def test_final_states(self, tmp_path):
        found = read(npz(tmp_path / "set", more=1))
        assert np.array_equal(found.final_states.numpy(), np.stack([arrays(e, 1)["states"][-1] for e in range(4)]))
        assert np.array_equal(found.states.numpy(), np.concatenate([arrays(e, 1)["states"][:-1] for e in range(4)]))

    def test_single_values_belong_to_the_episode(self, tmp_path):
        texts = np.array(["pick", "place", "pick", "pick"])
        found = read(
            npz(tmp_path / "set", success=np.array([True, False, True, True]), dt=[0.1] * 4, instruction=texts)
        )
        assert found.dt == 0.1
        assert found.tasks == tuple(texts)
        assert found.episode_columns["success"].tolist() == [True, False, True, True]
        assert Unseen.of(found).failed == ("success", (1,))
        chosen = read(tmp_path / "set", selection=Selection(task="place"))
        assert np.array_equal(chosen.actions.numpy(), arrays(1)["actions"])

    def test_other_time_steps_are_said(self, tmp_path):
        found = read(npz(tmp_path / "set", dt=[0.1, 0.1, 0.05, 0.1]))
        assert found.dt is None
        assert found.meta["reading_notes"][-1] == (
            "the time step is 0.1 s in episode_1.npz and 0.05 s in episode_9.npz, so it is not known."
        )

    def test_masks_times_pictures_and_columns(self, tmp_path):
        def more(episode, found):
            steps = STEPS[episode]
            mask = np.ones(steps, bool)
            mask[-2:] = False
            return found | {
                "mask": mask,
                "timestamp": np.arange(steps) * 20.0,
                "force": np.arange(steps) + 100 * episode,
                "top": np.full((steps, 4, 5, 3), episode, np.uint8),
                "operator": np.array(["ann"] * steps),
            }

        found = read(npz(tmp_path / "set", change=more))
        assert found.lengths.tolist() == [steps - 2 for steps in STEPS]
        assert np.allclose(found.timestamps[:5].numpy(), np.arange(5) * 0.02)
        assert found.columns["force"].tolist() == [100 * e + t for e in range(4) for t in range(STEPS[e] - 2)]
        pictures = found.cameras["top"].read(torch.tensor([0, 5, len(found.actions) - 1]))
        assert pictures[:, 0, 0, 0].tolist() == [0, 1, 3]
        assert found.episode_columns["operator"] == ("ann",) * 4
        assert "8 rows outside mask are left out, in 4 of 4 episodes." in found.meta["reading_notes"]

    def test_states_of_another_length(self, tmp_path):
        with pytest.raises(
            DataError, match=r"states has the shape \[9, 3\] in episode_1\.npz, which has 7 actions\. Expected one row"
        ):
            read(npz(tmp_path / "set", more=2))

    def test_blocks_are_no_episodes(self, tmp_path):
        folder = npz(tmp_path / "set", change=lambda e, found: {name: v[None] for name, v in found.items()})
        with pytest.raises(
            DataError, match=r"actions has shape \[1, 7, 2\] in episode_1\.npz, expected \[steps, numbers"
        ):
            read(folder)

    def test_pickles_are_refused(self, tmp_path):
        folder = npz(tmp_path / "set")
        np.savez(folder / "episode_2.npz", actions=np.array([{}], dtype=object))
        with pytest.raises(DataError, match=r"episode_2\.npz holds a pickled array.* --episodes 0 2-3"):
            read(folder)


class TestTables:
    def test_files_without_names(self, tmp_path):
        found = read(csv(tmp_path / "set", header=False), selection=Selection(state=("2-4",), action=("0:2",)))
        assert np.array_equal(found.states.numpy(), joined("states"))

    def test_a_column_that_one_file_lacks_blocks_nothing_and_is_named(self, tmp_path):
        def more(episode, found):
            return found | ({"forces": found["actions"][:, :1]} if episode != 3 else {})

        found = read(csv(tmp_path / "set", change=more))
        assert found.meta["features_left_out"] == ["force_0 (differs in episode 3)"]

    def test_times_that_start_again(self, tmp_path):
        folder = csv(tmp_path / "set")
        lines = (folder / "run 2.csv").read_text().splitlines()
        times = ["t", 0, 1, 2, 0, 1]
        (folder / "run 2.csv").write_text("\n".join(f"{t},{line}" for t, line in zip(times, lines, strict=True)))
        with pytest.raises(DataError, match=r"run 2\.csv: t starts again at row 3, so it holds several episodes"):
            read(folder)

    def test_text_in_a_column_is_named(self, tmp_path):
        folder = csv(tmp_path / "set")
        place = folder / "run 9.csv"
        rows = [line.split(",") for line in place.read_text().splitlines()]
        rows[3][2] = "oops"
        place.write_text("\n".join(map(",".join, rows)))
        with pytest.raises(DataError, match=r"run 9\.csv: column state_0 holds 'oops' in row 2.* --episodes 0-1 3"):
            read(folder)


def test_names_with_dates(tmp_path):
    for day, episode in ((2, 1), (10, 2), (1, 0)):
        np.savez(tmp_path / f"2026-01-{day:02d}_09-{50 - day}.npz", **arrays(episode))
    assert read(tmp_path).lengths.tolist() == [7, 5, 6]


def test_names_of_several_kinds(tmp_path):
    for episode, name in enumerate(["pick_0", "pick_1", "place_0", "place_1"]):
        np.savez(tmp_path / f"{name}.npz", **arrays(episode))
    assert read(tmp_path).episode_columns["group"] == ("pick_", "pick_", "place_", "place_")


def test_names_that_are_not_alike(tmp_path):
    for episode, name in enumerate(["blue", "red"]):
        np.savez(tmp_path / f"{name}.npz", **arrays(episode))
    assert read(tmp_path).lengths.tolist() == [7, 5]
    (tmp_path / "other").mkdir()
    for name in ("blue", "red"):
        np.savez(tmp_path / "other" / f"{name}.npz", joint_cmd=np.zeros((3, 1)))
    with pytest.raises(
        DataError,
        match=r"2 \.npz files\. Expected a file per episode, whose names differ in numbers alone.*Rename them so",
    ):
        read(tmp_path / "other")


def test_two_kinds_in_one_folder(tmp_path):
    csv(npz(tmp_path / "set"))
    with pytest.raises(
        DataError, match=r"4 files such as episode_1\.npz and 4 such as run 1\.csv\. .* all of one kind"
    ):
        read(tmp_path / "set")


def test_a_single_file(tmp_path):
    np.savez(tmp_path / "demos.npz", **arrays(0))
    with pytest.raises(DataError, match=r"one \.npz file\. Expected a file per episode.*give one of the files"):
        read(tmp_path)
