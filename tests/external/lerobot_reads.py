"""LeRobot itself reads what Holdfast writes, and Holdfast what LeRobot records, bit for bit.

LeRobot cannot be installed beside Holdfast (its 0.6 wants Python 3.12, torch < 2.12 and numpy < 2.3), so this is no
test of the suite: two environments take turns. The second one needs some 6 GB:

    python3.12 -m venv lerobot-env
    lerobot-env/bin/pip install "torch>=2.7,<2.12" "lerobot[dataset]==0.6.1"

    .venv/bin/python      tests/external/lerobot_reads.py write   FOLDER    Holdfast writes sets, and what is in them
    lerobot-env/bin/python tests/external/lerobot_reads.py compare FOLDER    LeRobot loads them and compares
    lerobot-env/bin/python tests/external/lerobot_reads.py record  FOLDER    LeRobot records a set
    .venv/bin/python      tests/external/lerobot_reads.py check   FOLDER    Holdfast reads it and compares

Each step ends with a line that says what was compared, or with the first difference.
"""

import sys
from pathlib import Path

import numpy as np

LENGTHS = (7, 1, 4)
TASKS = ("push", "pull it back", "push")
STATISTICS = {"min", "max", "mean", "std", "count", "q01", "q10", "q50", "q90", "q99"}


def recorded():
    """Arrays by feature, the same in both environments."""
    rng = np.random.default_rng(0)
    rows = sum(LENGTHS)
    step = np.arange(rows)[:, None, None, None]
    slope = np.arange(64)[None, None, :, None]
    return {
        "observation.state": rng.normal(size=(rows, 5)).astype(np.float32),
        "observation.environment_state": rng.normal(size=(rows, 3)).astype(np.float32),
        "action": rng.normal(size=(rows, 2)).astype(np.float32),
        "next.reward": rng.normal(size=(rows, 1)).astype(np.float32),
        # smooth, so that a film of it is nearly exact
        "observation.images.top": np.broadcast_to(step * 9 + slope, (rows, 48, 64, 3)).astype(np.uint8),
    }


def write(folder):
    """In Holdfast's environment: one set with pictures, one with films, one of float64 at a broken rate."""
    import torch

    from holdfast.data import Frames
    from holdfast.data.formats import lerobot
    from holdfast.types import Episodes, Observation

    arrays = {name: torch.as_tensor(values) for name, values in recorded().items()}
    state = arrays["observation.state"]
    seen = Observation(state=state, environment_state=arrays["observation.environment_state"])
    given = {"lengths": torch.tensor(LENGTHS), "tasks": TASKS, "rewards": arrays["next.reward"][:, 0]}
    cameras = {"top": Frames(arrays["observation.images.top"].contiguous())}
    episodes = Episodes(
        actions=arrays["action"], states=state, observations=seen, cameras=cameras, dt=1 / 30, system="arm", **given
    )
    lerobot.write(episodes, folder / "pictures")
    lerobot.write(episodes, folder / "films", video=True)
    double = Episodes(
        actions=arrays["action"][:, :1].double() / 3,
        states=state.double() / 3,
        final_states=state[:3].double(),
        observations=Observation(state=state.double() / 7),
        dt=0.035,
        names={"observation.state": tuple("abcde"), "action": ("u",)},
        **given,
    )
    lerobot.write(double, folder / "double")
    print("wrote pictures, films, double")


def compare(folder):
    """In LeRobot's environment: every number of every set."""
    arrays = recorded()
    for kind in ("pictures", "films"):
        _compare(folder / kind, arrays, fps=30)
    state = arrays["observation.state"].astype(np.float64)
    double = {
        "observation.state": state / 7,
        "state": state / 3,
        "action": arrays["action"][:, :1].astype(np.float64) / 3,
        "next.reward": arrays["next.reward"],
    }
    _compare(folder / "double", double, fps=1 / 0.035)


def _compare(root, arrays, *, fps):
    import torch
    from lerobot.datasets.compute_stats import get_feature_stats
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    behind = {"observation.state": [-1 / fps, 0.0], "action": [0.0, 1 / fps, 2 / fps]}
    loaded = LeRobotDataset("local/holdfast", root=root)
    windows = LeRobotDataset("local/holdfast", root=root, delta_timestamps=behind)
    assert (len(loaded), loaded.num_episodes, loaded.fps) == (sum(LENGTHS), len(LENGTHS), fps)
    bounds = np.cumsum([0, *LENGTHS])
    for row in range(len(loaded)):
        item, window = loaded[row], windows[row]
        episode = int(np.searchsorted(bounds, row, side="right")) - 1
        first, last = bounds[episode], bounds[episode + 1] - 1
        assert (item["task"], int(item["episode_index"])) == (TASKS[episode], episode)
        assert bool(item["next.done"]) == (row == last)
        for name, values in arrays.items():
            expected = torch.as_tensor(np.array(values[row]))
            if name.startswith("observation.images"):
                seen = (item[name] * 255).round().to(torch.uint8).permute(1, 2, 0)
                off = float((seen.int() - expected.int()).abs().max())
                assert off <= (8 if root.name == "films" else 0), (name, row, off)
                continue
            # LeRobot hands out float32 whatever is stored
            assert torch.equal(item[name].reshape(-1), expected.float()), (name, row)
        ahead = np.minimum(row + np.arange(3), last)
        assert torch.equal(window["action"].reshape(3, -1), torch.as_tensor(arrays["action"][ahead]).float())
        past = np.maximum(row + np.arange(-1, 1), first)
        assert torch.equal(window["observation.state"], torch.as_tensor(arrays["observation.state"][past]).float())
    for name, values in arrays.items():
        found = loaded.meta.stats[name]
        assert set(found) == STATISTICS, (name, set(found))
        if name.startswith("observation.images"):
            assert found["mean"].shape == (3, 1, 1), found["mean"].shape
            continue
        own = get_feature_stats(values.astype(np.float64), axis=0, keepdims=False)
        for key in ("min", "max", "mean", "std", "count"):
            assert np.allclose(found[key], own[key], atol=1e-6), (name, key)
    print(f"{root.name}: {len(loaded)} items, {len(arrays)} features, windows and statistics agree")


def record(folder):
    """In LeRobot's environment: a set as its users record it, low-dimensional, with pictures and with films."""
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    arrays = recorded()
    for kind in ("image", "video"):
        features = {
            name: {"dtype": str(values.dtype), "shape": values.shape[1:], "names": None}
            for name, values in arrays.items()
        }
        features["observation.state"]["names"] = {"motors": list("abcde")}
        top = {"dtype": kind, "shape": (48, 64, 3), "names": ["height", "width", "channels"]}
        features["observation.images.top"] = top
        made = LeRobotDataset.create(
            "local/recorded",
            30,
            features,
            root=folder / f"recorded_{kind}",
            robot_type="arm",
            use_videos=kind == "video",
        )
        row = 0
        for length, task in zip(LENGTHS, TASKS, strict=True):
            for _ in range(length):
                made.add_frame({name: np.array(values[row]) for name, values in arrays.items()} | {"task": task})
                row += 1
            made.save_episode()
        made.finalize()
    print("recorded recorded_image, recorded_video")


def check(folder):
    """In Holdfast's environment: what LeRobot recorded."""
    import torch

    from holdfast.data import read

    arrays = {name: torch.as_tensor(np.array(values)) for name, values in recorded().items()}
    for kind in ("image", "video"):
        episodes = read(folder / f"recorded_{kind}")
        assert episodes.lengths.tolist() == list(LENGTHS)
        assert episodes.tasks == TASKS
        assert (episodes.dt, episodes.system) == (1 / 30, "arm")
        assert episodes.names["observation.state"] == tuple("abcde")
        assert torch.equal(episodes.states, arrays["observation.state"])
        assert torch.equal(episodes.observed.environment_state, arrays["observation.environment_state"])
        assert torch.equal(episodes.actions, arrays["action"])
        assert torch.equal(episodes.rewards, arrays["next.reward"][:, 0])
        rows = torch.tensor([11, 0, 6, 7, 8, 3])
        off = (episodes.cameras["top"].read(rows).int() - arrays["observation.images.top"][rows].int()).abs()
        assert int(off.max()) <= (0 if kind == "image" else 12), int(off.max())
        print(f"recorded_{kind}: states, actions, rewards, tasks, names and pictures agree")


if __name__ == "__main__":
    steps = {step.__name__: step for step in (write, compare, record, check)}
    if len(sys.argv) != 3 or sys.argv[1] not in steps:
        sys.exit(__doc__)
    steps[sys.argv[1]](Path(sys.argv[2]))
