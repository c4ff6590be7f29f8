"""Seams between chunks: discontinuity of the actions or states where one plan ends and the next begins.

A new plan begins every `n_action_steps`. Differences of a signal y over its steps,

    jump       y_k − y_{k−1}                                      of actions
    velocity   y_k − 2 y_{k−1} + y_{k−2}                          the change of the first difference
    jerk       y_k − 3 y_{k−1} + 3 y_{k−2} − y_{k−3}              the third difference

are *across a seam* if the actions involved belong to two plans, else *inside* a chunk. A state results from the
preceding action, so the first difference of states involves only one action and is never across a seam.

The ratio of the medians is 1 if plans join as smoothly as they run. It is relative to the smoothness of the same
rollouts and does not define which smoothness is sufficient.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, assert_never

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64
from numpy import ndarray
from torch import Tensor

from ..errors import DataError, RecipeError
from ..evaluation.intervals import LEVEL, Estimate, resampling
from ..rotations import SIX, Rotation, encoded
from ..types import Trajectory
from .error_growth import FEWEST_EPISODES

Signal = Literal["actions", "states"]


@dataclass(frozen=True)
class Seam:
    """Norm of one order of differences, across seams and inside chunks.

    Attributes:
        across: Median across seams.
        inside: Median inside chunks.
        ratio: across / inside, with its interval over episodes; infinite if only the inside is 0, 1 if both are.
        seams: Number of differences across seams.
        steps: Number of differences inside chunks.
    """

    across: float
    inside: float
    ratio: Estimate
    seams: int
    steps: int


@dataclass(frozen=True)
class Seams:
    """Differences of the first three orders; `None` if none of an order is inside a chunk, or none across a seam.

    Attributes:
        signal: Signal.
        n_action_steps: Steps between plans.
        jump: First difference.
        velocity: Second difference.
        jerk: Third difference.
    """

    signal: Signal
    n_action_steps: int
    jump: Seam | None
    velocity: Seam | None
    jerk: Seam | None


def seams(
    trajectory: Trajectory,
    *,
    n_action_steps: int,
    signal: Signal = "actions",
    dt: float | None = None,
    scale: Float[Tensor, " c"] | None = None,
    over: Bool[Tensor, "b t"] | None = None,
    rotations: Sequence[Rotation] = (),
    seed: int = 0,
    resamples: int = 500,
) -> Seams:
    """Compare differences across the seams with those inside chunks.

    Args:
        trajectory: Trajectories `[b, t, ·]` of one policy that began to plan at step 0.
        n_action_steps: Executed steps of each plan.
        signal: Signal.
        dt: Duration of a step [s]; if given, differences become derivatives.
        scale: Scale of each coordinate, such as half its range. Default: 1, which sums mixed units.
        over: Steps at which an episode was over or lost; differences that involve them are excluded.
        rotations: Coordinates of the signal that are rotations. Their differences are those of the first two columns
            of their matrices, because equal rotations may have distant numbers.
        seed: Random seed for the resampling.
        resamples: Number of resampled sets of episodes.

    Raises:
        RecipeError: Plans have one step, so that every step is a seam.
        DataError: There are fewer than 10 episodes, or no complete difference.
    """
    if n_action_steps < 2:
        raise RecipeError(f"with {n_action_steps} step between plans every step is a seam: none is inside a chunk.")
    if len(trajectory.actions) < FEWEST_EPISODES:
        raise DataError(
            f"{len(trajectory.actions)} rollouts are too few for an interval. Run at least {FEWEST_EPISODES}."
        )
    values, known = _signal(trajectory, signal, over)
    values = encoded(values, rotations)
    values = values if scale is None else values / scale_with_units(scale, rotations).to(values)
    rng = resampling(seed)
    rows = rng.integers(len(values), size=(resamples, len(values)))
    found = [_seam(values, known, order, n_action_steps, signal, dt, rows) for order in (1, 2, 3)]
    if not any(found):
        raise DataError(
            f"{trajectory.steps} steps do not contain both a difference inside a chunk of {n_action_steps} steps and "
            "one across a seam. Run longer episodes."
        )
    return Seams(signal, n_action_steps, *found)


def scale_with_units(scale: Float[Tensor, " c"], rotations: Sequence[Rotation]) -> Float[Tensor, " d"]:
    """The scale with 1 for each of the six numbers of a rotation, which lie in [−1, 1]."""
    parts, reached = list[Tensor](), 0
    for one in rotations:
        parts += [scale[reached : one.first], scale.new_ones(SIX)]
        reached = one.last
    return torch.cat([*parts, scale[reached:]])


def _signal(trajectory: Trajectory, signal: Signal, over: Tensor | None) -> tuple[Tensor, Tensor]:
    """The signal, and the steps at which it is known."""
    gone = torch.zeros_like(trajectory.actions[..., 0], dtype=torch.bool) if over is None else over
    match signal:
        case "actions":
            return trajectory.actions.detach().cpu().double(), ~gone.cpu()
        case "states":
            reached = torch.cat([torch.ones_like(gone[:, :1]), ~gone], 1)
            return trajectory.states.detach().cpu().double(), reached.cpu()
        case _:
            assert_never(signal)


def _seam(
    signal: Tensor,
    known: Tensor,
    order: int,
    period: int,
    kind: Signal,
    dt: float | None,
    rows: ndarray,
) -> Seam | None:
    if signal.shape[1] <= order:
        return None
    size = signal.diff(n=order, dim=1).square().sum(-1).sqrt() / (1.0 if dt is None else dt**order)
    whole = known.unfold(1, order + 1, 1).all(-1)
    values = size.masked_fill(~whole, torch.nan).numpy()
    last = np.arange(order, signal.shape[1])
    # action y_k belongs to step k; state y_k results from the action of step k − 1
    newest, oldest = (last, last - order) if kind == "actions" else (last - 1, last - order)
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
    """Percentiles over resampled episodes; resamples without differences of a kind are skipped."""
    some = [row for row in rows if np.isfinite(across[row]).any() and np.isfinite(inside[row]).any()]
    drawn = [_ratio(float(np.nanmedian(across[row])), float(np.nanmedian(inside[row]))) for row in some]
    ends = [(1 - LEVEL) / 2, (1 + LEVEL) / 2]
    low, high = (float(np.quantile(drawn, end, method="nearest")) for end in ends)
    return Estimate(_ratio(*middle), low, high)


def _ratio(across: float, inside: float) -> float:
    if inside > 0:
        return across / inside
    return 1.0 if across == 0 else float("inf")
