"""Rollouts that never start, and rollouts that come to rest before the task is solved.

A rollout *moves* over some steps if a coordinate changes by more than a share of its demonstrated range; sensor noise
and drift within an episode stay below it.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ....types import Episodes
from .cause import Cause, Confirmation
from .scene import Scene
from .trials import outcome_of, spread_of

RESTS = 0.03
"""A rollout rests while every coordinate stays within this share of its demonstrated range."""
LAST = 0.2
"""Share of a rollout, at its end, in which it rests."""
FEWEST = 6
"""Smallest number of rows in which a rollout can be at rest."""
USUALLY = 0.75
MOST = 0.5
FAILED = 0.1
"""Share of unsolved rollouts from which it is said where they rest."""


def stuck(scene: Scene) -> list[Cause]:
    """Rollouts that rest although the task is not solved."""
    shown, rollout = scene.shown, scene.subject.rollout
    if shown is None or rollout.success is None or scene.trials.holds:
        return []
    unsolved = outcome_of(scene.subject.evaluation) < 1
    scale = spread_of(shown.observed.vector)
    # a few steps show no rest: demonstrations hardly move in them either
    rows = rollout.observed.shape[1]
    if rows <= FEWEST or not _shows_rest(shown, scale, rows=_last(rows)):
        return []
    still = resting(rollout.observed.double() / scale, running=~(rollout.over | rollout.lost))
    here = still & unsolved
    if float(unsolved.double().mean()) < FAILED or float(here.sum() / unsolved.sum()) <= MOST:
        return []
    never = here & never_moved(scene, shown)
    return [_cause(here, unsolved, never, rollout.trajectory.steps)]


def resting(observed: Float[Tensor, "b t d"], *, running: Bool[Tensor, "b t"]) -> Bool[Tensor, " b"]:
    """Rollouts that are still running at the end and rest in the last part."""
    tail = observed[:, -_last(observed.shape[1]) :]
    spread = (tail.amax(dim=1) - tail.amin(dim=1)).amax(dim=-1)
    return (spread < RESTS) & running[:, -1]


def _last(rows: int) -> int:
    """Number of the last rows in which a rollout is examined."""
    return max(round(LAST * rows), FEWEST)


def _shows_rest(shown: Episodes, scale: Float[Tensor, " d"], *, rows: int) -> bool:
    """Whether demonstrations usually move within so many rows, so that a rollout that does not is at rest."""
    observed = shown.observed.vector.double() / scale
    moved = list[Tensor]()
    for first, length in zip(shown.starts, shown.lengths, strict=True):
        own = observed[int(first) : int(first + length)]
        if len(own) >= rows:
            windows = own.unfold(0, rows, max(rows // 2, 1))
            moved.append((windows.amax(dim=-1) - windows.amin(dim=-1)).amax(dim=-1))
    return bool(moved) and float(torch.cat(moved).quantile(USUALLY)) > RESTS


def never_moved(scene: Scene, shown: Episodes) -> Bool[Tensor, " b"]:
    """Rollouts that stay where they began, as far as the demonstrations move."""
    observed = scene.subject.rollout.observed.double() / spread_of(shown.observed.vector)
    return (observed - observed[:, :1]).abs().amax(dim=(1, 2)) < RESTS


def waiting(scene: Scene, shown: Episodes) -> Float[Tensor, " b"]:
    """Steps before each rollout moves; its length if it never does."""
    observed = scene.subject.rollout.observed.double() / spread_of(shown.observed.vector)
    moved = (observed - observed[:, :1]).abs().amax(dim=2) > RESTS
    steps = moved.shape[1]
    return torch.where(moved.any(dim=1), moved.double().argmax(dim=1), steps).double()


def _cause(here: Tensor, unsolved: Tensor, never: Tensor, steps: int) -> Cause:
    count, missed, idle = int(here.sum()), int(unsolved.sum()), int(never.sum())
    where = f"; {idle} of them never left their start" if idle else ""
    return Cause(
        check="stuck",
        severity="warning",
        what=f"{count} of {missed} rollouts that do not solve the task rest in their last {LAST:.0%}{where}.",
        effect="The policy has reached a state in which its actions hold it, short of the goal.",
        remedy="Look at where they rest. If demonstrations pause there, cut the pauses (--drop-idle); if the action is "
        "a reading of the state, record the command; otherwise record how to go on from there.",
        values={"resting": count, "unsolved": missed, "never_moved": idle, "steps": steps},
        confirmed=Confirmation(answer="yes", test="It was measured in the rollouts themselves."),
    )
