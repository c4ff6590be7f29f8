"""Test of the replica lemma on the states that a policy trained on noised observations plans from.

    x ~ distribution of the demonstrations,   x̃ = x + σ w,   x' ~ conditional distribution of x given x̃

Then x' is a *replica* of x: (x, x') and (x', x) have the same distribution, the distances of both from x̃ are
distributed as σ‖w‖, and so

    P[‖x − x'‖ > 2 σ τ] ≤ 2 P[‖w‖ > τ].

(Block et al. 2023, arXiv 2307.14619, section 3.3, and its authors' slides.) For Gaussian mixtures the distribution of x
given x̃ is known in closed form. A policy that was trained on observations with noise σ and learned the distribution of
its chunks plans from x̃ the chunk of a replica, whose first reference state is x'. Errors of the policy appear as a
tail above the bound, or as pairs that are distinguishable from exchanged pairs. Their absence proves nothing, since the
bound is loose.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import torch
from jaxtyping import Float
from scipy import stats  # pyright: ignore[reportMissingTypeStubs]
from torch import Tensor

from ..data import MinMax
from ..errors import DataError, RecipeError
from ..evaluation.intervals import Estimate, rate
from ..policy import Plans
from ..types import Observation
from .two_sample_test import FEWEST_DRAWS, TwoSample, two_sample

SWAPS = 2000
"""Number of random exchanges for a p-value."""
QUANTILES = (0.5, 0.9, 0.99)
"""Quantiles of the noise's norm for the default thresholds."""

_stats = cast(Any, stats)  # scipy ships no types


@dataclass(frozen=True)
class GaussianMixture:
    """`Σ_k p_k N(μ_k, s_k² I)`, from which replicas can be sampled exactly.

    Attributes:
        weights: p, positive, with sum 1.
        means: μ.
        stds: s; 0 for point masses.
    """

    weights: Float[Tensor, " k"]
    means: Float[Tensor, "k d"]
    stds: Float[Tensor, " k"]

    def __post_init__(self) -> None:
        positive = bool((self.weights > 0).all() and (self.stds >= 0).all())
        if not positive or abs(float(self.weights.sum()) - 1) > 1e-6:
            raise RecipeError(f"expected positive weights with sum 1 and stds of 0 or above, got {self.weights}.")

    def draw(self, count: int, *, rng: torch.Generator) -> Float[Tensor, "count d"]:
        """Independent samples."""
        chosen = torch.multinomial(self.weights, count, replacement=True, generator=rng)
        return self.means[chosen] + self.stds[chosen, None] * self._normal(count, rng)

    def replicas(self, noised: Float[Tensor, "b d"], sigma: float, *, rng: torch.Generator) -> Float[Tensor, "b d"]:
        """A sample of x given each x̃ = x + σ w.

        P(k | x̃) ∝ p_k N(x̃; μ_k, (s_k² + σ²) I),   x | k, x̃ ~ N(μ_k + r_k (x̃ − μ_k), r_k σ² I),
        r_k = s_k² / (s_k² + σ²)
        """
        total = self.stds**2 + sigma**2
        squared = (noised[:, None] - self.means).square().sum(-1)
        width = self.means.shape[1]
        chance = torch.softmax(self.weights.log() - width / 2 * total.log() - squared / (2 * total), 1)
        chosen = torch.multinomial(chance, 1, generator=rng)[:, 0]
        share = (self.stds**2 / total)[chosen, None]
        mean = self.means[chosen] + share * (noised - self.means[chosen])
        return mean + share.sqrt() * sigma * self._normal(len(noised), rng)

    def _normal(self, count: int, rng: torch.Generator) -> Tensor:
        return torch.randn(count, self.means.shape[1], dtype=self.means.dtype, generator=rng)


@dataclass(frozen=True)
class ReplicaCheck:
    """Results of testing the lemma on pairs of states and replicas.

    Attributes:
        thresholds: τ.
        tail: Share of pairs with a distance above 2 σ τ, with exact intervals.
        bound: min(1, 2 P[‖w‖ > τ]).
        exceeded: Whether the tail exceeds the bound at some τ, with 95 % confidence over all thresholds.
        swap_p_value: p-value of the hypothesis that (x, x') and (x', x) have the same distribution (`swap_test`).
        classifier_test: Classifier test of (x, x') against (x', x).
    """

    thresholds: Float[Tensor, " k"]
    tail: tuple[Estimate, ...]
    bound: Float[Tensor, " k"]
    exceeded: bool
    swap_p_value: float
    classifier_test: TwoSample

    @property
    def p_value(self) -> float:
        """p-value of exchangeability by both tests (Bonferroni)."""
        return min(1.0, 2 * min(self.swap_p_value, self.classifier_test.p_value))


def gaussian_tail(tau: Float[Tensor, " k"], numbers: int) -> Float[Tensor, " k"]:
    """P[‖w‖ > τ] for w ~ N(0, I) in the given dimension: the tail of the χ distribution.

    >>> gaussian_tail(torch.tensor([0.0, 2.0]), 2)
    tensor([1.0000, 0.1353])
    """
    return torch.as_tensor(_stats.chi.sf(tau.detach().cpu().numpy(), numbers)).to(tau)


def replica_check(
    states: Float[Tensor, "b d"],
    replicas: Float[Tensor, "b d"],
    *,
    sigma: float,
    rng: torch.Generator,
    thresholds: Float[Tensor, " k"] | None = None,
    noise_tail: Callable[[Tensor], Tensor] | None = None,
) -> ReplicaCheck:
    """Test the lemma on pairs.

    The pairs must be independent: states sampled from the distribution with replacement, not the steps of one episode.
    If the policy observes windows, only the noise on the part in `states` counts.

    Args:
        states: x, in the coordinates in which the noise is N(0, σ² I).
        replicas: x', one for each state.
        sigma: σ.
        rng: Random generator for exchanges and splits.
        thresholds: τ. Default: the 50, 90 and 99 % quantiles of the noise's norm.
        noise_tail: P[‖w‖ > τ]. Default: that of Gaussian noise.

    Raises:
        DataError: There are fewer than 80 pairs, or non-finite values.
        RecipeError: σ is not positive.
    """
    _check(states, replicas, sigma)
    width = states.shape[1]
    tau = torch.as_tensor(_stats.chi.ppf(QUANTILES, width)) if thresholds is None else thresholds.double()
    chance = gaussian_tail(tau, width) if noise_tail is None else noise_tail(tau)
    bound = (2 * chance).clamp(max=1.0)
    distance = (states - replicas).double().square().sum(1).sqrt()
    far = [distance > 2 * sigma * float(threshold) for threshold in tau]
    p_values = [
        float(_stats.binom.sf(int(events.sum()) - 1, len(distance), min(1.0, float(most))))
        for events, most in zip(far, bound, strict=True)
    ]
    return ReplicaCheck(
        thresholds=tau,
        tail=tuple(rate(events) for events in far),
        bound=bound,
        exceeded=min(p_values) < 0.05 / len(p_values),
        swap_p_value=swap_test(states, replicas, rng=rng),
        classifier_test=_classifier_test(states, replicas, rng),
    )


def planned_replicas(
    plans: Plans, windows: Float[Tensor, "b o d"], scale: MinMax, *, rng: torch.Generator
) -> tuple[Float[Tensor, "b d"], Float[Tensor, "b d"]]:
    """States and the policy's replicas of them, both normalised, for `replica_check`.

    Args:
        plans: Policy that was trained with observation noise and adds the same noise (`Smoothed`,
            `EmpiricalDeconvolution`), with reference states in its chunks.
        windows: Demonstrated observation windows, sampled independently, whose observations are the states.
        scale: Observation ↔ [-1, 1], in whose units σ is. Constant coordinates are excluded.
        rng: Random generator of the policy.

    Raises:
        RecipeError: The chunks have no reference states, or observations are not states.
    """
    chunk = plans.plan(Observation(state=windows), rng=rng)
    imagined = chunk.states[:, 0]
    if imagined.shape[-1] != windows.shape[-1]:
        raise RecipeError(
            f"reference states have {imagined.shape[-1]} coordinates, observations {windows.shape[-1]}. The test needs "
            "observations that are the states."
        )
    if not bool(chunk.states.any()):
        raise RecipeError("the chunks have no reference states. Train with codec Affine, which learns them.")
    moving = ~scale.constant.to(windows.device)
    return scale.normalize(windows[:, -1])[:, moving], scale.normalize(imagined.to(windows))[:, moving]


def swap_test(states: Float[Tensor, "b d"], replicas: Float[Tensor, "b d"], *, rng: torch.Generator) -> float:
    """p-value of the hypothesis that (x, x') and (x', x) have the same distribution, by random exchanges.

    An exchange changes the signs of x − x', |x|² − |x'|² and products of both. The statistic is the largest of their
    standardised sums over all coordinates. Under the lemma all signs are equally likely, so the test is exact.
    """
    x, y = states.detach().cpu().double(), replicas.detach().cpu().double()
    centre, spread = torch.cat([x, y]).mean(0), torch.cat([x, y]).std(0).clamp(min=1e-300)
    x, y = (x - centre) / spread, (y - centre) / spread
    odd = torch.cat([x - y, x**2 - y**2, x**2 * y - y**2 * x], 1)
    odd = odd[:, odd.abs().amax(0) > 0]
    if odd.shape[1] == 0:
        return 1.0
    odd = odd / odd.square().sum(0).sqrt()
    signs = 2.0 * torch.randint(2, (SWAPS, len(odd)), generator=rng).double() - 1
    largest, swapped = odd.sum(0).abs().max(), (signs @ odd).abs().amax(1)
    return (1 + int((swapped >= largest - 1e-12).sum())) / (1 + SWAPS)


def _classifier_test(states: Tensor, replicas: Tensor, rng: torch.Generator) -> TwoSample:
    """Classifier test of half of the pairs against the other half exchanged, two independent samples."""
    half = len(states) // 2
    order = torch.randperm(len(states), generator=rng).to(states.device)
    one, other = order[:half], order[half : 2 * half]
    plain = torch.cat([states[one], replicas[one]], 1)
    swapped = torch.cat([replicas[other], states[other]], 1)
    return two_sample(plain, swapped, rng=rng)


def _check(states: Tensor, replicas: Tensor, sigma: float) -> None:
    if not 0 < sigma < float("inf"):
        raise RecipeError(f"expected sigma > 0, got {sigma}: without noise every replica equals its state.")
    if len(states) < 2 * FEWEST_DRAWS:
        raise DataError(f"{len(states)} pairs are too few for an interval. Draw at least {2 * FEWEST_DRAWS}.")
    if not bool(states.isfinite().all() & replicas.isfinite().all()):
        raise DataError("states or replicas that are not finite cannot be compared. Count them separately.")
