"""Episodes that stand apart from the others: no other check builds on them.

units      columns in another unit                 order      rows out of order
majority   one-step model of most episodes         repairs    what restores it in the others
signs      signs, and rows that run backwards      shifts     groups with different lags
"""

from collections import defaultdict
from collections.abc import Iterator

import numpy as np
from jaxtyping import Bool
from numpy import ndarray

from ..consistency.steps import steps_of
from ..findings import DataFinding
from ..recording import Recording
from .majority import Majority, majority_of
from .order import check_shuffled, shuffled_of
from .repairs import Judged, Repair, repairs_of
from .shifts import check_shifted, groups_of
from .signs import check_backwards, check_sign, check_strange
from .units import Unit, check_units, units_of

__all__ = ["Unit", "check_shuffled", "check_units", "shuffled_of", "units_of", "unlike_of"]

SEVERAL = 2
"""Smallest number of episodes with the same repair."""
STRANGE, FEW, FEWEST = 400.0, 0.15, 12
"""Error of an episode, as a multiple of the usual one, from which on no other check uses it; the largest share of such
episodes, and the smallest number of episodes that tell what is usual."""
HALF = 0.4
"""Share of the episodes from which on either of two groups may be the right one."""


def unlike_of(recording: Recording, dt: float | None) -> tuple[list[DataFinding], Bool[ndarray, " episodes"]]:
    """Findings on episodes that respond to actions unlike most, and whether each episode is one of them."""
    unlike = np.zeros(len(recording.lengths), dtype=bool)
    steps = steps_of(recording)
    majority = None if steps is None else majority_of(steps)
    if majority is None:
        return [], unlike
    judged = repairs_of(majority, recording)
    strange = {e: one for e, one in judged.strange.items() if one.sudden and one.ratio >= STRANGE}
    # many of them are another kind of response, which other checks describe
    if len(recording.lengths) < FEWEST or len(strange) > FEW * len(recording.lengths):
        strange = {}
    unlike[list(strange)] = True
    repairs = _common(judged)
    found = [*_signs(repairs, majority, recording, unlike), *_shifts(repairs, recording, dt, unlike)]
    # where groups of episodes differ, what departs from one group may belong to another
    return [*found, *(() if found else check_strange(strange, recording))], unlike


def _common(judged: Judged) -> dict[Repair, list[int]]:
    """Episodes by their repair, of repairs that several episodes share."""
    found = defaultdict[Repair, list[int]](list)
    for episode, repair in judged.repairs.items():
        found[repair].append(episode)
    return {repair: own for repair, own in found.items() if len(own) >= SEVERAL}


def _signs(
    repairs: dict[Repair, list[int]], majority: Majority, recording: Recording, unlike: Bool[ndarray, " episodes"]
) -> Iterator[DataFinding]:
    # a state's sign is not told: of a vehicle that turns, a model of most episodes is too coarse, and ten of nineteen
    # clean sets seemed to have one with the opposite sign
    for repair, own in repairs.items():
        if repair.kind == "backwards":
            yield from check_backwards(own, recording)
        elif repair.kind == "action sign":
            own = _opposite(repair, own, majority, len(recording.lengths))
            yield from check_sign(majority.steps.actions[repair.by], own, recording)
        else:
            continue
        unlike[own] = True


def _opposite(repair: Repair, own: list[int], majority: Majority, count: int) -> list[int]:
    """Of two groups of about half of the episodes, the one in which a larger action moves its coordinate down."""
    if len(own) < HALF * count:
        return own
    steps = majority.steps
    weights = majority.weights[2 * len(steps.moving) + repair.by]
    main = weights[np.abs(weights).argmax()]
    return own if main > 0 else [e for e in range(count) if e not in own]


def _shifts(
    repairs: dict[Repair, list[int]], recording: Recording, dt: float | None, unlike: Bool[ndarray, " episodes"]
) -> Iterator[DataFinding]:
    shifts = {repair.by: own for repair, own in repairs.items() if repair.kind == "shift"}
    if not shifts:
        return
    gone = {e for own in repairs.values() for e in own} | set(np.flatnonzero(unlike).tolist())
    others = [e for e in range(len(recording.lengths)) if e not in gone]
    groups = groups_of(shifts, others, recording)
    yield from check_shifted(groups, recording, dt)
    unlike[[e for group in groups[1:] for e in group.episodes]] = True
