"""Growth of the distance between two closed loops: contracting, linear or exponential, and its rate.

    e_t = ‖x_t − x_t'‖,    m_t = median of e_t over the episodes

The kind of growth is that of the model that fits the median best (`growth_fit`), by Akaike's criterion on logarithms
with the effective number of independent steps. It is reported if 80 % of resamples of whole episodes agree; otherwise
it is "unclear".

    contracting   decreases by a factor ρ < 1 per step, to zero or to a level
    bounded       stays at a level, or increases and converges
    linear        increases by a constant per step
    exponential   increases by a factor ρ > 1 per step, asymptotically
    floor         the loops are equal up to rounding
    unclear       none of these with confidence, or too few steps

Lost and saturated episodes count as infinitely far, which leaves the median correct while they are fewer than half; the
fit ends before. Episodes that are over no longer count, so later steps describe only the episodes still running.
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

FEWEST_EPISODES = 10
"""With fewer episodes the resampled medians take only a few values, and their interval is meaningless."""
FEWEST_STEPS = 8
"""Smallest length of the fitted window, for models of up to three parameters and a variance."""
PLATEAU = 0.2
"""Share of its final level up to which a saturating rise counts as free growth; lowers ρ − 1 by a few per cent."""


@dataclass(frozen=True)
class Growth:
    """Distance of two closed loops over time; steps are numbered 0, 1, … `T` from the initial state.

    Attributes:
        error: Distance in each episode; infinite if it is lost or saturated, NaN if it is over.
        bands: 10 %, 50 % and 90 % quantiles over the episodes.
        kind: Kind of growth of the median.
        rate: Factor ρ per step (contracting, exponential) or increase per step (linear), with its interval over
            episodes; for an unclear kind that of the most likely one, and `None` if there is none.
        level: Level or limit of the median (bounded; contracting to a level).
        agreement: Share of resamples of the same kind.
        window: First and last step of the fit.
        fitted: Fitted median; NaN outside the window.
        lost: Number of lost episodes at each step.
        saturated: Number of episodes above the ceiling that are not lost.
        over: Number of episodes that are over.
        at_floor: Number of episodes that are equal up to rounding.
        criteria: Akaike's criterion of each model, relative to the smallest.
        reason: The result as a sentence.
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
    """Growth of the distance of a policy from the expert with the same initial states.

    Args:
        expert: Trajectories of the expert, `[b, t, ·]`.
        policy: Trajectories of the policy from the same initial states.
        difference: Difference of two states. To measure in a metric P, use `difference(x, y) @ L` with P = L Lᵀ.
        lost: Steps after which the policy was no longer simulated (`Rollout.lost`).
        over: Steps at which an episode of either was over.
        ceiling: Distance above which an episode counts as saturated, because errors cannot exceed the size of the task.
            A median that rises and then levels off is also detected without it.
        seed: Random seed for the resampling.
        resamples: Number of resampled sets of episodes.

    Raises:
        ShapeError: The trajectories differ in shape.
        DataError: Initial states differ, there are fewer than 10 episodes or 8 steps, or values are not finite.
    """
    _check_alike(expert, policy)
    error = difference(policy.states, expert.states).square().sum(-1).sqrt()
    floor = rounding(expert.states, policy.states)
    if bool((error[:, 0] > 100 * floor).any()):
        worst = int(error[:, 0].argmax())
        raise DataError(
            f"initial states differ: those of episode {worst} by {float(error[worst, 0]):.3g}. Run the policy "
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
    """Growth of given distances.

    Args:
        error: Distance at steps 0, 1, … of each episode.
        lost: Steps at which an episode was lost.
        over: Steps at which an episode was over.
        floor: Distances up to this are rounding errors.
        ceiling: Distance above which an episode counts as saturated from then on.
        first: First step to fit.
        seed: Random seed for the resampling.
        resamples: Number of resampled sets of episodes.

    Raises:
        DataError: There are fewer than 10 episodes or 8 steps, or distances of running episodes that are negative or
            not finite.

    >>> from holdfast.seeding import stream
    >>> start = torch.rand(20, 1, dtype=torch.float64, generator=stream(0, "doc"))
    >>> growth_of(start * 1.05 ** torch.arange(60)).reason
    'the median distance grows by a factor of 1.0500 per step [1.0500, 1.0500] over steps 0 to 59'
    """
    none = torch.zeros_like(error, dtype=torch.bool)
    lost, over = none if lost is None else lost, none if over is None else over
    _check(error, lost | over, first)
    distance = error.detach().cpu().double()
    saturated = (distance > ceiling).cummax(1).values & ~lost.cpu() & ~over.cpu()
    distance = distance.masked_fill(saturated | lost.cpu(), torch.inf).masked_fill(over.cpu() & ~lost.cpu(), torch.nan)
    values = distance.numpy()
    middle = medians(values)
    begin, end = fit_window(values, middle, first, floor)
    curves = resampled(values, (begin, end), floor, seed, resamples)
    verdict = _verdict(curves, len(values))
    if verdict is not None and (rise := _free_growth(middle[begin:end], verdict, curves)):
        end, verdict = begin + rise, _verdict(curves[:, :rise], len(values))
    fitted = torch.full_like(distance[0], torch.nan)
    if verdict is not None:
        fitted[begin:end] = torch.as_tensor(verdict.fitted)
    found = Growth(
        error=distance,
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
        at_floor=(distance <= floor).sum(0),
        criteria={} if verdict is None else dict(verdict.criteria),
        reason="",
    )
    found = found if verdict is not None else _without_fit(found, middle, floor, first)
    return replace(found, reason=found.reason or _sentence(found))


def _verdict(curves: Float64[ndarray, "r t"], episodes: int) -> Verdict | None:
    return classify(curves, episodes=episodes) if curves.shape[1] >= FEWEST_STEPS else None


def _free_growth(middle: Float64[ndarray, " t"], verdict: Verdict, curves: Float64[ndarray, "r t"]) -> int | None:
    """Step at which a median that rises and levels off has reached a fifth of its level, unless one model fits both.

    A converging recursion rises fastest at first and is kept whole; a saturating exponential error is fitted badly by
    every model over the whole window.
    """
    last = middle[-max(len(middle) // 4, 2) :]
    plateau = float(np.median(last))
    rise = int((middle >= PLATEAU * plateau).argmax())
    if rise < FEWEST_STEPS or last.max() > 1.5 * last.min() or middle[rise - 1] < 2 * middle[0]:
        return None
    part = classify(curves[:1, :rise], episodes=2)
    return rise if part.deviation < verdict.deviation / 2 else None


def _without_fit(found: Growth, middle: Float64[ndarray, " s"], floor: float, first: int) -> Growth:
    begin, last = found.window
    steps = last - begin + 1
    known = middle[first:][np.isfinite(middle[first:])]
    if len(known) == len(middle[first:]) and bool((known <= floor).all()):
        return replace(found, kind="floor", agreement=1.0, reason="the loops are equal up to rounding")
    if steps and last + 1 < len(middle) and middle[last + 1] <= floor:
        text = f"the median distance decays to rounding within {steps} steps, too fast to estimate a rate"
        return replace(found, kind="contracting", agreement=1.0, reason=text)
    text = f"only {steps} steps are between rounding and loss or saturation; a fit needs {FEWEST_STEPS}"
    return replace(found, reason=text)


def _sentence(found: Growth) -> str:
    begin, end = found.window
    where = f"over steps {begin} to {end}"
    rate = "" if found.rate is None else f"[{found.rate.low:.4f}, {found.rate.high:.4f}]"
    match found.kind, found.rate:
        case "exponential", Estimate() as factor:
            return f"the median distance grows by a factor of {factor.mean:.4f} per step {rate} {where}"
        case "contracting", Estimate() as factor:
            rest = "" if found.level is None else f", to a level of {found.level.mean:.3g}"
            return f"the median distance shrinks by a factor of {factor.mean:.4f} per step {rate} {where}{rest}"
        case "linear", Estimate() as slope:
            return f"the median distance grows by {slope.mean:.3g} per step [{slope.low:.3g}, {slope.high:.3g}] {where}"
        case "bounded", _:
            level = "a level" if found.level is None else f"{found.level.mean:.3g}"
            return f"the median distance stays at or converges to {level} {where}"
        case _:
            return f"no kind of growth has the agreement of 80 % of the resamples {where}"


def rounding(*states: Tensor) -> float:
    """Largest distance that is explained by rounding."""
    size = max(float(values.abs().max()) for values in states)
    width = states[0].shape[-1]
    return 64 * torch.finfo(states[0].dtype).eps * max(size, 1e-30) * width**0.5


def _from_start(mask: Tensor | None, error: Tensor) -> Tensor | None:
    """Mask of steps as a mask of states: no episode is lost at the initial state."""
    return None if mask is None else torch.cat([torch.zeros_like(mask[:, :1]), mask], 1).to(error.device)


def _check_alike(expert: Trajectory, policy: Trajectory) -> None:
    if expert.states.shape != policy.states.shape or expert.states.ndim != 3:
        raise ShapeError(
            f"expected states [b, t + 1, n] of the same shape, got {list(expert.states.shape)} of the expert and "
            f"{list(policy.states.shape)} of the policy. Run both with equal numbers of episodes and steps."
        )


def _check(error: Tensor, unknown: Tensor, first: int) -> None:
    episodes, steps = error.shape
    if episodes < FEWEST_EPISODES:
        raise DataError(
            f"{episodes} rollouts are too few for a median with an interval. Run at least {FEWEST_EPISODES}; 30 or "
            "more give a narrow interval."
        )
    if steps - first < FEWEST_STEPS:
        raise DataError(f"{steps - first} steps are too few to classify growth. Run at least {FEWEST_STEPS}.")
    known = error[~unknown]
    if not bool(known.isfinite().all() & (known >= 0).all()):
        raise DataError("distances of running episodes must be finite and 0 or above. Mark the others as lost.")
