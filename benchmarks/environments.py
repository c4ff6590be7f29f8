"""Speed-up from stepping MuJoCo's episodes in several threads, as ratios measured in one run.

    python benchmarks/environments.py [--episodes 32] [--steps 20] [--repetitions 10] [--threads 2]

The same episodes are stepped with the same random actions, in one thread and in all, alternately; finished episodes are
restarted. MuJoCo releases Python's lock while it computes, but the code of gymnasium around it does not, so small
models gain nothing.
"""

import argparse
import time

import gymnasium
import numpy as np
from peers import interval

from holdfast.cores import usable_cores
from holdfast.envs.gym_instances import Singles

NAMES = ("Hopper-v5", "HalfCheetah-v5", "Ant-v5", "Humanoid-v5")


def seconds_of(instances: Singles, actions: np.ndarray) -> float:
    """Duration of all steps [s]."""
    instances.reset(range(actions.shape[1]))
    over = np.zeros(actions.shape[1], dtype=np.bool_)
    start = time.perf_counter()
    for action in actions:
        # episodes that end are restarted, so that all steps cost the same
        instances.step(list(action), over)
    return time.perf_counter() - start


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--episodes", type=int, default=32)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--repetitions", type=int, default=10)
    parser.add_argument("--threads", type=int, default=usable_cores())
    options = parser.parse_args()
    print(f"{options.episodes} episodes: one thread / {options.threads} threads")
    for name in NAMES:
        made = [gymnasium.make(name, disable_env_checker=True) for _ in range(options.episodes)]
        size = (options.steps, options.episodes, *made[0].action_space.shape)  # type: ignore[misc]
        actions = np.random.default_rng(0).uniform(-0.4, 0.4, size).astype(np.float32)
        sides = {threads: Singles(made, threads=threads) for threads in (1, options.threads)}
        found = [{t: seconds_of(side, actions) for t, side in sides.items()} for _ in range(options.repetitions + 1)]
        ratio = interval([one[1] / one[options.threads] for one in found[1:]])
        print(f"{name:15s} {ratio}")


if __name__ == "__main__":
    main()
