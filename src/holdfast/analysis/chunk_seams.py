"""Seams between chunks: how much more a policy jerks where one plan ends and the next begins.

A new plan begins every `n_action_steps`. Differences of a signal y over its steps,

    jump       y_k − y_{k−1}                                      of actions
    velocity   y_k − 2 y_{k−1} + y_{k−2}                          the change of the first difference
    jerk       y_k − 3 y_{k−1} + 3 y_{k−2} − y_{k−3}              the third difference

lie *across a seam* if the actions that they involve come from two plans, else *inside* one. A state is what the action
before it led to, so that of states the first difference involves one action only, and has no seam.

The ratio of the medians is 1 where plans join as smoothly as they run. It compares steps of one flight and does not say
what is smooth enough.
"""

from dataclasses import dataclass
from typing import Literal, assert_never

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64
from numpy import ndarray
from torch import Tensor

from ..errors import DataError, RecipeError
from ..evaluation.intervals import LEVEL, Estimate
from ..seeding import stream
from ..types import Trajectory
from .error_growth import FEWEST_EPISODES

__all__ = ["Seam", "Seams", "seams"]

Signal = Literal["actions", "states"]


@dataclass(frozen=True)
class Seam:
    """The length of one difference, across seams and inside chunks.

    Attributes:
        across: Median across seams.
        inside: Median inside chunks.
        ratio: across / inside, with its interval over episodes; infinite where only the inside is 0, 1 where both are.
        seams: How many differences lie across.
        steps: How many lie inside.
    """

    across: float
    inside: float
    ratio: Estimate
    seams: int
    steps: int


@dataclass(frozen=True)
class Seams:
    """Differences of the first three orders; `None` where chunks are too short to hold one inside, or none is across.

    Attributes:
        of: The signal.
        n_action_steps: Steps between plans.
        jump: First difference.
        velocity: Second difference.
        jerk: Third difference.
    """

    of: Signal
    n_action_steps: int
    jump: Seam | None
    velocity: Seam | None
    jerk: Seam | None


def seams(
    flights: Trajectory,
    *,
    n_action_steps: int,
    of: Signal = "actions",
    dt: float | None = None,
    scale: Float[Tensor, " c"] | None = None,
    over: Bool[Tensor, "b t"] | None = None,
    seed: int = 0,
    resamples: int = 500,
) -> Seams:
    """Compare the seams of flights with what lies between.

    Args:
        flights: Trajectories `[b, t, ·]` of one policy that began to plan at step 0.
        n_action_steps: Steps executed of each plan.
        of: Which signal.
        dt: Seconds a step [s]: differences become derivatives, in units a second to their order.
        scale: What each coordinate is divided by, such as half its range; mixed units are otherwise summed.
        over: Steps at which an episode was over or lost; differences that touch them are left out.
        seed: Of the resampling.
        resamples: Sets of episodes drawn.

    Raises:
        RecipeError: Plans of one step, at which every step is a seam.
        DataError: Fewer than 10 episodes, or no whole difference.
    """
    if n_action_steps < 2:
        raise RecipeError(f"with {n_action_steps} step between plans every step is a seam: nothing lies inside.")
    if len(flights.actions) < FEWEST_EPISODES:
        raise DataError(f"{len(flights.actions)} rollouts are too few for an interval. Fly at least {FEWEST_EPISODES}.")
    signal, known = _signal(flights, of, over)
    signal = signal if scale is None else signal / scale.to(signal)
    rng = np.random.default_rng(stream(seed, "resampling").initial_seed())
    rows = rng.integers(len(signal), size=(resamples, len(signal)))
    found = [_seam(signal, known, order, n_action_steps, of, dt, rows) for order in (1, 2, 3)]
    if not any(found):
        raise DataError(
            f"no difference lies inside a chunk of {n_action_steps} steps and another across a seam, over "
            f"{flights.steps} steps. Fly longer."
        )
    return Seams(of, n_action_steps, *found)


def _signal(flights: Trajectory, of: Signal, over: Tensor | None) -> tuple[Tensor, Tensor]:
    """The signal, and where it is known."""
    gone = torch.zeros_like(flights.actions[..., 0], dtype=torch.bool) if over is None else over
    match of:
        case "actions":
            return flights.actions.detach().cpu().double(), ~gone.cpu()
        case "states":
            reached = torch.cat([torch.ones_like(gone[:, :1]), ~gone], 1)
            return flights.states.detach().cpu().double(), reached.cpu()
        case _:
            assert_never(of)


def _seam(
    signal: Tensor,
    known: Tensor,
    order: int,
    period: int,
    of: Signal,
    dt: float | None,
    rows: ndarray,
) -> Seam | None:
    if signal.shape[1] <= order:
        return None
    size = signal.diff(n=order, dim=1).square().sum(-1).sqrt() / (1.0 if dt is None else dt**order)
    whole = known.unfold(1, order + 1, 1).all(-1)
    values = size.masked_fill(~whole, torch.nan).numpy()
    last = np.arange(order, signal.shape[1])
    # y_k of actions is that of step k; the state y_k came of the action of step k − 1, and y_{k−p} of none
    newest, oldest = (last, last - order) if of == "actions" else (last - 1, last - order)
    crossing = newest // period != oldest // period
    across, inside = values[:, crossing], values[:, ~crossing]
    counts = int(np.isfinite(across).sum()), int(np.isfinite(inside).sum())
    if min(counts) == 0:
        return None
    middle = float(np.nanmedian(across)), float(np.nanmedian(inside))
    return Seam(*middle, _ratio_interval(middle, across, inside, rows), *counts)


def _ratio_interval(
    middle: tuple[float, float],
    across: Float64[ndarray, "b s"],
    inside: Float64[ndarray, "b r"],
    rows: ndarray,
) -> Estimate:
    """Percentiles over resampled episodes; those that hold no difference of a kind are passed over."""
    some = [row for row in rows if np.isfinite(across[row]).any() and np.isfinite(inside[row]).any()]
    drawn = [_ratio(float(np.nanmedian(across[row])), float(np.nanmedian(inside[row]))) for row in some]
    ends = [(1 - LEVEL) / 2, (1 + LEVEL) / 2]
    low, high = (float(np.quantile(drawn, end, method="nearest")) for end in ends)
    return Estimate(_ratio(*middle), low, high)


def _ratio(across: float, inside: float) -> float:
    if inside > 0:
        return across / inside
    return 1.0 if across == 0 else float("inf")
