"""LeRobot's own package against Holdfast on the same work, each in its own environment, as ratios of one run.

    python3.12 -m venv lerobot-env
    lerobot-env/bin/python -m pip install "lerobot[dataset,diffusion]==0.6.1" scipy
    lerobot-env/bin/python benchmarks/peers_own.py --holdfast .venv/bin/python [--repetitions 6] [--threads 2]

The script runs in LeRobot's environment, which needs Python 3.12 and an older PyTorch than Holdfast's. It starts the
other interpreter with `peers.py --answer`, which times one update or one plan of Holdfast on request. In this way the
two alternate in one run although they cannot be installed together; the versions of PyTorch differ and are printed.

LeRobot's side consists of its `LeRobotDataset` with the shapes of Push-T (low-dimensional), its `DataLoader`,
processors, policy, optimiser and schedule with their defaults; the loss is read at every update. Its package accelerate
is omitted, in its favour. The names are those of LeRobot 0.6.1. Where LeRobot is not available, `peers.py` measures the
same loop re-created.
"""

import argparse
import importlib.metadata
import math
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

STATE, ENVIRONMENT, ACTION = 2, 18, 2
EPISODES, STEPS, RATE = 40, 125, 10
Sides = dict[str, Callable[[], object]]


def recorded(root: Path) -> None:
    """Write a data set of noise with LeRobot."""
    import numpy as np
    from lerobot.datasets import LeRobotDataset

    sizes = {"observation.state": STATE, "observation.environment_state": ENVIRONMENT, "action": ACTION}
    features = {name: {"dtype": "float32", "shape": (size,), "names": None} for name, size in sizes.items()}
    rng = np.random.default_rng(0)
    data = LeRobotDataset.create("benchmark/noise", fps=RATE, features=features, root=root, use_videos=False)
    for _ in range(EPISODES):
        for _ in range(STEPS):
            frame = {name: rng.uniform(0, 512, size).astype("float32") for name, size in sizes.items()}
            data.add_frame({**frame, "task": "noise"})
        data.save_episode()
    data.finalize()


def sides_of(root: Path, batch: int, workers: int) -> Sides:
    """Calls that make one update and one plan with LeRobot."""
    import torch
    from lerobot.configs import FeatureType, PolicyFeature
    from lerobot.policies import DiffusionConfig
    from lerobot.policies.diffusion.modeling_diffusion import DiffusionPolicy
    from lerobot.policies.diffusion.processor_diffusion import make_diffusion_pre_post_processors

    config = DiffusionConfig(
        input_features={
            "observation.state": PolicyFeature(type=FeatureType.STATE, shape=(STATE,)),
            "observation.environment_state": PolicyFeature(type=FeatureType.ENV, shape=(ENVIRONMENT,)),
        },
        output_features={"action": PolicyFeature(type=FeatureType.ACTION, shape=(ACTION,))},
        device="cpu",
    )
    data = loaded(root, config)
    before, after = make_diffusion_pre_post_processors(config, data.meta.stats)
    policy = DiffusionPolicy(config)
    preset = config.get_optimizer_preset()
    optimiser = preset.build(policy.get_optim_params())
    rates = config.get_scheduler_preset().build(optimiser, 100_000)
    batches = endless(
        torch.utils.data.DataLoader(
            data,
            batch_size=batch,
            shuffle=True,
            num_workers=workers,
            prefetch_factor=4 if workers else None,
            persistent_workers=workers > 0,
        )
    )

    def update() -> None:
        policy.train()
        loss, _ = policy.forward(before(next(batches)))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(policy.parameters(), preset.grad_clip_norm).item()
        optimiser.step()
        optimiser.zero_grad()
        rates.step()
        loss.item()

    seen = {
        "observation.state": torch.rand(1, config.n_obs_steps, STATE) * 512,
        "observation.environment_state": torch.rand(1, config.n_obs_steps, ENVIRONMENT) * 512,
    }

    def plan() -> None:
        policy.eval()
        after(policy.predict_action_chunk(before(dict(seen))))

    return {"update": update, "plan": plan}


def loaded(root: Path, config: Any) -> Any:
    """The data set, with the windows that the policy needs."""
    from lerobot.datasets import LeRobotDataset

    windows = {
        "observation.state": config.observation_delta_indices,
        "observation.environment_state": config.observation_delta_indices,
        "action": config.action_delta_indices,
    }
    seconds = {name: [index / RATE for index in indices] for name, indices in windows.items()}
    return LeRobotDataset("benchmark/noise", root=root, delta_timestamps=seconds)


def endless(loader: Any) -> Iterator[Any]:
    """Batches, epoch after epoch."""
    while True:
        yield from loader


def asked(other: subprocess.Popen[str], work: str) -> float:
    """Seconds that Holdfast reports for one piece of work."""
    assert other.stdin is not None
    assert other.stdout is not None
    other.stdin.write(work + "\n")
    other.stdin.flush()
    return float(other.stdout.readline())


def seconds(act: Callable[[], object]) -> float:
    """Time of a call [s]."""
    start = time.perf_counter()
    act()
    return time.perf_counter() - start


def interval(ratios: list[float]) -> str:
    """Geometric mean with a 95 % interval (t, of the logarithm)."""
    from scipy import stats

    logs = [math.log(ratio) for ratio in ratios]
    spread = stats.t.ppf(0.975, len(logs) - 1) * statistics.stdev(logs) / len(logs) ** 0.5
    mean = statistics.mean(logs)
    return f"{math.exp(mean):.2f} [{math.exp(mean - spread):.2f}, {math.exp(mean + spread):.2f}]"


def main() -> None:
    """Print one line for an update and one for a plan."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--holdfast", type=Path, required=True, help="Python interpreter of Holdfast's environment")
    parser.add_argument("--repetitions", type=int, default=6)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch", type=int, default=8, help="batch size; default: LeRobot's")
    parser.add_argument("--workers", type=int, default=4, help="worker processes of the DataLoader; default: LeRobot's")
    options = parser.parse_args()

    import torch

    torch.set_num_threads(options.threads)
    script = str(Path(__file__).with_name("peers.py"))
    common = ["--answer", "lerobot", "--threads", str(options.threads), "--batch", str(options.batch)]
    with (
        tempfile.TemporaryDirectory() as folder,
        subprocess.Popen(
            [str(options.holdfast), script, *common], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as other,
    ):
        recorded(Path(folder) / "set")
        sides = sides_of(Path(folder) / "set", options.batch, options.workers)
        print(f"lerobot {importlib.metadata.version('lerobot')} with torch {torch.__version__}; {common}")
        for work, act in sides.items():
            pairs = [(seconds(act), asked(other, work)) for _ in range(options.repetitions + 1)][1:]
            medians = [statistics.median(side) for side in zip(*pairs, strict=True)]
            ratio = interval([theirs / ours for theirs, ours in pairs])
            print(f"{work}: {ratio}   LeRobot {medians[0]:.3f} s / Holdfast {medians[1]:.3f} s", flush=True)


if __name__ == "__main__":
    main()
