"""How the distance between two closed loops grows: contracting, linear or exponential, and how fast.

    e_t = ‖x_t − x_t'‖,    m_t = median of e_t over the episodes

The kind is that of the law which describes the median best (`growth_fit`): Akaike's criterion on logarithms, counting
as many steps as are independent. It is looked for again in resamples of whole episodes, and named where 80 % of them
agree; else it is "unclear".

    contracting   falls by a factor ρ < 1 a step, to nothing or to a level
    bounded       stays at a level, or rises and comes to rest
    linear        rises by a constant a step
    exponential   rises by a factor ρ > 1 a step, in the end
    floor         the loops are equal up to rounding
    unclear       none of these surely, or too few steps to say

A lost or saturated episode counts as infinitely far, in which case medians are right as long as fewer than half of the
episodes are so; the fit ends before. An episode that is over counts no more, so that the later steps speak of those
that went on.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64, Int
from numpy import ndarray
from torch import Tensor

from ..errors import DataError, ShapeError
from ..evaluation.intervals import Estimate
from ..types import Trajectory
from .growth_curve import fit_window, medians, quantiles, resampled
from .growth_kind import Kind, Verdict, classify

__all__ = ["FEWEST_EPISODES", "FEWEST_STEPS", "Growth", "growth", "growth_of", "rounding"]

FEWEST_EPISODES = 10
"""Below it the resamples of a median are a handful of numbers, and their interval means nothing."""
FEWEST_STEPS = 8
"""Of the fitted window: laws of up to three numbers and a spread are told apart."""
PLATEAU = 0.2
"""Share of its level up to which a rise that saturates counts as free; it lowers ρ − 1 by a few per cent of it."""


@dataclass(frozen=True)
class Growth:
    """The distance of two closed loops over time; steps are numbered 0, 1, … `T`, 0 being the start.

    Attributes:
        error: Distance of each episode, infinite where it is lost or saturated, NaN where it is over.
        bands: 10 %, 50 % and 90 % quantiles over the episodes.
        kind: What the median does.
        rate: Factor ρ a step (contracting, exponential) or distance a step (linear), with its interval over episodes;
            that of the likeliest kind where the kind is unclear, and `None` where there is none.
        level: Where the median stays or comes to rest (bounded; contracting to a level).
        agreement: Share of the episodes' resamples of the same kind.
        window: First and last step of the fit.
        fitted: The law's median, NaN outside the window.
        lost: How many episodes are lost at each step.
        saturated: How many are above the ceiling, and not lost.
        over: How many are over.
        at_floor: How many are equal up to rounding.
        criteria: Akaike's criterion of each law, less the least.
        reason: The verdict as a sentence.
    """

    error: Float[Tensor, "b s"]
    bands: Float[Tensor, "3 s"]
    kind: Kind
    rate: Estimate | None
    level: Estimate | None
    agreement: float
    window: tuple[int, int]
    fitted: Float[Tensor, " s"]
    lost: Int[Tensor, " s"]
    saturated: Int[Tensor, " s"]
    over: Int[Tensor, " s"]
    at_floor: Int[Tensor, " s"]
    criteria: dict[str, float]
    reason: str


def growth(
    expert: Trajectory,
    policy: Trajectory,
    *,
    difference: Callable[[Tensor, Tensor], Tensor] = torch.sub,
    lost: Bool[Tensor, "b t"] | None = None,
    over: Bool[Tensor, "b t"] | None = None,
    ceiling: float = torch.inf,
    seed: int = 0,
    resamples: int = 200,
) -> Growth:
    """How far a policy goes from the expert that began where it began.

    Args:
        expert: The expert's trajectories `[b, t, ·]`.
        policy: The policy's, from the same initial states.
        difference: Of states, the system's own. To measure in a metric P, give `difference(x, y) @ L` with P = L Lᵀ.
        lost: Steps at which the policy was no longer followed (`Rollout.lost`).
        over: Steps at which an episode had ended by itself, of either.
        ceiling: Distance from which on an episode counts as saturated: errors grow no more as far from the expert as
            the task is wide. A median that rises and then levels off is noticed without it.
        seed: Of the resampling.
        resamples: Sets of episodes drawn.

    Raises:
        ShapeError: Trajectories of different shapes.
        DataError: Initial states that differ, fewer than 10 episodes or 8 steps, numbers that are not finite.
    """
    _check_alike(expert, policy)
    error = difference(policy.states, expert.states).square().sum(-1).sqrt()
    floor = rounding(expert.states, policy.states)
    if bool((error[:, 0] > 100 * floor).any()):
        worst = int(error[:, 0].argmax())
        raise DataError(
            f"initial states differ: those of episode {worst} are {float(error[worst, 0]):.3g} apart. Fly the policy "
            "from the expert's initial states; for a perturbation use perturbed_growth."
        )
    return growth_of(
        error,
        lost=_from_start(lost, error),
        over=_from_start(over, error),
        floor=floor,
        ceiling=ceiling,
        seed=seed,
        resamples=resamples,
    )


def growth_of(
    error: Float[Tensor, "b s"],
    *,
    lost: Bool[Tensor, "b s"] | None = None,
    over: Bool[Tensor, "b s"] | None = None,
    floor: float = 0.0,
    ceiling: float = torch.inf,
    first: int = 0,
    seed: int = 0,
    resamples: int = 200,
) -> Growth:
    """The growth of given distances.

    Args:
        error: Distance at steps 0, 1, … of each episode.
        lost: Where an episode was no longer followed.
        over: Where it had ended by itself.
        floor: Distances up to this are rounding.
        ceiling: Distances above this are saturated, from then on.
        first: First step to fit.
        seed: Of the resampling.
        resamples: Sets of episodes drawn.

    Raises:
        DataError: Fewer than 10 episodes or 8 steps, or distances that are negative or not finite where an episode is
            followed.

    >>> from holdfast.seeding import stream
    >>> start = torch.rand(20, 1, dtype=torch.float64, generator=stream(0, "doc"))
    >>> growth_of(start * 1.05 ** torch.arange(60)).reason
    'the median distance grows 1.0500 × a step [1.0500, 1.0500] over steps 0 to 59'
    """
    none = torch.zeros_like(error, dtype=torch.bool)
    lost, over = none if lost is None else lost, none if over is None else over
    _check(error, lost | over, first)
    seen = error.detach().cpu().double()
    saturated = (seen > ceiling).cummax(1).values & ~lost.cpu() & ~over.cpu()
    seen = seen.masked_fill(saturated | lost.cpu(), torch.inf).masked_fill(over.cpu() & ~lost.cpu(), torch.nan)
    values = seen.numpy()
    middle = medians(values)
    begin, end = fit_window(values, middle, first, floor)
    curves = resampled(values, (begin, end), floor, seed, resamples)
    verdict = _verdict(curves, len(values))
    if verdict is not None and (rise := _rise(middle[begin:end], verdict, curves)):
        end, verdict = begin + rise, _verdict(curves[:, :rise], len(values))
    fitted = torch.full_like(seen[0], torch.nan)
    if verdict is not None:
        fitted[begin:end] = torch.as_tensor(verdict.fitted)
    found = Growth(
        error=seen,
        bands=torch.as_tensor(quantiles(values)),
        kind="unclear" if verdict is None else verdict.kind,
        rate=None if verdict is None else verdict.rate,
        level=None if verdict is None else verdict.level,
        agreement=0.0 if verdict is None else verdict.agreement,
        window=(begin, end - 1),
        fitted=fitted,
        lost=lost.sum(0).cpu(),
        saturated=saturated.sum(0),
        over=(over & ~lost).sum(0).cpu(),
        at_floor=(seen <= floor).sum(0),
        criteria={} if verdict is None else dict(verdict.criteria),
        reason="",
    )
    found = found if verdict is not None else _without_fit(found, middle, floor, first)
    return replace(found, reason=found.reason or _sentence(found))


def _verdict(curves: Float64[ndarray, "r t"], episodes: int) -> Verdict | None:
    return classify(curves, episodes=episodes) if curves.shape[1] >= FEWEST_STEPS else None


def _rise(middle: Float64[ndarray, " t"], verdict: Verdict, curves: Float64[ndarray, "r t"]) -> int | None:
    """Where a median that rises and then levels off has risen to a fifth of it, if no one law tells of both.

    A recursion that comes to rest rises fastest at first and is left whole; an error that grows on its own until it is
    as large as the task allows is first fitted badly by every law.
    """
    last = middle[-max(len(middle) // 4, 2) :]
    plateau = float(np.median(last))
    rise = int((middle >= PLATEAU * plateau).argmax())
    if rise < FEWEST_STEPS or last.max() > 1.5 * last.min() or middle[rise - 1] < 2 * middle[0]:
        return None
    part = classify(curves[:1, :rise], episodes=2)
    return rise if part.deviation < verdict.deviation / 2 else None


def _without_fit(found: Growth, middle: Float64[ndarray, " s"], floor: float, first: int) -> Growth:
    """What can be said with fewer steps than a fit needs."""
    begin, last = found.window
    steps = last - begin + 1
    known = middle[first:][np.isfinite(middle[first:])]
    if len(known) == len(middle[first:]) and bool((known <= floor).all()):
        return replace(found, kind="floor", agreement=1.0, reason="the loops are equal up to rounding")
    if steps and last + 1 < len(middle) and middle[last + 1] <= floor:
        text = f"the median distance falls to rounding within {steps} steps, too fast for a rate"
        return replace(found, kind="contracting", agreement=1.0, reason=text)
    text = f"only {steps} steps lie between rounding and loss or saturation; a fit needs {FEWEST_STEPS}"
    return replace(found, reason=text)


def _sentence(found: Growth) -> str:
    begin, end = found.window
    where = f"over steps {begin} to {end}"
    rate = "" if found.rate is None else f"[{found.rate.low:.4f}, {found.rate.high:.4f}]"
    match found.kind, found.rate:
        case "exponential", Estimate() as factor:
            return f"the median distance grows {factor.mean:.4f} × a step {rate} {where}"
        case "contracting", Estimate() as factor:
            rest = "" if found.level is None else f", to rest at {found.level.mean:.3g}"
            return f"the median distance falls by {factor.mean:.4f} × a step {rate} {where}{rest}"
        case "linear", Estimate() as slope:
            return f"the median distance grows by {slope.mean:.3g} a step [{slope.low:.3g}, {slope.high:.3g}] {where}"
        case "bounded", _:
            level = "its level" if found.level is None else f"{found.level.mean:.3g}"
            return f"the median distance stays at, or comes to rest at, {level} {where}"
        case _:
            return f"no kind of growth is shown by 80 % of the resamples {where}"


def rounding(*states: Tensor) -> float:
    """Distance that rounding alone explains."""
    size = max(float(values.abs().max()) for values in states)
    width = states[0].shape[-1]
    return 64 * torch.finfo(states[0].dtype).eps * max(size, 1e-30) * width**0.5


def _from_start(mask: Tensor | None, error: Tensor) -> Tensor | None:
    """A mask of steps as one of states: nothing is lost at the start."""
    return None if mask is None else torch.cat([torch.zeros_like(mask[:, :1]), mask], 1).to(error.device)


def _check_alike(expert: Trajectory, policy: Trajectory) -> None:
    if expert.states.shape != policy.states.shape or expert.states.ndim != 3:
        raise ShapeError(
            f"expected states [b, t + 1, n] of the same shape, got {list(expert.states.shape)} of the expert and "
            f"{list(policy.states.shape)} of the policy. Fly both equally often and long."
        )


def _check(error: Tensor, unknown: Tensor, first: int) -> None:
    episodes, steps = error.shape
    if episodes < FEWEST_EPISODES:
        raise DataError(
            f"{episodes} rollouts are too few for a median with an interval. Fly at least {FEWEST_EPISODES}; 30 or "
            "more give a narrow one."
        )
    if steps - first < FEWEST_STEPS:
        raise DataError(f"{steps - first} steps are too few to tell growth. Fly at least {FEWEST_STEPS}.")
    known = error[~unknown]
    if not bool(known.isfinite().all() & (known >= 0).all()):
        raise DataError("distances must be finite and 0 or above where an episode is followed. Mark the rest as lost.")
