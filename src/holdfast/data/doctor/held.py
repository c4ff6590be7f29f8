"""Held samples: observations that are read at a fraction of the recording rate and repeated in between.

The steps from one change of a coordinate to the next are its gaps. A coordinate is held for k steps in an episode if
k ≥ 2 is its most frequent gap and 0.95 of the gaps are multiples of k, or k + 1 where the rates have no whole ratio.
A quantized sensor in slow motion repeats values too, but its changes are few multiples of its resolution.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from ..choosing import dropping
from .columns import goals
from .findings import DataFinding, counted, listed, warning
from .recording import Quantity, Recording

LONGEST = 15
"""Largest number of steps for which a sample is held; what changes more rarely is a goal."""
FEWEST, REGULAR, QUICK = 6, 0.95, 0.02
"""Fewest gaps of an episode, the smallest share of regular ones, and the largest of single steps."""
VARIED, DIGITS = 8, 4
"""Fewest sizes of changes, to this number of digits of the largest one. A sensor so coarse that motion does not change
it at every step has fewer."""
MOST = 0.5
LEAST = 0.05
"""Smallest share of the episodes in which a single coordinate is held: few changes are regular by chance."""


@dataclass(frozen=True, kw_only=True)
class Held:
    """Coordinates of the observation that are held.

    Attributes:
        factors: Steps for which a sample is held, by coordinate and episode; 0 where it is not, −1 where it rests.
        labels: The coordinates that are held in an episode or more.
        actions: Whether the actions are held alike, so that whole rows are repeated.
        moving: Number of coordinates that move.
    """

    factors: Int[ndarray, "d episodes"]
    labels: tuple[str, ...]
    actions: bool
    moving: int

    @property
    def episodes(self) -> Bool[ndarray, " episodes"]:
        """Episodes in which a coordinate is held."""
        return np.any(self.factors > 0, axis=0)

    @property
    def some(self) -> bool:
        """Whether other episodes have the same coordinates at the full rate."""
        return bool((self.factors == 0).any(axis=0).sum() > (1 - MOST) * self.factors.shape[1])

    @property
    def all_columns(self) -> bool:
        """Whether no moving coordinate is read at the full rate."""
        return len(self.labels) == self.moving


def held_of(recording: Recording) -> Held | None:
    """Coordinates of state and observation that are held; `None` if there are none."""
    labels, factors = list[str](), list[ndarray]()
    for item in recording.quantities[1:]:
        still = goals(item.values.astype(np.float64), recording)
        for index in np.flatnonzero(~still):
            labels.append(item.labels[index])
            factors.append(_factors(item, int(index), recording))
    if not factors:
        return None
    table = _beyond_chance(np.stack(factors))
    own, columns = np.any(table > 0, axis=0), np.flatnonzero(np.any(table > 0, axis=1))
    if not len(columns):
        return None
    acted = [_factors(recording.actions, index, recording) for index in range(len(recording.actions.labels))]
    return Held(
        factors=table[columns],
        labels=tuple(labels[index] for index in columns.tolist()),
        actions=bool(acted) and all((a[own] == table.max(axis=0)[own]).mean() > MOST for a in acted),
        moving=int((table >= 0).any(axis=1).sum()),
    )


def _beyond_chance(table: Int[ndarray, "d episodes"]) -> Int[ndarray, "d episodes"]:
    """The factors of episodes in which most coordinates are held, and of coordinates that are held in several."""
    positive, able = table > 0, table >= 0
    most = positive.sum(axis=0) > MOST * able.sum(axis=0)
    several = positive.sum(axis=1) >= np.maximum(2, LEAST * able.sum(axis=1))
    return np.where(positive & ~(most[None] | several[:, None]), 0, table)


def _factors(item: Quantity, index: int, recording: Recording) -> Int[ndarray, " episodes"]:
    """Steps for which each episode holds a coordinate: 0 if it does not, −1 where it moves too little to tell."""
    values, count = item.column(index), len(recording.lengths)
    change = np.diff(values)
    rows = np.flatnonzero((change != 0) & recording.pairs()) + 1
    gaps, owner = np.diff(rows), recording.owner[rows]
    inside = owner[1:] == owner[:-1]
    gaps, owner = np.minimum(gaps[inside], LONGEST + 1), owner[1:][inside]
    width = LONGEST + 2
    table = np.bincount(owner * width + gaps, minlength=count * width).reshape(count, width)
    total = table.sum(axis=1)
    found = np.where(total >= FEWEST, 0, -1)
    usual = table[:, : LONGEST + 1].argmax(axis=1)
    for k in set(usual[(total >= FEWEST) & (usual > 1)].tolist()):
        multiples = table[:, k::k].sum(axis=1) + (table[:, k + 1] if k + 1 <= LONGEST and k > 2 else 0)
        # gaps beyond the longest are pauses
        beyond = 0 if (LONGEST + 1) % k == 0 else table[:, LONGEST + 1]
        regular = (multiples + beyond >= REGULAR * total) & (table[:, 1] <= QUICK * total)
        found[(usual == k) & (total >= FEWEST) & regular & (2 * table[:, k] >= total)] = k
    if (found > 0).any() and not _varied(change[rows - 1]):
        found[found > 0] = 0
    return found


def _varied(changes: Float[ndarray, " k"]) -> bool:
    """Whether changes have many sizes, unlike those of a quantized sensor or of a counter."""
    sizes = (np.abs(changes) * (10**DIGITS / float(np.abs(changes).max()))).round().astype(np.int64)
    return len(set(sizes.tolist())) >= VARIED


def check_held(held: Held | None, recording: Recording) -> Iterator[DataFinding]:
    """Observations that are recorded at a fraction of the rate."""
    if held is None:
        return
    positive = held.factors[held.factors > 0]
    factor = int(np.bincount(positive).argmax())
    numbers = recording.episodes[held.episodes].tolist()
    able = (held.factors >= 0).any(axis=0)
    everywhere = bool((held.episodes == able).all())
    where = "in all episodes" if everywhere else f"in {len(numbers)} of {int(able.sum())} episodes ({listed(numbers)})"
    which = "all moving coordinates" if held.all_columns else listed(held.labels)
    rows = " The actions are repeated alike." if held.actions else ""
    others = sorted({int(k) for k in positive} - {factor})
    more = f" (in some of them for {listed(others)})" if others else ""
    yield warning(
        "held",
        f"Samples of the observation are held for {counted(factor, 'step')}{more} {where}: {which}. Their values are "
        f"read at 1/{factor} of the recording rate and repeated in between.{rows}",
        effect=f"The policy sees observations that are up to {counted(factor - 1, 'step')} old, and learns several "
        "actions for one observation. Velocities from neighboring observations are zero or too large.",
        remedy=_remedy(held, factor, numbers, everywhere),
        values={
            "factor": factor,
            "columns": list(held.labels),
            "episodes": numbers,
            "all_columns": held.all_columns,
            "actions": held.actions,
        },
    )


def _remedy(held: Held, factor: int, numbers: list[int], everywhere: bool) -> str:
    if not everywhere and held.some:
        return f"Leave these episodes out with {dropping(numbers)}, or record them again at the full rate."
    thin = f"keep one row of {factor} when the data set is written, with {factor} times the dt"
    if held.all_columns:
        return f"Record observations at the rate of the steps, or {thin}."
    return f"Record these coordinates at the rate of the steps, or {thin}; or leave them out with --state."
