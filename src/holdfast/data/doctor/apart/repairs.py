"""What restores the model of most episodes in an odd one: a sign, a shift of the actions, the rows backwards.

With the mean squared error e(T) of an episode whose rows are changed by T, under the model of most episodes, the change
with the largest mean of log e(none) / e(T) over coordinates names what was done to the episode, if e(T) is as small as
usual.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, TypeAlias

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from ..recording import Recording
from .majority import TINY, Majority

LONGEST = 10
"""Largest shift of the actions [steps]."""
LOOK = 2.0
"""Ratio of the error to the usual one from which on repairs are tried."""
RESTORED = 3.0
"""Largest ratio after the repair."""
SHARP = 6.0
"""Smallest ratio of the errors before and after, of the coordinate that gains most."""
AS_WELL = 0.7
"""Gain of a sign of an action, relative to the best, for which it is preferred: where nothing else depends on a state,
the sign of its action does the same."""
AT_ONCE, RISE, SIDE = 0.5, 20.0, 5
"""Part of an error that lies within a few steps of its largest value, or the ratio of the mean error from some step on
to that before, for an error that begins suddenly, and the fewest steps on each side."""
ROWS, BLOCK = 150, 20_000
"""Largest number of rows of an episode that are judged, and rows of episodes that are read at once."""

Kind: TypeAlias = Literal["none", "shift", "action sign", "state sign", "backwards"]


@dataclass(frozen=True, kw_only=True)
class Repair:
    """A change of the rows of an episode.

    Attributes:
        by: Rows by which the actions are shifted, or the place of the column whose sign is changed.
    """

    kind: Kind
    by: int = 0


NONE = Repair(kind="none")


@dataclass(frozen=True, kw_only=True)
class Judged:
    """What restores the model, by episode (of the recording), and episodes that nothing restores."""

    repairs: dict[int, Repair]
    strange: dict[int, "Strange"]


@dataclass(frozen=True, kw_only=True)
class Strange:
    """An episode that no repair restores.

    Attributes:
        ratio: Its error as a multiple of the usual one, of the coordinate where it is largest.
        label: That coordinate.
        step: Step at which the error is largest, or from which on it is large.
        sudden: Whether most of the error is near that step, or nearly all of it after it. An episode of another part of
            the space, to which the model does not extend, has errors throughout.
    """

    ratio: float
    label: str
    step: int
    sudden: bool


@dataclass(frozen=True, kw_only=True)
class _Block:
    """Raw states and actions of some episodes, and the rows on which every repair can be judged."""

    majority: Majority
    some: Recording
    reach: int

    @cached_property
    def states(self) -> Float[ndarray, "all n"]:
        return self.some.states.values[:, self.majority.steps.moving].astype(np.float64)

    @cached_property
    def actions(self) -> Float[ndarray, "all m"]:
        return self.some.actions.values[:, self.majority.steps.acting].astype(np.float64)

    def rows(self, episode: int) -> Int[ndarray, " rows"]:
        """Some rows of an episode, far enough from its ends."""
        first, length = int(self.some.starts[episode]), int(self.some.lengths[episode])
        inner = np.arange(first + self.reach + 1, first + length - self.reach - 1)
        return inner[np.linspace(0, len(inner) - 1, ROWS).astype(int)] if len(inner) > ROWS else inner

    def errors(
        self, rows: Int[ndarray, " rows"], repair: Repair
    ) -> tuple[Float[ndarray, "rows c"], Float[ndarray, "rows c"]]:
        """Squared error and squared change of rows that are changed."""
        one, majority = 1, self.majority
        past = rows - repair.by if repair.kind == "shift" else rows
        if repair.kind == "backwards":
            one = -1
        now, before, after = (self.states[r] for r in (rows, rows - one, rows + one))
        act, earlier = self.actions[past], self.actions[past - one]
        turned = {"state sign": (now, before, after), "action sign": (act, earlier)}.get(repair.kind, ())
        for values in turned:
            values[:, repair.by] *= -1
        change = after - now
        error = majority.errors(np.concatenate([now, before, act, earlier], axis=1), change)
        motion = (change[:, majority.clear] / majority.steps.size[majority.clear]) ** 2
        return error, motion

    def ratio(self, episode: int, repair: Repair = NONE) -> tuple[Float[ndarray, " c"], Float[ndarray, " c"]]:
        """Mean squared error of an episode, and the same as a multiple of the usual one."""
        error, motion = (values.mean(axis=0) for values in self.errors(self.rows(episode), repair))
        return error + TINY, self.majority.ratio(error + TINY, motion)

    def strange(self, episode: int, ratio: Float[ndarray, " c"]) -> Strange:
        """Where an episode departs most from the model."""
        first, at = int(self.some.starts[episode]), int(ratio.argmax())
        rows = np.arange(first + 1, first + int(self.some.lengths[episode]) - 1)
        error = self.errors(rows, NONE)[0][:, at]
        at_once = int(error.argmax())
        near = float(error[max(0, at_once - 2) : at_once + 3].sum()) >= AT_ONCE * float(error.sum())
        since, times = _rise(error)
        return Strange(
            ratio=float(ratio[at]),
            label=self.majority.steps.labels[int(self.majority.clear[at])],
            step=(at_once if near else since) + 2,
            sudden=near or times >= RISE,
        )


def _rise(error: Float[ndarray, " rows"]) -> tuple[int, float]:
    """The row before which the mean error is smallest relative to that after it, and the ratio of the two."""
    count = len(error)
    if count <= 2 * SIDE:
        return 0, 0.0
    places = np.arange(SIDE, count - SIDE + 1)
    sums = np.cumsum(error)
    before, after = sums[places - 1] / places, (sums[-1] - sums[places - 1]) / (count - places)
    ratios = after / np.maximum(before, TINY)
    best = int(ratios.argmax())
    return int(places[best]), float(ratios[best])


def repairs_of(majority: Majority, recording: Recording) -> Judged:
    """What restores the model in each episode that it does not describe."""
    reach = int(min(LONGEST, np.median(recording.lengths) // 6))
    able = np.flatnonzero(recording.lengths >= 2 * reach + 6)
    repairs, strange = dict[int, Repair](), dict[int, Strange]()
    parts = np.cumsum(recording.lengths[able]) // BLOCK
    for part in np.unique(parts):
        chosen = able[parts == part]
        block = _Block(majority=majority, some=recording.choose(chosen), reach=reach)
        for at, episode in enumerate(map(int, chosen)):
            plain, ratio = block.ratio(at)
            if float(ratio.max()) < LOOK:
                continue
            found = _best(block, at, plain)
            if found is None:
                strange[episode] = block.strange(at, ratio)
            else:
                repairs[episode] = found
    return Judged(repairs=repairs, strange=strange)


def _best(block: _Block, episode: int, plain: Float[ndarray, " c"]) -> Repair | None:
    """The repair that restores the model best, if any does."""
    gains = dict[Repair, float]()
    for repair in _tried(block.majority, block.reach):
        left, ratio = block.ratio(episode, repair)
        gain = np.log(plain / left)
        if float(gain.max()) >= np.log(SHARP) and float(ratio.max()) <= RESTORED:
            gains[repair] = float(gain.mean())
    if not gains or max(gains.values()) <= 0:
        return None
    best = max(gains, key=lambda repair: gains[repair])
    if best.kind == "state sign":
        signs = [r for r in gains if r.kind == "action sign" and gains[r] >= AS_WELL * gains[best]]
        best = max(signs, key=lambda repair: gains[repair], default=best)
    return best


def _tried(majority: Majority, reach: int) -> Iterator[Repair]:
    for by in range(1, reach + 1):
        yield Repair(kind="shift", by=-by)
        yield Repair(kind="shift", by=by)
    for column in range(len(majority.steps.acting)):
        yield Repair(kind="action sign", by=column)
    for column in range(len(majority.steps.moving)):
        yield Repair(kind="state sign", by=column)
    yield Repair(kind="backwards")
