"""Speed-up of a training and of a plan by `torch.compile`, as ratios measured in one run.

    python benchmarks/compiled.py [--device cpu] [--repetitions 8] [--updates 30] [--threads 1] [--only NAME ...]

Each repetition times updates (from data to moving average) and plans (from an observation window to a chunk) with and
without compilation, alternately. A ratio is the geometric mean over repetitions with a 95 % interval (t, of its
logarithm). The time until the first compiled update is paid once per training, and less by a second training of the
same kind, because PyTorch caches compiled code on disk. The shapes are those of Figure 5's quadrotor, with batches of
64 and the default sizes of each network.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import replace

import torch
from peers import interval
from training_step import hover_demonstrations, wait
from variants import arms_of

from holdfast.control import Quadrotor2D
from holdfast.learn import TrainingSet, initial_state, planner_of, prepare, train
from holdfast.models import Family, family_named
from holdfast.nn import Network, ResidualMlp, Transformer, UNet1d
from holdfast.policy import Policy
from holdfast.recipe import Recipe
from holdfast.seeding import stream
from holdfast.types import Episodes, Observation

MOST = 1.0
"""Approximate limit of one timing of compiled updates [s]."""
PLANS = ("gains", "raw actions", "residual-mlp", "unet", "transformer")
"""Cases of which plans are timed as well."""


def cases() -> dict[str, Recipe]:
    """Recipes to train, by name."""
    (gains,), (raw,) = arms_of("tvlqr", 1, 10_000), arms_of("none", 1, 10_000)

    def with_model(model: Family) -> Recipe:
        return replace(raw, policy=replace(raw.policy, model=model))

    def with_network(network: Network) -> Recipe:
        return with_model(replace(raw.policy.model, network=network))

    mlp = raw.policy.model.network
    return {
        "gains": gains,
        "raw actions": raw,
        "residual-mlp": with_network(ResidualMlp()),
        "unet": with_network(UNet1d()),
        "transformer": with_network(Transformer()),
        "flow": with_model(family_named("flow", mlp)),
        "meanflow": with_model(family_named("meanflow", mlp)),
        "energy": with_model(family_named("energy", mlp)),
    }


def compare(act: dict[bool, Callable[[], object]], repetitions: int, device: torch.device) -> str:
    """Ratio of eager to compiled time, and both times."""
    seconds: dict[bool, list[float]] = {False: [], True: []}
    for repetition in range(repetitions):
        for compiled in (False, True) if repetition % 2 else (True, False):
            seconds[compiled].append(seconds_of(act[compiled], device))
    ratio = interval([plain / fast for plain, fast in zip(seconds[False], seconds[True], strict=True)])
    plain, fast = (1e3 * statistics.median(seconds[compiled]) for compiled in (False, True))
    return f"{ratio}   {plain:.2f} ms, compiled {fast:.2f} ms"


def seconds_of(act: Callable[[], object], device: torch.device) -> float:
    """Duration of a call [s], on a graphics card until it has completed."""
    wait(device)
    start = time.perf_counter()
    act()
    wait(device)
    return time.perf_counter() - start


def updates(recipe: Recipe, data: TrainingSet, options: argparse.Namespace) -> str:
    """Result for an update, as text."""
    state, device = initial_state(recipe, data), data.device
    loops = {compiled: train(recipe, data, state, compiled=compiled) for compiled in (False, True)}
    next(loops[False])
    first = seconds_of(lambda: next(loops[True]), device)
    for _ in range(3):
        next(loops[True])

    # the slowest take as long as a hundred others and are repeated less often
    seconds = seconds_of(lambda: next(loops[True]), device)
    count = max(1, min(options.updates, round(MOST / seconds)))

    def some(compiled: bool) -> Callable[[], object]:
        return lambda: [next(loops[compiled]) for _ in range(count)]

    told = compare({compiled: some(compiled) for compiled in loops}, options.repetitions, device)
    return f"{told} for {count} updates; the first took {first:.1f} s"


def plans(recipe: Recipe, data: TrainingSet, count: int, options: argparse.Namespace) -> str:
    """Result for plans of the given number of windows, as text."""
    device = data.device
    plain = Policy(planner_of(recipe, data, initial_state(recipe, data)))
    spec, ready = recipe.policy, {False: plain, True: plain.compiled()}
    window = Observation(state=torch.zeros(count, spec.n_obs_steps, spec.n_observed))

    def some(compiled: bool) -> Callable[[], object]:
        rng = stream(0, "benchmark", device=device)
        return lambda: [ready[compiled].planner.plan_normalized(window, rng=rng) for _ in range(5)]

    acts = {compiled: some(compiled) for compiled in ready}
    for act in acts.values():
        act()
    return f"{compare(acts, options.repetitions, device)} for 5 plans"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--repetitions", type=int, default=8)
    parser.add_argument("--updates", type=int, default=30)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--only", nargs="+", choices=list(cases()), default=list(cases()))
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    episodes: Episodes = hover_demonstrations(Quadrotor2D(), count=10, steps=50)
    print(f"{options.device}, {options.threads} threads: eager / compiled")
    for name in options.only:
        recipe = cases()[name]
        data = prepare(recipe, episodes, device=options.device)
        print(f"{name:13s} update           {updates(recipe, data, options)}")
        for count in (1, 64) if name in PLANS else ():
            print(f"{name:13s} plan, {count:2d} windows {plans(recipe, data, count, options)}")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
