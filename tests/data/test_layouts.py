"""Layouts of other programs' files, written here in variants: what is read equals the numbers that were written."""

import io
import json

import h5py
import numpy as np
import pytest
import torch
from PIL import Image

from holdfast.data import Selection, read, write
from holdfast.data.unseen import Unseen
from holdfast.errors import DataError, RecipeError, UnknownNameError

LENGTHS = (7, 5, 9)
TOTAL, COUNT = sum(LENGTHS), len(LENGTHS)
ENDS = np.cumsum(LENGTHS)


@pytest.fixture
def numbers():
    """States and actions of all steps, smooth in time, so that the axes of time can be told."""
    rng = np.random.default_rng(0)
    steps = [np.arange(length)[:, None] / 9 for length in LENGTHS]
    phases = [rng.uniform(0, 6, (1, 4)) for _ in LENGTHS]
    states = np.concatenate([np.sin(t + phase) for t, phase in zip(steps, phases, strict=True)])
    return states, np.concatenate([np.cos(t + phase[:, :2]) for t, phase in zip(steps, phases, strict=True)])


def episodes_in(values):
    return np.split(values, ENDS[:-1])


def same(found, states, actions, lengths=LENGTHS):
    assert tuple(found.lengths.tolist()) == tuple(lengths)
    assert np.array_equal(found.states.double().numpy(), states)
    assert np.array_equal(found.actions.double().numpy(), actions)


def padded(values, length=12):
    block = np.zeros((COUNT, length, values.shape[1]))
    for episode, part in enumerate(episodes_in(values)):
        block[episode, : len(part)] = part
    return block


class TestArrays:
    @pytest.mark.parametrize("dtype", [bool, np.uint8, np.int64, np.float32, np.float64])
    @pytest.mark.parametrize("flag", ["dones", "terminals", "timeouts", "is_last", "truncated"])
    def test_flags_of_last_rows(self, tmp_path, numbers, dtype, flag):
        flags = np.zeros(TOTAL, dtype)
        flags[ENDS - 1] = 1
        np.savez(tmp_path / "a.npz", actions=numbers[1], observations=numbers[0], **{flag: flags})
        same(read(tmp_path / "a.npz"), *numbers)

    def test_several_flags_together(self, tmp_path, numbers):
        goal, time = np.zeros((TOTAL, 1)), np.zeros(TOTAL, np.uint8)
        goal[ENDS[0] - 1], time[ENDS[1] - 1] = 1, 1
        np.savez(tmp_path / "a.npz", actions=numbers[1], obs=numbers[0], terminals=goal, timeouts=time)
        found = read(tmp_path / "a.npz")
        same(found, *numbers)
        assert any("the last 9 rows are not ended" in note for note in found.meta["reading_notes"])

    @pytest.mark.parametrize("name", ["episode_starts", "is_first"])
    @pytest.mark.parametrize("dtype", [bool, np.uint8, np.float32])
    def test_flags_of_first_rows(self, tmp_path, numbers, name, dtype):
        flags = np.zeros(TOTAL, dtype)
        flags[[0, *ENDS[:-1]]] = 1
        np.savez(tmp_path / "a.npz", actions=numbers[1], obs=numbers[0], **{name: flags})
        same(read(tmp_path / "a.npz"), *numbers)

    def test_numbers_of_episodes(self, tmp_path, numbers):
        which = np.repeat([4, 2, 8], LENGTHS)
        np.savez(tmp_path / "a.npz", actions=numbers[1], obs=numbers[0], episode_id=which)
        same(read(tmp_path / "a.npz"), *numbers)
        np.savez(tmp_path / "b.npz", actions=numbers[1], obs=numbers[0], episode_id=np.roll(which, 3))
        with pytest.raises(DataError, match="returns to an earlier number"):
            read(tmp_path / "b.npz")

    def test_flags_that_are_none(self, tmp_path, numbers):
        np.savez(tmp_path / "a.npz", actions=numbers[1], obs=numbers[0], dones=np.full(TOTAL, 0.5))
        with pytest.raises(DataError, match="dones must hold one flag per row, 0 or 1"):
            read(tmp_path / "a.npz")
        first = np.zeros(TOTAL)
        first[[0, *ENDS[:-1]]] = 1
        np.savez(tmp_path / "b.npz", actions=numbers[1], obs=numbers[0], dones=first)
        with pytest.raises(DataError, match=r"first rows of episodes\. Rename the array to episode_starts"):
            read(tmp_path / "b.npz")

    @pytest.mark.parametrize("mask", ["existence_mask", "mask", "valid", "is_pad", "padding_mask"])
    @pytest.mark.parametrize("time_first", [False, True])
    @pytest.mark.parametrize("dtype", [bool, np.uint8, np.float64])
    def test_masks(self, tmp_path, numbers, mask, time_first, dtype):
        inside = np.arange(12) < np.array(LENGTHS)[:, None]
        flags = (~inside if "pad" in mask else inside).astype(dtype)
        blocks = {"actions": padded(numbers[1]), "observations": padded(numbers[0]), mask: flags}
        np.savez(tmp_path / "a.npz", **{k: v.swapaxes(0, 1) if time_first else v for k, v in blocks.items()})
        found = read(tmp_path / "a.npz")
        same(found, *numbers)
        assert any("15 rows of padding" in note for note in found.meta["reading_notes"])
        same(read(tmp_path / "a.npz", selection=Selection(state=("observations",))), *numbers)

    def test_lengths_cut_padding(self, tmp_path, numbers):
        np.savez(tmp_path / "a.npz", actions=padded(numbers[1]), states=padded(numbers[0]), lengths=np.array(LENGTHS))
        same(read(tmp_path / "a.npz"), *numbers)

    def test_a_mask_with_holes(self, tmp_path, numbers):
        inside = (np.arange(12) < np.array(LENGTHS)[:, None]).astype(float)
        inside[0, 3] = inside[2, 5] = 0
        np.savez(tmp_path / "a.npz", actions=padded(numbers[1]), observations=padded(numbers[0]), existence_mask=inside)
        with pytest.raises(DataError, match="the mask has holes"):
            read(tmp_path / "a.npz")

    def test_no_axis_is_guessed(self, tmp_path):
        t = np.linspace(0, 6, 90)
        waves = np.stack([[np.sin(t + a), np.cos(t + a)] for a in range(5)])
        np.savez(tmp_path / "channels.npz", actions=waves, states=waves)
        with pytest.raises(DataError, match=r"change least along the last axis.*np.swapaxes"):
            read(tmp_path / "channels.npz")
        np.savez(tmp_path / "time.npz", actions=waves.transpose(2, 0, 1), states=waves.transpose(2, 0, 1))
        with pytest.raises(DataError, match="change least along the first axis"):
            read(tmp_path / "time.npz")
        square = np.random.default_rng(0).normal(size=(6, 6, 2))
        np.savez(tmp_path / "square.npz", actions=square, states=square)
        with pytest.raises(DataError, match=r"can be \[episodes, steps, …\] or \[steps, episodes"):
            read(tmp_path / "square.npz")
        np.savez(tmp_path / "right.npz", actions=waves.transpose(0, 2, 1), states=waves.transpose(0, 2, 1))
        assert read(tmp_path / "right.npz").lengths.tolist() == [90] * 5

    def test_a_folder_of_arrays(self, tmp_path, numbers):
        folder = tmp_path / "kitchen"
        folder.mkdir()
        inside = (np.arange(12)[:, None] < np.array(LENGTHS)).astype(np.float32)
        for name, values in {"actions": numbers[1], "observations": numbers[0]}.items():
            np.save(folder / f"{name}_seq.npy", padded(values).swapaxes(0, 1))
        np.save(folder / "existence_mask.npy", inside)
        same(read(folder), *numbers)
        np.save(folder / "mask.npy", np.array([{}], dtype=object), allow_pickle=True)
        with pytest.raises(DataError, match=r"mask\.npy is a pickled array"):
            read(folder)


class TestGroups:
    @pytest.mark.parametrize("stem", ["traj_{}", "demo_{}", "data/ep{:03d}", "task/runs/{}", "rollouts/trial-{}"])
    def test_groups_with_a_final_observation(self, tmp_path, numbers, stem):
        with h5py.File(tmp_path / "a.h5", "w") as file:
            for episode, (x, u) in enumerate(zip(*map(episodes_in, numbers), strict=True)):
                group = file.create_group(stem.format(episode + 8))
                group["actions"] = u
                group["obs/agent/qpos"] = np.concatenate([x[:, :3], np.full((1, 3), 7.0 + episode)])
                group["obs/extra/pose"] = np.concatenate([x[:, 3:], np.full((1, 1), 9.0)])
                group["success"] = np.arange(len(u)) == len(u) - 1
        found = read(tmp_path / "a.h5")
        same(found, *numbers)
        assert found.final_states.tolist() == [[7.0 + i] * 3 + [9.0] for i in range(COUNT)]
        assert found.names["state"] == ("qpos_0", "qpos_1", "qpos_2", "pose_0")
        assert found.columns["success"].dtype == torch.bool
        only = read(tmp_path / "a.h5", selection=Selection(state=("pose", "qpos"), episodes=("2", "0:1")))
        assert only.names["state"] == ("pose_0", "qpos_0", "qpos_1", "qpos_2")
        expected = np.concatenate([episodes_in(numbers[0])[2], episodes_in(numbers[0])[0]])[:, [3, 0, 1, 2]]
        assert np.array_equal(only.states.numpy(), expected)

    def test_unusual_names(self, tmp_path, numbers):
        with h5py.File(tmp_path / "a.hdf5", "w") as file:
            for episode, (x, u) in enumerate(zip(*map(episodes_in, numbers), strict=True)):
                group = file.create_group(f"demo_{episode}")
                group["joint_cmd"], group["sensors/arm"], group["gain"] = u[:, 0], x, u
        with pytest.raises(DataError, match=r"no array is named action.*joint_cmd.*--action KEY"):
            read(tmp_path / "a.hdf5")
        found = read(tmp_path / "a.hdf5", selection=Selection(state=("arm",), action=("joint_cmd",)))
        same(found, numbers[0], numbers[1][:, :1])
        assert found.names["action"] == ("joint_cmd_0",)
        assert np.array_equal(found.columns["gain"].numpy(), numbers[1])

    def test_names_in_the_singular(self, tmp_path, numbers):
        with h5py.File(tmp_path / "a.hdf5", "w") as file:
            for episode, (x, u) in enumerate(zip(*map(episodes_in, numbers), strict=True)):
                file[f"data/demo_{episode}/action"], file[f"data/demo_{episode}/observation"] = u, x
        same(read(tmp_path / "a.hdf5"), *numbers)

    @pytest.mark.parametrize("packed", [False, True])
    def test_a_file_an_episode(self, tmp_path, numbers, packed):
        folder = tmp_path / "aloha"
        folder.mkdir()
        pictures = np.random.default_rng(0).integers(0, 256, (TOTAL, 6, 8, 3), dtype=np.uint8)
        for episode, (x, u, view) in enumerate(zip(*map(episodes_in, (*numbers, pictures)), strict=True)):
            with h5py.File(folder / f"episode_{episode + 8}.hdf5", "w") as file:
                file["action"], file["observations/qpos"], file["observations/qvel"] = u, x, 2 * x
                file["observations/images/top"] = as_png(view) if packed else view
                file.attrs["sim"] = False
        found = read(folder)
        same(found, *numbers)
        assert np.array_equal(found.columns["observations/qvel"].numpy(), 2 * numbers[0])
        assert np.array_equal(found.cameras["top"].read(torch.arange(TOTAL)).numpy(), pictures)
        one = read(folder / "episode_9.hdf5")
        assert np.array_equal(one.actions.numpy(), episodes_in(numbers[1])[1])
        both = read(folder, selection=Selection(state=("qpos", "qvel"), cameras=()))
        same(both, np.concatenate([numbers[0], 2 * numbers[0]], axis=1), numbers[1])
        assert not both.cameras

    def test_flat_arrays(self, tmp_path, numbers):
        ends = np.zeros(TOTAL)
        ends[ENDS - 1] = 1
        with h5py.File(tmp_path / "a.hdf5", "w") as file:
            file["observations"], file["actions"], file["rewards"] = numbers[0], numbers[1], np.arange(TOTAL)
            file["terminals"], file["timeouts"] = np.zeros(TOTAL, np.uint8), ends
            file["next_observations"], file["infos/qpos"] = numbers[0] + 1, numbers[0][:, :2]
            file["metadata/algorithm"] = "SAC"
        found = read(tmp_path / "a.hdf5")
        same(found, *numbers)
        assert np.array_equal(found.final_states.numpy(), numbers[0][ENDS - 1] + 1)
        assert found.rewards.tolist() == list(range(TOTAL))
        assert list(found.columns) == ["infos/qpos"]
        assert found.meta["features_left_out"] == ["metadata/algorithm"]
        with h5py.File(tmp_path / "a.hdf5", "a") as file:
            del file["terminals"], file["timeouts"]
        with pytest.raises(DataError, match="expected the episodes' ends"):
            read(tmp_path / "a.hdf5")

    def test_links_and_files_elsewhere_are_refused(self, tmp_path, numbers):
        with h5py.File(tmp_path / "secret.h5", "w") as file:
            file["x"] = numbers[0]
        with h5py.File(tmp_path / "a.h5", "w") as file:
            for episode in range(2):
                file[f"traj_{episode}/actions"] = numbers[1]
                file[f"traj_{episode}/obs"] = h5py.ExternalLink(str(tmp_path / "secret.h5"), "/x")
        with pytest.raises(DataError, match="is a link out of the file"):
            read(tmp_path / "a.h5")
        raw = tmp_path / "raw"
        raw.write_bytes(np.ones(TOTAL).tobytes())
        with h5py.File(tmp_path / "b.h5", "w") as file:
            file["actions"], file["observations"] = numbers[1], numbers[0]
            file.create_dataset("dones", (TOTAL,), "f8", external=[(str(raw), 0, h5py.h5f.UNLIMITED)])
        with pytest.raises(DataError, match="in another file, which is not opened"):
            read(tmp_path / "b.h5")


def as_png(pictures):
    """PNG files in rows of bytes that are filled up with zeros."""
    files = list[bytes]()
    for picture in pictures:
        stored = io.BytesIO()
        Image.fromarray(picture).save(stored, format="PNG")
        files.append(stored.getvalue())
    rows = np.zeros((len(files), max(map(len, files))), np.uint8)
    for row, file in zip(rows, files, strict=True):
        row[: len(file)] = np.frombuffer(file, np.uint8)
    return rows


class TestRobomimicLike:
    def made(self, path, numbers, *, attributes=None, demo=None):
        with h5py.File(path, "w") as file:
            data = file.create_group("data")
            data.attrs.update(attributes or {})
            for episode, (x, u) in enumerate(zip(*map(episodes_in, numbers), strict=True)):
                group = data.create_group(f"demo_{episode}")
                group["actions"], group["obs/arm"] = u, x
                group["obs/last_action"] = np.concatenate([np.zeros((1, 2)), u[:-1]])
                for name, value in (demo or (lambda episode: {}))(episode).items():
                    group.attrs[name] = value
            file["mask/train"] = np.array([b"demo_0", b"demo_2"])
        return path

    def test_time_step_of_the_simulator(self, tmp_path, numbers):
        environment = {"env_name": "Isaac-Lift-v0", "type": 2, "sim_args": {"dt": 0.005, "decimation": 4}}
        path = self.made(
            tmp_path / "a.hdf5",
            numbers,
            attributes={"env_args": json.dumps(environment)},
            demo=lambda episode: {"success": episode != 1},
        )
        found = read(path)
        assert found.dt == pytest.approx(0.02)
        assert found.meta["reading_notes"] == [
            "obs/last_action repeats the action of the step before, which a policy can copy. Choose others with "
            "--state."
        ]
        assert Unseen.of(found).failed == ("success", (1,))
        assert read(path, selection=Selection(filter_key="success")).lengths.tolist() == [7, 9]
        same(read(path, selection=Selection(state=("arm",))), *numbers)
        chosen = read(path, selection=Selection(state=("arm",), filter_key="train", episodes=("1-2",)))
        assert chosen.lengths.tolist() == [9]

    @pytest.mark.parametrize(
        "attributes",
        [
            {"problem_info": json.dumps({"language_instruction": "open it"})},
            {"problem_info": json.dumps({"language_instruction": ["open it"]})},
            {"language_instruction": b"open it"},
            {"lang": '"open it"'},
        ],
    )
    def test_one_instruction(self, tmp_path, numbers, attributes):
        found = read(self.made(tmp_path / "a.hdf5", numbers, attributes=attributes))
        assert found.tasks == ("open it",) * COUNT
        assert any("the instruction 'open it'" in text for text in Unseen.of(found).sentences())

    def test_an_instruction_an_episode(self, tmp_path, numbers):
        texts = ["pick", "place", "pick"]
        path = self.made(tmp_path / "a.hdf5", numbers, demo=lambda i: {"ep_meta": json.dumps({"lang": texts[i]})})
        assert read(path).tasks == ("pick", "place", "pick")
        assert read(path, selection=Selection(task="pick")).lengths.tolist() == [7, 9]
        with pytest.raises(UnknownNameError, match=r"unknown task 'push'\. Known: pick, place"):
            read(path, selection=Selection(task="push"))

    def test_pictures_with_their_channels_first(self, tmp_path, numbers):
        path = self.made(tmp_path / "a.hdf5", numbers)
        pictures = np.random.default_rng(0).integers(0, 256, (TOTAL, 6, 8, 3), dtype=np.uint8)
        with h5py.File(path, "a") as file:
            for episode, view in enumerate(episodes_in(pictures)):
                file[f"data/demo_{episode}/obs/left_image"] = view.transpose(0, 3, 1, 2)
                file[f"data/demo_{episode}/obs/odd"] = np.zeros((len(view), 4, 5, 1), np.uint8)
        found = read(path)
        assert np.array_equal(found.cameras["left_image"].read(torch.arange(TOTAL)).numpy(), pictures)
        # either axis could be the channels
        assert found.meta["features_left_out"] == ["obs/odd"]


class TestTables:
    def test_names(self, tmp_path, numbers):
        rows = np.concatenate([np.repeat(range(COUNT), LENGTHS)[:, None], *numbers], axis=1)
        header = "episode;obs_a;obs_b;obs_c;obs_d;action_x;action_y"
        np.savetxt(tmp_path / "a.csv", rows, delimiter=";", header=header, comments="", fmt="%.17g")
        found = read(tmp_path / "a.csv")
        same(found, *numbers)
        assert found.names["action"] == ("action_x", "action_y")

    @pytest.mark.parametrize("separator", [",", "\t", " "])
    def test_numbers_of_columns(self, tmp_path, numbers, separator):
        clock = np.concatenate([np.arange(length) for length in LENGTHS])[:, None]
        rows = np.concatenate([clock, *numbers], axis=1)
        np.savetxt(tmp_path / "a.csv", rows, delimiter=separator, header="t,s0", fmt="%.17g")
        chosen = Selection(state=("1-4",), action=("5", "6"))
        found = read(tmp_path / "a.csv", selection=chosen)
        assert np.array_equal(found.states.numpy(), numbers[0])
        assert found.names["action"] == ("5", "6")
        assert any("of 7 names" in note for note in found.meta["reading_notes"])
        with pytest.raises(DataError, match=r"no array is named as states usually are.*--state"):
            read(tmp_path / "a.csv")

    @pytest.mark.parametrize(
        ("cell", "message"),
        [
            ("1,5e", r"column state_0 holds '1,5e' in row 2, and text in 1 of its 4 rows.* decimal point"),
            ("off", r"column state_0 holds 'off' in row 2"),
        ],
    )
    def test_text_among_numbers_is_named_with_its_row(self, tmp_path, cell, message):
        lines = ["state_0;action_0", "1;2", "3;4", f"{cell};6", "7;8"]
        (tmp_path / "a.csv").write_text("\n".join(lines))
        with pytest.raises(DataError, match=message):
            read(tmp_path / "a.csv")

    @pytest.mark.parametrize("cell", ["N/A", "", "null", "nan"])
    def test_a_missing_number_is_not_finite(self, tmp_path, cell):
        """The column stays, and the step is named."""
        (tmp_path / "a.csv").write_text(f"state_0,action_0\n1,2\n{cell},4\n5,6\n")
        with pytest.raises(DataError, match="states holds nan at episode 0, step 1, coordinate 0"):
            read(tmp_path / "a.csv")

    def test_equal_names_are_refused(self, tmp_path):
        (tmp_path / "a.csv").write_text("state_0,state_0,action_0\n1,2,3\n4,5,6\n")
        with pytest.raises(DataError, match="several columns are called state_0"):
            read(tmp_path / "a.csv")

    def test_where_time_starts_again(self, tmp_path, numbers):
        clock = np.concatenate([np.arange(length) for length in LENGTHS])
        names = ["t", *(f"state_{i}" for i in range(4)), "note", "action_0", "action_1", "done?"]
        lines = [",".join(names)]
        for time, x, u in zip(clock, *numbers, strict=True):
            lines.append(",".join([str(time), *map(repr, map(float, x)), "ok", *map(repr, map(float, u)), "False"]))
        (tmp_path / "a.csv").write_text("\n".join(lines))
        found = read(tmp_path / "a.csv")
        same(found, *numbers)
        assert found.episode_columns["note"] == ("ok",) * COUNT
        assert "features_left_out" not in found.meta
        assert any("t starts again at row 7, 12" in note for note in found.meta["reading_notes"])

    def test_damage(self, tmp_path):
        for text, says in [("", "is empty"), ("a,b\n", "names alone"), ("1,2\n3\n", "row 1 has 1 columns")]:
            (tmp_path / "a.csv").write_text(text)
            with pytest.raises(DataError, match=says):
                read(tmp_path / "a.csv")


class TestSelection:
    def test_own_sets(self, tmp_path, numbers):
        """Every format that is written can be read by its own names, by coordinates and by columns."""
        from holdfast.data import FORMATS, episodes_from_arrays

        states, actions = map(episodes_in, numbers)
        made = episodes_from_arrays(
            states,
            actions,
            dt=0.1,
            columns={"force": [x[:, :2] * 3 for x in states]},
            episode_columns={"success": [True, False, True]},
            names={"state": ("arm_0", "arm_1", "hand_0", "wrist_0"), "action": ("u", "v")},
        )
        endings = {"npz": ".npz", "robomimic": ".hdf5", "zarr": ".zarr"}
        for name in FORMATS:
            path = tmp_path / f"{name}{endings.get(name, '')}"
            write(made, path, format=name)
            chosen = Selection(state=("force", "hand"), action=("v",), filter_key="success", episodes=("2", "0", "1"))
            found = read(path, selection=chosen)
            assert found.lengths.tolist() == [9, 7], name
            x = np.concatenate([states[2], states[0]])
            assert np.array_equal(found.states.numpy(), np.concatenate([x[:, :2] * 3, x[:, 2:3]], axis=1)), name
            assert np.array_equal(found.actions[:, 0].numpy(), np.concatenate([actions[2], actions[0]])[:, 1]), name
            assert found.names["state"] == ("force_0", "force_1", "hand_0"), name

    def test_refused(self, tmp_path, numbers):
        np.savez(tmp_path / "a.npz", actions=numbers[1], obs=numbers[0], episode_ends=ENDS, left=numbers[0])
        for chosen, says in [
            (Selection(state=("nothing",)), "unknown key for state 'nothing'. Known: .*left"),
            (Selection(episodes=("3",)), "3 ends beyond the 3 episodes"),
            (Selection(filter_key="x"), "unknown filter key 'x'"),
            (Selection(cameras=("top",)), "the data hold no pictures, and so no camera 'top'"),
        ]:
            with pytest.raises((UnknownNameError, RecipeError, DataError), match=says):
                read(tmp_path / "a.npz", selection=chosen)
        for wrong in [{"episodes": ("a",)}, {"episodes": ("5-3",)}, {"state": ()}, {"state": ("",)}]:
            with pytest.raises(RecipeError, match="expected"):
                Selection(**wrong)


class TestCauses:
    POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 123456\n"

    @pytest.mark.parametrize("name", ["a.npz", "a.hdf5", "a.zarr.zip", "a.csv"])
    def test_a_file_that_git_lfs_did_not_fetch(self, tmp_path, name):
        (tmp_path / name).write_bytes(self.POINTER)
        with pytest.raises(DataError, match=r"is a Git LFS pointer.*git lfs pull"):
            read(tmp_path / name)

    def test_a_part_that_git_lfs_did_not_fetch(self, tmp_path, numbers):
        from holdfast.data import episodes_from_arrays

        made = episodes_from_arrays(*map(episodes_in, numbers), dt=0.1)
        for name, part in {"set": "data/chunk-000/file-000.parquet", "a.zarr": "data/action/0.0"}.items():
            write(made, tmp_path / name)
            (tmp_path / name / part).write_bytes(self.POINTER)
            with pytest.raises(DataError, match=r"is a Git LFS pointer.*git lfs pull"):
                read(tmp_path / name)

    def test_a_folder_of_the_hub_cache(self, tmp_path, numbers):
        from holdfast.data import episodes_from_arrays

        cache = tmp_path / "datasets--someone--arm"
        for revision in ("abc", "def"):
            write(episodes_from_arrays(*map(episodes_in, numbers), dt=0.1), cache / "snapshots" / revision)
        with pytest.raises(DataError, match=r"with 2 snapshots. Give one of them: .*abc"):
            read(cache)
        (cache / "refs").mkdir()
        (cache / "refs" / "main").write_text("def\n")
        same(read(cache), *numbers)
        (cache / "refs" / "main").write_text("../../../elsewhere")
        with pytest.raises(DataError, match="with 2 snapshots"):
            read(cache)

    @pytest.mark.parametrize("suffix", [".mcap", ".bag", ".db3", ".tfrecord", ".mat"])
    def test_logs_of_other_programs(self, tmp_path, suffix):
        (tmp_path / f"run{suffix}").write_bytes(b"\x89MCAP0\r\n" + bytes(64))
        with pytest.raises(DataError, match=r"is an? .*Read .*np.savez\(out, actions"):
            read(tmp_path / f"run{suffix}")
