"""Imitation losses by exact optimal transport: computation time, and coverage of their intervals.

    python benchmarks/couplings.py [--size 1000] [--repetitions 500] [--samples 100]

*Time.* One start, 1,000 rollouts of expert and policy each, 50 steps, 20 values of ε; then one table of 100 × 100
distances at 20 values of ε, compared with a linear program over its 10,000 pairs at one of them. *Intervals.* Pairs of
distributions whose TV_ε and W₁ are known, with new samples in each repetition.
"""

import argparse
import math
import time
from collections.abc import Callable

import numpy as np
import torch
from scipy.optimize import linprog
from torch import Tensor

from holdfast.analysis.couplings import PairedRollouts, imitation_losses
from holdfast.analysis.matching import pairwise, total_variation
from holdfast.analysis.sample_bounds import total_variation_interval, wasserstein_interval
from holdfast.seeding import stream
from holdfast.types import Trajectory

Draw = Callable[[int, torch.Generator], tuple[Tensor, Tensor]]


def rollouts(k: int, steps: int, push: float, rng: torch.Generator) -> Trajectory:
    """A noisy stable loop in the plane from one start: x ← 0.9 x + u + noise, u = push − 0.1 x + noise."""
    x = torch.zeros(1, k, 2, dtype=torch.float64)
    states, actions = [x], list[Tensor]()
    for _ in range(steps):
        noise = 0.1 * torch.randn(2, 1, k, 2, generator=rng, dtype=torch.float64)
        actions.append(push - 0.1 * x + noise[0])
        x = 0.9 * x + actions[-1] + noise[1]
        states.append(x)
    return Trajectory(actions=torch.stack(actions, dim=2), states=torch.stack(states, dim=2))


def time_losses(k: int) -> None:
    """Time of losses of full size, and of one matching against a linear program."""
    rng = stream(0, "couplings")
    expert, policy = rollouts(k, 50, 0.0, rng), rollouts(k, 50, 0.02, rng)
    begin = time.process_time()
    losses = imitation_losses(PairedRollouts(expert=expert, policy=policy), np.geomspace(0.02, 1, 20).tolist())
    print(f"losses, {k} x {k} rollouts x 50 steps x 20 epsilons: {time.process_time() - begin:.1f} s of processor time")
    print(f"  L_marg from {losses.worst[0]:.3f} to {losses.worst[-1]:.3f}")
    table = pairwise(*torch.randn(2, 100, 2, generator=rng))
    begin = time.process_time()
    values = total_variation(table, np.geomspace(0.02, 1, 20).tolist())
    ours = (time.process_time() - begin) / 20
    begin = time.process_time()
    value = program(table > 1.0)
    theirs = time.process_time() - begin
    print(f"  100 x 100, an epsilon: {theirs / ours:.0f} times as fast as a linear program; {values[-1]} and {value}")


def program(costs: Tensor) -> float:
    """Minimum cost of a coupling of two uniform distributions on k atoms, by a linear program."""
    k = len(costs)
    rows = np.kron(np.eye(k), np.ones(k))
    columns = np.kron(np.ones(k), np.eye(k))
    found = linprog(costs.double().numpy().ravel(), A_eq=np.vstack([rows, columns]), b_eq=np.full(2 * k, 1 / k))
    return round(float(found.fun), 9)


def gaussians(shift: float, dims: int) -> Draw:
    """N(0, I) and the same distribution shifted along the first coordinate."""

    def draw(k: int, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        x = torch.randn(2, k, dims, generator=rng, dtype=torch.float64)
        x[1, :, 0] += shift
        return x[0], x[1]

    return draw


def scaled(k: int, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    """N(0, 1) and N(0, 4), whose W₁ is √(2/π)."""
    x = torch.randn(2, k, 1, generator=rng, dtype=torch.float64)
    return x[0], 2 * x[1]


def coins(k: int, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    """0 or 1, with P[1] = 0.3 and 0.6: the estimate is unbiased, so bias cannot contribute to the coverage."""
    x = torch.rand(2, k, 1, generator=rng)
    return (x[0] < 0.3).double(), (x[1] < 0.6).double()


def of_gaussians(shift: float, epsilon: float) -> float:
    """TV_ε of N(0, 1) and N(shift, 1): 2 Φ((shift − ε)/2) − 1."""
    return max(0.0, math.erf((shift - epsilon) / 2 / 2**0.5))


def coverage(k: int, repetitions: int) -> None:
    """Share of repetitions whose intervals contain the true value."""
    cases: list[tuple[str, Draw, float, float | None, float]] = [
        ("coins", coins, 0.5, 0.3, 0.3),
        ("N(0, 1), N(0, 4)", scaled, 0.5, None, math.sqrt(2 / math.pi)),
    ]
    for dims in (1, 2):
        for shift, epsilon in ((0.0, 0.25), (1.0, 0.25), (1.0, 0.9), (3.0, 0.5)):
            truth = of_gaussians(shift, epsilon)
            cases.append((f"shift {shift} in {dims}-D", gaussians(shift, dims), epsilon, truth, shift))
    print(f"\ncoverage over {repetitions} repetitions, k = {k}: TV_eps (mean width), W1 (mean width)")
    for name, draw, epsilon, share, distance in cases:
        found = list[tuple[bool, float, bool, float]]()
        for repetition in range(repetitions):
            one, other = draw(k, stream(repetition, name))
            pooled = pairwise(*(torch.cat([one, other]),) * 2)
            (tv,) = total_variation_interval(pooled, [epsilon], seed=repetition)
            w1 = wasserstein_interval(pooled, seed=repetition)
            held = share is None or tv.low <= share <= tv.high
            found.append((held, tv.high - tv.low, w1.low <= distance <= w1.high, w1.high - w1.low))
        a, b, c, d = np.mean(found, axis=0)
        told = "          -    " if share is None else f"{a:.3f} ({b:.3f})"
        print(f"  {name:20} eps {epsilon:4}: {told}  {c:.3f} ({d:.3f})", flush=True)


def main() -> None:
    """Print times and coverages."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=1000)
    parser.add_argument("--repetitions", type=int, default=500)
    parser.add_argument("--samples", type=int, default=100)
    options = parser.parse_args()
    torch.set_num_threads(1)
    time_losses(options.size)
    coverage(options.samples, options.repetitions)


if __name__ == "__main__":
    main()
