"""Confidence intervals and a permutation test for the imitation losses of k rollouts from each of n starts."""

from dataclasses import dataclass
from math import comb, floor

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from ..errors import RecipeError, ShapeError
from ..evaluation.intervals import LEVEL, Estimate, resampling
from .couplings import ImitationLosses, PairedRollouts
from .matching import bits, matched
from .sample_bounds import SIDE, Halves, estimates, witness

FEWEST_PERMUTATIONS = round(1 / SIDE) - 1
"""39: the ends of the null interval are then the smallest and the largest value."""


@dataclass(frozen=True, kw_only=True)
class ImitationIntervals:
    """Estimates of the three losses for each ε.

    Attributes:
        worst: L_marg,ε.
        final: L_fin,ε.
        joint: L_joint,ε.
    """

    worst: tuple[Estimate, ...]
    final: tuple[Estimate, ...]
    joint: tuple[Estimate, ...]


@dataclass(frozen=True, kw_only=True)
class PermutationTest:
    """Losses under random relabelling of the rollouts as the policy's or the expert's.

    Attributes:
        null: Mean and 95 % interval of the losses under relabelling.
        worst: p-value of L_marg,ε at each ε, under the hypothesis that policy and expert have the same distribution.
        final: p-value of L_fin,ε.
        joint: p-value of L_joint,ε.
    """

    null: ImitationIntervals
    worst: Float[Tensor, " e"]
    final: Float[Tensor, " e"]
    joint: Float[Tensor, " e"]


def population_intervals(paired: PairedRollouts, losses: ImitationLosses, *, seed: int = 0) -> ImitationIntervals:
    """Losses of the rollouts, with 95 % intervals for the losses of the distributions given these initial states.

    Valid for every k and n, and for each ε and loss separately (see `sample_bounds`). For L_marg,ε, the maximum over
    steps, the upper end is valid because replacing a rollout also changes the maximum by at most 1/(nk), and the lower
    end because the half of the rollouts that fits the witness functions also selects the step.

    Args:
        paired: Rollouts.
        losses: Losses of these rollouts.
        seed: Random seed for splitting the rollouts into halves.

    Raises:
        RecipeError: There are too few rollouts; the message gives a sufficient number.
        ShapeError: The losses are those of other rollouts.
    """
    _check_same(paired, losses)
    halves = Halves.of(paired.k, starts=paired.starts, seed=seed)
    levels = losses.epsilons.numpy()
    counts = np.zeros((3, len(levels), paired.steps + 2))
    for start in range(paired.starts):
        for index, table in enumerate(paired.tables(start, pooled=True)):
            counts[:, :, index] += witness(table.cpu().numpy(), levels, halves)
    chosen = counts[0, :, : paired.steps].argmax(axis=-1)

    def interval(values: Tensor, columns: NDArray[np.int64] | int) -> tuple[Estimate, ...]:
        picked = counts[1:, np.arange(len(levels)), columns]
        counted, samples = paired.starts * len(halves.count), paired.starts * paired.k
        return estimates(values.numpy(), picked, counted=counted, samples=samples)

    return ImitationIntervals(
        worst=interval(losses.worst, chosen), final=interval(losses.final, -2), joint=interval(losses.joint, -1)
    )


def permutation_test(
    paired: PairedRollouts, losses: ImitationLosses, *, rng: torch.Generator, permutations: int = 99
) -> PermutationTest:
    """Permutation test of the hypothesis that the policy equals the expert: rollouts are exchanged within each start.

    Exact for every k: under the hypothesis that both have the same distribution given the start, a p-value of at most a
    has probability at most a, and the loss exceeds the upper end with probability at most 2.5 %.

    Args:
        paired: Rollouts.
        losses: Losses of these rollouts.
        rng: Random generator for the permutations.
        permutations: Number of permutations, to which the cost is proportional.

    Raises:
        RecipeError: There are too few rollouts or permutations for a 95 % interval; the message gives a sufficient
            number.
        ShapeError: The losses are those of other rollouts.
    """
    _check_same(paired, losses)
    _check_permutations(paired.starts, paired.k, permutations)
    levels, k = losses.epsilons.numpy(), paired.k
    shares = np.zeros((permutations, len(levels), paired.steps + 2))
    for start in range(paired.starts):
        orders: list[list[int]] = [torch.randperm(2 * k, generator=rng).numpy().tolist() for _ in range(permutations)]
        columns = [sum(1 << column for column in order[k:]) for order in orders]
        for index, table in enumerate(paired.tables(start, pooled=True)):
            for place, level in enumerate(levels):
                rows = bits(table.cpu().numpy() <= level)
                sizes = [matched([rows[i] for i in o[:k]], c) for o, c in zip(orders, columns, strict=True)]
                shares[:, place, index] += 1 - np.array(sizes) / k
    shares /= paired.starts
    null = shares[..., :-2].max(axis=-1), shares[..., -2], shares[..., -1]
    values = losses.worst, losses.final, losses.joint
    # sums in another order may differ in the last digit, and must count as equal
    above = [(of >= value.numpy() - 1e-9).sum(axis=0) for of, value in zip(null, values, strict=True)]
    p = [torch.tensor((1 + count) / (permutations + 1)) for count in above]
    worst, final, joint = (_central(of) for of in null)
    intervals = ImitationIntervals(worst=worst, final=final, joint=joint)
    return PermutationTest(null=intervals, worst=p[0], final=p[1], joint=p[2])


def bootstrap_over_starts(losses: ImitationLosses, *, seed: int = 0, resamples: int = 2000) -> ImitationIntervals:
    """Losses of the rollouts, with bootstrap percentile intervals over initial states (Efron 1979).

    For the mean of the *k-sample* loss over the distribution of starts; the bias of this loss is not accounted for.
    Asymptotic in the number of starts.

    Args:
        losses: Losses of at least 4 starts.
        seed: Random seed for the resampling.
        resamples: Number of resampled sets.

    Raises:
        RecipeError: There are fewer than 4 starts.
    """
    n = losses.starts
    if n < 4:
        raise RecipeError(
            f"{n} initial states are too few for the bootstrap: resamples of one start {n} times over have a "
            "probability above 2.5 %. Take 4 or more, or use `population_intervals`, which conditions on the states."
        )
    rng = resampling(seed)
    counts = np.stack([np.bincount(row, minlength=n) for row in rng.integers(n, size=(resamples, n))]) / n

    def interval(per_start: Tensor, value: Tensor) -> tuple[Estimate, ...]:
        means = np.tensordot(counts, per_start.numpy(), axes=1)
        worst = means.max(axis=-1) if means.ndim == 3 else means
        low, high = np.quantile(worst, [SIDE, 1 - SIDE], axis=0)
        return _as_estimates(value.numpy(), low, high)

    return ImitationIntervals(
        worst=interval(losses.marginal_per_start, losses.worst),
        final=interval(losses.final_per_start, losses.final),
        joint=interval(losses.joint_per_start, losses.joint),
    )


def _central(null: Float[np.ndarray, "p e"]) -> tuple[Estimate, ...]:
    """Mean and the order statistics that contain a further value with probability 95 %."""
    ordered = np.sort(null, axis=0)
    tail = floor(SIDE * (len(null) + 1) + 1e-9)
    return _as_estimates(null.mean(axis=0), ordered[tail - 1], ordered[-tail])


def _as_estimates(*ends: NDArray[np.float64]) -> tuple[Estimate, ...]:
    return tuple(Estimate(*map(float, numbers)) for numbers in zip(*ends, strict=True))


def _check_permutations(starts: int, k: int, permutations: int) -> None:
    if permutations < FEWEST_PERMUTATIONS:
        raise RecipeError(
            f"{permutations} permutations are too few for an interval at {LEVEL:.0%}. Take {FEWEST_PERMUTATIONS} or "
            "more."
        )
    # exchanging both sides of a start leaves its loss unchanged
    needed = FEWEST_PERMUTATIONS + 1
    if (comb(2 * k, k) // 2) ** starts < needed:
        enough = next(size for size in range(2, 7) if (comb(2 * size, size) // 2) ** starts >= needed)
        raise RecipeError(
            f"{k} rollouts from each of {starts} initial states can be permutation_test in only "
            f"{(comb(2 * k, k) // 2) ** starts} ways, too few for an interval at {LEVEL:.0%}. Take {enough} or "
            "more from each."
        )


def _check_same(paired: PairedRollouts, losses: ImitationLosses) -> None:
    mine = paired.starts, paired.k, paired.steps
    theirs = losses.starts, losses.samples, losses.marginal_per_start.shape[-1]
    if mine != theirs:
        raise ShapeError(
            f"expected the losses of these rollouts (starts, rollouts, steps: {mine}), got those of others ({theirs})."
        )
