"""Cost of a training as one of many variants, against trainings one after another, as ratios measured in one run.

    python benchmarks/variants.py [--variants 48] [--updates 240] [--repetitions 8] [--threads 1 2] [--device cpu]

The trainings are Figure 5's quadrotor arms: raw actions (4 layers of 256) and gains (256-128-128-64), with batches of
64; seeds, noise and numbers of demonstrations differ. The other side is `holdfast.learn.training`, a plain eager loop,
which trains the same arms one after another. Each repetition times both and a large matrix product, alternately, so
that other load on the machine affects all alike; ratios are formed within a repetition. Wall time is what a user waits
for; processor time is the cost on a shared machine. In its short products, a loop on two threads waits for its second
thread, above all on a busy machine, so variants on two threads are also compared with the loop on one thread. Two
processes with one thread each would at best halve that ratio.

On a graphics card all variants are one compiled program (as in `study fig5 --device cuda`), and the other side is the
plain loop on the same card.

At the end the trained policies are rolled out from 64 starts, as one batch and one after another, on one thread.
"""

import argparse
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode
from training_step import hover_demonstrations, wait

from holdfast.control import Quadrotor2D
from holdfast.envs import SystemEnvironment, rollout
from holdfast.learn import (
    TrainingSet,
    TrainState,
    Variants,
    initial_state,
    prepare,
    train,
    train_variants,
    train_variants_to_end,
)
from holdfast.learn.variants_block import apply_update
from holdfast.policy import Policy, StackedPolicies, build_model
from holdfast.recipe import Recipe
from holdfast.seeding import stream
from holdfast.studies.fig5.plan import FULL_SIGMAS
from holdfast.studies.quadrotor.arms import Arm, Gains, recipe_of

UPDATES_OF_A_LOOK = 20
PEAK_SIZE = 1536


@dataclass(frozen=True)
class Cost:
    """Time of one update of one training [ms]."""

    wall: float
    processor: float


def arms_of(gains: Gains, count: int, updates: int) -> list[Recipe]:
    """Arms of Figure 5 with equal shapes."""
    grid = [Arm("holdfast", n, gains, sigma, seed) for seed in range(5) for n in (1, 10) for sigma in FULL_SIGMAS]
    recipes = [recipe_of(arm) for arm in grid[:count]]
    # never reached: both sides are timed in the middle of a training
    return [replace(recipe, training=replace(recipe.training, steps=100 * updates)) for recipe in recipes]


def timed(act: Callable[[], object], updates: int, device: str = "cpu") -> Cost:
    """Cost of an update; `act` makes the given number of updates."""
    wait(torch.device(device))
    wall, processor = time.perf_counter(), time.process_time()
    act()
    wait(torch.device(device))
    return Cost(1e3 * (time.perf_counter() - wall) / updates, 1e3 * (time.process_time() - processor) / updates)


def one_after_another(recipes: list[Recipe], data: list[TrainingSet], count: int) -> Iterator[int]:
    """Alternate between trainings, with `UPDATES_OF_A_LOOK` updates of each; yields the number of updates."""
    loops: list[Iterator[TrainState]] = [
        train(recipe, one, initial_state(recipe, one)) for recipe, one in zip(recipes[:count], data, strict=False)
    ]
    while True:
        for loop in loops:
            for _ in range(UPDATES_OF_A_LOOK):
                next(loop)
        yield UPDATES_OF_A_LOOK * len(loops)


def peak(device: str = "cpu") -> float:
    """Throughput of a large matrix product [GFLOP/s]."""
    size = PEAK_SIZE if device == "cpu" else 8 * PEAK_SIZE
    a, b = (torch.randn(size, size, device=device) for _ in range(2))
    torch.mm(a, b)
    return 2 * size**3 / timed(lambda: [torch.mm(a, b) for _ in range(4)], 4, device).wall / 1e6


class Products(TorchDispatchMode):
    """Records the factors of all batched matrix products."""

    def __init__(self) -> None:
        super().__init__()  # pyright: ignore[reportUnknownMemberType]
        self.factors = list[tuple[torch.Tensor, torch.Tensor]]()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run the operation, and record it."""
        if func in (torch.ops.aten.bmm.default, torch.ops.aten.baddbmm.default):
            self.factors.append(args[-2:])
        return func(*args, **(kwargs or {}))


def products_alone(variants: Variants) -> float:
    """Throughput of one update's matrix products in their shapes [GFLOP/s]: an upper limit for any program."""
    with Products() as seen:
        variants.blocks[0].advance(variants.step, variants.step + 1)
    work = sum(2 * a.numel() * b.shape[2] for a, b in seen.factors)
    wall = time.perf_counter()
    for a, b in seen.factors:
        torch.bmm(a, b)
    return work / (time.perf_counter() - wall) / 1e9


def bound(variants: Variants) -> float:
    """Throughput of the products in warm caches, the optimiser and the random numbers alone [GFLOP/s]."""
    block = variants.blocks[0]
    with Products() as seen:
        block.advance(variants.step, variants.step + 1)
    work = sum(2 * a.numel() * b.shape[2] for a, b in seen.factors)
    still = [torch.zeros_like(value) for value in block.parameters.values()]
    parts: list[Callable[[], object]] = [partial(torch.bmm, a, b) for a, b in seen.factors]
    parts += [partial(apply_update, rates, still, variants.step) for rates in block.rates]
    parts.append(lambda: block.batches.at(variants.step, block.model))
    seconds = 0.0
    for part in parts:
        part()
        seconds += median([timed(part, 1).wall for _ in range(5)]) / 1e3
    return work / seconds / 1e9


def work_of(recipe: Recipe, data: TrainingSet) -> float:
    """Operations of one update's matrix products [GFLOP]; others are not counted."""
    model, rng = build_model(recipe.policy), stream(0, "work")
    batch = data.batch(torch.arange(recipe.training.batch_size) % len(data), sigma=0.0, rng=rng)
    with FlopCounterMode(display=False) as counter:
        loss = model.loss(batch, model.draw(batch.chunk.shape, rng=rng))
        torch.autograd.grad(loss, list(model.parameters()))
    return counter.get_total_flops() / 1e9


def interval(ratios: list[float]) -> str:
    """Geometric mean with a 95 % interval over repetitions (normal theory of the logarithms)."""
    logs = torch.tensor(ratios, dtype=torch.float64).log()
    mean, spread = float(logs.mean()), 2.0 * float(logs.std()) / math.sqrt(len(ratios))
    return f"{math.exp(mean):5.2f} [{math.exp(mean - spread):5.2f}, {math.exp(mean + spread):5.2f}]"


def median(values: list[float]) -> float:
    """Median."""
    return sorted(values)[len(values) // 2]


def compare(gains: Gains, threads: int, options: argparse.Namespace) -> None:
    """Measure and print one row of each table."""
    torch.set_num_threads(threads)
    episodes = hover_demonstrations(Quadrotor2D(), count=10, steps=50)
    recipes = arms_of(gains, options.variants, options.updates)
    device = options.device
    sets = [prepare(recipe, episodes, device=device) for recipe in recipes]
    step = max(1, options.updates // options.repetitions)
    together: Iterator[Variants] = train_variants(recipes, sets, every=step, compiled=device != "cpu")
    plain = one_after_another(recipes, sets, 3)
    for warm in (together, plain):
        next(warm)

    variants, loop, single, peaks = list[Cost](), list[Cost](), list[Cost](), list[float]()
    for _ in range(options.repetitions):
        variants.append(timed(lambda: next(together), step * len(recipes), device))
        loop.append(timed(lambda: next(plain), 3 * UPDATES_OF_A_LOOK, device))
        peaks.append(peak(device))
        torch.set_num_threads(1)
        single.append(timed(lambda: next(plain), 3 * UPDATES_OF_A_LOOK, device) if threads > 1 else loop[-1])
        torch.set_num_threads(threads)

    work = work_of(recipes[0], prepare(recipes[0], episodes))
    rates = [1e3 * work / cost.wall for cost in variants]
    print(f"{gains:6s} {device}, {threads} threads, {len(recipes)} variants, {options.repetitions} repetitions")
    print(f"  ms an update: variants {words(variants)}, loop {words(loop)}")
    for name, base in (("loop", loop), ("loop on one thread", single))[: 1 + (threads > 1)]:
        wall = interval([b.wall / v.wall for b, v in zip(base, variants, strict=True)])
        processor = interval([b.processor / v.processor for b, v in zip(base, variants, strict=True)])
        print(f"  {name} / variants: wall {wall}, processor {processor}")
    share = interval([rate / top for rate, top in zip(rates, peaks, strict=True)])
    print(f"  {median(rates):.0f} GFLOP/s of {median(peaks):.0f} in a product of {PEAK_SIZE}: share {share}")
    if threads == 1 and device == "cpu":
        limits = [products_alone(next(together)) / peak() for _ in range(options.repetitions)]
        print(f"  the matrix products of an update alone: share {interval(limits)}")
        bounds = [bound(next(together)) / peak() for _ in range(options.repetitions)]
        print(f"  these in warm caches, plus optimiser and random numbers: share {interval(bounds)}")


def time_rollouts(gains: Gains, count: int, options: argparse.Namespace) -> None:
    """Print the cost of rollouts of several policies, as one batch and one after another."""
    device = options.device
    torch.set_num_threads(1)
    task = Quadrotor2D()
    episodes = hover_demonstrations(task, count=10, steps=50)
    recipes = [replace(one, training=replace(one.training, steps=1)) for one in arms_of(gains, count, 1)]
    last = train_variants_to_end(recipes, [prepare(one, episodes, device=device) for one in recipes])
    policies = [Policy(last.planner(index)) for index in range(count)]
    seeds, starts = range(count), 0.1 * task.initial_states(64, rng=stream(0, "benchmark", "starts")).to(device)
    together, environment = StackedPolicies(policies, seeds=seeds), SystemEnvironment(task, steps=20)
    costs: tuple[list[Cost], list[Cost]] = [], []
    for _ in range(options.repetitions):
        side = timed(lambda: rollout(together, environment, starts=starts.repeat(count, 1)), count, device)
        alone = timed(lambda: [rollout(one, environment, starts=starts) for one in policies], count, device)
        for kept, cost in zip(costs, (side, alone), strict=True):
            kept.append(cost)
    ratio = interval([alone.wall / side.wall for side, alone in zip(*costs, strict=True)])
    print(f"{gains:6s} 20 steps of 64 rollouts, {count} policies: one after another / as one batch {ratio}")


def words(costs: list[Cost]) -> str:
    """Median costs, as text."""
    wall, processor = (median([getattr(cost, part) for cost in costs]) for part in ("wall", "processor"))
    return f"{wall:.2f} (processor {processor:.2f})"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--variants", type=int, default=48)
    parser.add_argument("--updates", type=int, default=240)
    parser.add_argument("--repetitions", type=int, default=8)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    arms: tuple[Gains, ...] = ("none", "tvlqr")
    for gains in arms:
        for threads in options.threads:
            compare(gains, threads, options)
    for gains in arms:
        time_rollouts(gains, 16, options)


if __name__ == "__main__":
    main()
