"""What the imitation losses of k rollouts from n starts say beyond those rollouts."""

from dataclasses import dataclass
from math import comb, floor

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from ..errors import RecipeError, ShapeError
from ..evaluation.intervals import LEVEL, Estimate
from ..seeding import stream
from .couplings import ImitationLosses, PairedRollouts
from .matching import bits, matched
from .sample_bounds import SIDE, Halves, estimates, witness

__all__ = ["ImitationIntervals", "Relabelled", "over_starts", "population_intervals", "relabelled"]

FEWEST_RELABELLINGS = round(1 / SIDE) - 1
"""39: then the ends of the null interval are the smallest and the largest value."""


@dataclass(frozen=True, kw_only=True)
class ImitationIntervals:
    """The three losses, one estimate for each ε.

    Attributes:
        worst: L_marg,ε.
        final: L_fin,ε.
        joint: L_joint,ε.
    """

    worst: tuple[Estimate, ...]
    final: tuple[Estimate, ...]
    joint: tuple[Estimate, ...]


@dataclass(frozen=True, kw_only=True)
class Relabelled:
    """The losses if chance had said which rollouts are the expert's.

    Attributes:
        null: Their mean and the interval that holds 95 % of them.
        worst: p-value of L_marg,ε at each ε: how likely a loss as high is if policy and expert are one law.
        final: The same of L_fin,ε.
        joint: The same of L_joint,ε.
    """

    null: ImitationIntervals
    worst: Float[Tensor, " e"]
    final: Float[Tensor, " e"]
    joint: Float[Tensor, " e"]


def population_intervals(paired: PairedRollouts, losses: ImitationLosses, *, seed: int = 0) -> ImitationIntervals:
    """Losses of the rollouts with 95 % intervals for those of the laws, given these initial states.

    Valid for every k and n, each ε and each of the three losses taken alone (`witnesses` says why); L_marg,ε with its
    maximum over steps: the upper end because a replaced rollout moves the maximum by 1/(nk) too, the lower because the
    half of the rollouts that finds the witnesses also chooses the step.

    Args:
        paired: The rollouts.
        losses: Of these rollouts.
        seed: Of halving them.

    Raises:
        RecipeError: Too few rollouts; the message says how many are enough.
        ShapeError: Losses of other rollouts.
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


def relabelled(
    paired: PairedRollouts, losses: ImitationLosses, *, rng: torch.Generator, permutations: int = 99
) -> Relabelled:
    """Permutation test of "the policy is the expert": rollouts of each start are shuffled between the two.

    Exact for every k: if policy and expert are one law given the start, a p-value of a or less comes up with
    probability a at most, and the loss exceeds the upper end with probability 2.5 % at most.

    Args:
        paired: The rollouts.
        losses: Of these rollouts.
        rng: Shuffles.
        permutations: How many shuffles; the cost is in proportion.

    Raises:
        RecipeError: Fewer rollouts or permutations than an interval at 95 % needs; the message says how many do.
        ShapeError: Losses of other rollouts.
    """
    _check_same(paired, losses)
    _check_relabellings(paired.starts, paired.k, permutations)
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
    return Relabelled(null=intervals, worst=p[0], final=p[1], joint=p[2])


def over_starts(losses: ImitationLosses, *, seed: int = 0, resamples: int = 2000) -> ImitationIntervals:
    """Losses of the rollouts with percentile intervals over initial states (Efron 1979): starts are resampled.

    For the mean over the starts' law of the *k-sample* loss; how far that lies above the loss of the laws, neither end
    knows. Asymptotic in the number of starts.

    Args:
        losses: Of at least 4 starts.
        seed: Of the resampling.
        resamples: Number of resampled sets.

    Raises:
        RecipeError: Fewer starts.
    """
    n = losses.starts
    if n < 4:
        raise RecipeError(
            f"{n} initial states are too few to resample: all resampled sets that are one start {n} times over come up "
            "with more than 2.5 %. Take 4 or more, or `population_intervals`, which is given the states."
        )
    rng = np.random.default_rng(stream(seed, "resampling").initial_seed())
    counts = np.stack([np.bincount(row, minlength=n) for row in rng.integers(n, size=(resamples, n))]) / n

    def interval(of_start: Tensor, value: Tensor) -> tuple[Estimate, ...]:
        means = np.tensordot(counts, of_start.numpy(), axes=1)
        worst = means.max(axis=-1) if means.ndim == 3 else means
        low, high = np.quantile(worst, [SIDE, 1 - SIDE], axis=0)
        return _zipped(value.numpy(), low, high)

    return ImitationIntervals(
        worst=interval(losses.marginal_of_start, losses.worst),
        final=interval(losses.final_of_start, losses.final),
        joint=interval(losses.joint_of_start, losses.joint),
    )


def _central(null: Float[np.ndarray, "p e"]) -> tuple[Estimate, ...]:
    """Mean and the order statistics between which the next value of as many lies with 95 %."""
    ordered = np.sort(null, axis=0)
    tail = floor(SIDE * (len(null) + 1) + 1e-9)
    return _zipped(null.mean(axis=0), ordered[tail - 1], ordered[-tail])


def _zipped(*ends: NDArray[np.float64]) -> tuple[Estimate, ...]:
    return tuple(Estimate(*map(float, numbers)) for numbers in zip(*ends, strict=True))


def _check_relabellings(starts: int, k: int, permutations: int) -> None:
    if permutations < FEWEST_RELABELLINGS:
        raise RecipeError(
            f"{permutations} permutations are too few for an interval at {LEVEL:.0%}. Take {FEWEST_RELABELLINGS} or "
            "more."
        )
    # swapping both sides of a start leaves its loss as it is
    needed = FEWEST_RELABELLINGS + 1
    if (comb(2 * k, k) // 2) ** starts < needed:
        enough = next(size for size in range(2, 7) if (comb(2 * size, size) // 2) ** starts >= needed)
        raise RecipeError(
            f"{k} rollouts of each of {starts} initial states can be relabelled in "
            f"{(comb(2 * k, k) // 2) ** starts} ways only, too few for an interval at {LEVEL:.0%}. Take {enough} or "
            "more of each."
        )


def _check_same(paired: PairedRollouts, losses: ImitationLosses) -> None:
    mine = paired.starts, paired.k, paired.steps
    theirs = losses.starts, losses.samples, losses.marginal_of_start.shape[-1]
    if mine != theirs:
        raise ShapeError(
            f"expected the losses of these rollouts (starts, rollouts, steps: {mine}), got those of others ({theirs})."
        )
