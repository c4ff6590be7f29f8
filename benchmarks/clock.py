"""A control loop at the robot's rate with a planning thread: time of an action, misses and late plans.

    python benchmarks/clock.py [--seconds 60] [--rate 50] [--way guided] [--data DATA] [--switch 0.005] [--out FILE]

The policy is the default recipe's for the Push-T demonstrations, trained for 30 updates: longer training does not
change the time of a plan. Without --data, random numbers of the same sizes are the demonstrations. The loop reads an
observation, acts and sleeps until the next time t₀ + k·dt; the *time of an action* is that of `act`. It runs alone,
then beside a process that computes without a pause. No score is measured here. The last line of the output is the
result as JSON.

The planning thread and the loop share one interpreter: a thread that wants to run waits for the other to give way,
where that one runs Python code without a pause up to `sys.getswitchinterval()`, 5 ms unless --switch sets another. A
miss is a call that is late by more than a quarter of a step, which at 50 Hz are 5 ms as well.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

import holdfast as hf
from holdfast.errors import TimingWarning
from holdfast.policy import Policy
from holdfast.policy.realtime import Guided, Naive
from holdfast.serve import ControlLoop, Pace

WAYS = {"naive": Naive(), "guided": Guided()}
NEVER = Pace(most_misses=10**9, most_unplanned=10**9)
"""No stop: what would stop a robot is counted here."""


def made_policy(data: Path | None) -> Policy:
    """Policy of the default recipe after a few updates."""
    if data is None:
        rng = np.random.default_rng(0)
        states = [rng.uniform(0, 512, (60, 20)) for _ in range(8)]
        episodes = hf.episodes_from_arrays(states, [rng.uniform(0, 512, (60, 2)) for _ in states], dt=0.1)
    else:
        episodes = hf.read(data)
    recipe = hf.default_recipe(episodes)
    recipe = replace(recipe, training=replace(recipe.training, steps=30, warmup_steps=10))
    with tempfile.TemporaryDirectory() as folder:
        hf.fit(recipe, hf.prepare(recipe, episodes), Path(folder) / "run")
        return hf.load(Path(folder) / "run")


@contextmanager
def busy_core() -> Generator[None, None, None]:
    """A process that computes without a pause."""
    neighbour = subprocess.Popen([sys.executable, "-c", "while True: sum(range(10**6))"])
    try:
        yield
    finally:
        neighbour.kill()
        neighbour.wait()


def measured(policy: Policy, *, rate: float, seconds: float, way: str) -> dict[str, Any]:
    """What a loop of some seconds took and counted."""
    assert policy.interface is not None
    rng, times = np.random.default_rng(0), list[float]()
    low, high = np.array(policy.interface.observation.low), np.array(policy.interface.observation.high)
    seen = rng.uniform(low, high, (int(rate * seconds), len(low)))
    with ControlLoop(policy, dt=1 / rate, way=WAYS[way], pace=NEVER) as loop:
        for observation in seen:
            loop.wait()
            began = time.perf_counter()
            loop.act(observation, observation[: policy.spec.n_states])
            times.append(time.perf_counter() - began)
        counts = asdict(loop.counts)
    # the first action waits for the first plan, before the robot moves
    cuts = [1000 * cut for cut in statistics.quantiles(times[1:], n=1000)]
    found = {"p50_ms": cuts[499], "p99_ms": cuts[989], "max_ms": 1000 * max(times[1:]), "first_ms": 1000 * times[0]}
    return {**found, **counts}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--rate", type=float, default=50.0)
    parser.add_argument("--way", choices=WAYS, nargs="+", default=list(WAYS))
    parser.add_argument("--data", type=Path)
    parser.add_argument("--switch", type=float, help="seconds after which a thread gives way; default: Python's, 0.005")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    if given.switch is not None:
        sys.setswitchinterval(given.switch)
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", TimingWarning)
    policy, found = made_policy(given.data), dict[str, Any]()
    for way in given.way:
        found[f"{way}, alone"] = measured(policy, rate=given.rate, seconds=given.seconds, way=way)
        with busy_core():
            found[f"{way}, one busy core"] = measured(policy, rate=given.rate, seconds=given.seconds, way=way)
    for name, values in found.items():
        print(name, {key: round(value, 2) if isinstance(value, float) else value for key, value in values.items()})
    about = {"rate": given.rate, "seconds": given.seconds, "switch": sys.getswitchinterval()}
    machine = {"cores": len(os.sched_getaffinity(0)), "load_average": os.getloadavg()[0]}
    result = {**about, **machine, **found}
    print(json.dumps(result))
    if given.out:
        given.out.write_text(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
