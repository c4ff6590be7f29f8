"""Arrays as most episodes of an HDF5 file hold them, and the episodes that hold them otherwise."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ...differing import Differing, differing, kind_of
from .places import Leaf, Place


@dataclass(frozen=True, kw_only=True)
class Held:
    """An array as most of the episodes that have it hold it.

    Attributes:
        leaf: Its shape and dtype in the first of these episodes.
        ahead: Whether they hold one row more than steps; `None` if its rows are no steps.
        fault: The episodes that hold it otherwise, if there are any.
    """

    leaf: Leaf
    ahead: bool | None
    fault: Differing | None


def usual_keys(places: Sequence[Place]) -> tuple[list[str], list[str]]:
    """Keys that at least half of the episodes have, in the order of the file, and the others.

    Episodes without rows do not count.
    """
    held = [place.leaves for place in places if not place.is_empty]
    counts = Counter(key for leaves in held for key in leaves)
    usual = {key for key in counts if 2 * counts[key] >= len(held)}
    # an episode that lacks an array must not change the order of the others
    first = next((leaves for leaves in held if usual <= leaves.keys()), counts)
    return [key for key in first if key in usual], sorted(set(counts) - usual)


def held_of(places: Sequence[Place], key: str, steps: Sequence[int]) -> Held:
    """An array as most episodes hold it, compared with their numbers of actions."""
    compared = [not place.is_empty_of(count) for place, count in zip(places, steps, strict=True)]
    found = fault_of(places, key, [count if used else None for count, used in zip(steps, compared, strict=True)])
    having = [place for place, used in zip(places, compared, strict=True) if used and key in place.leaves]
    alike = having if found is None else [place for place in having if place.number in found.alike]
    leaf = next(place.leaves[key] for place in [*alike, *places] if key in place.leaves)
    counts = {place.number: count for place, count in zip(places, steps, strict=True)}
    extra = {_extra(place.leaves[key], counts[place.number]) for place in alike}
    ahead = next(iter(extra)) == 1 if extra in ({0}, {1}) else None
    return Held(leaf=leaf, ahead=ahead, fault=None if ahead is None else found)


def fault_of(places: Sequence[Place], key: str, steps: Sequence[int | None] | None = None) -> Differing | None:
    """The episodes that hold an array otherwise than most of those that have it; `None` if there are none.

    Args:
        places: All episodes; those without rows are not compared.
        key: Path of the array.
        steps: Number of actions of each episode, with which rows are compared; `None` for one that is not compared.
    """
    kinds = list[str | None]()
    for number, place in enumerate(places):
        leaf = place.leaves.get(key)
        count = None if steps is None else steps[number]
        empty = place.is_empty or (steps is not None and count is None)
        shape, dtype = (None, None) if leaf is None else (leaf.shape, leaf.dtype)
        kinds.append(None if empty else kind_of(shape, dtype, count))
    return differing(key, kinds, [place.name for place in places], [place.number for place in places])


def exchanged_in(places: Sequence[Place], key: str) -> str:
    """A sentence on an array of which the second axis differs from episode to episode, and not the first, as time does.

    >>> import numpy as np
    >>> from pathlib import Path
    >>> leaves = [{"actions": Leaf((2, steps), np.dtype(float))} for steps in (30, 25)]
    >>> exchanged_in([Place(Path("a.h5"), f"/demo_{n}", one, {}) for n, one in enumerate(leaves)], "actions")[:67]
    'actions is [2, 30] in demo_0 and [2, 25] in demo_1, so its rows and'
    """
    shapes = {place.name: place.leaves[key].shape for place in places if key in place.leaves and not place.is_empty}
    table = all(len(shape) == 2 for shape in shapes.values())
    if not table or len({shape[0] for shape in shapes.values()}) > 1 or len({*shapes.values()}) < 2:
        return ""
    if any(shape[0] >= shape[1] for shape in shapes.values()):
        return ""
    first, *rest = shapes
    other = next(name for name in rest if shapes[name] != shapes[first])
    return (
        f"{key} is {list(shapes[first])} in {first} and {list(shapes[other])} in {other}, so its rows and columns seem "
        "to be exchanged. Expected a row for each step: save the transposes."
    )


def unfit_of(places: Sequence[Place], steps: Sequence[int], held: Mapping[str, Held]) -> dict[str, str]:
    """Why an array can be neither state nor action: a sentence for each whose rows are not the steps."""
    found = dict[str, str]()
    for key in (key for key, one in held.items() if one.ahead is None):
        place, count = next((p, n) for p, n in zip(places, steps, strict=True) if key in p.leaves)
        leaf = place.leaves[key]
        if leaf.dtype.kind not in "fiub":
            found[key] = f"{key} holds text or other things than numbers, first in {place.name}."
        else:
            found[key] = (
                f"{key} has the shape {list(leaf.shape)} in {place.name}, which has {count} actions. Expected one row "
                "per action, or one more for the observation after the last action."
            )
    return found


def _extra(leaf: Leaf, steps: int) -> int | None:
    return leaf.shape[0] - steps if leaf.shape and leaf.dtype.kind in "fiub" else None
