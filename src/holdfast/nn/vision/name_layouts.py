"""Names of weights in the files of other libraries, mapped to those of a tower and checked.

A layout states how a tower's own names are written in files. Of all layouts and prefixes (`vision_model.`,
`module.convnet.`), the one is taken of which most names are in the file.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from ...errors import DataError

SHOWN = 3
"""Largest number of names of a kind in a message."""


@dataclass(frozen=True)
class NameLayout:
    """How weights are named in files.

    Attributes:
        name: Name of the layout, for messages.
        renames: Regular expressions of a tower's own names and their replacements, all of which are applied in order.
        prefixes: What may stand before all names.
        ignored: Regular expression of names that a file may hold beside: heads of other tasks, counters.
    """

    name: str
    renames: tuple[tuple[str, str], ...] = ()
    prefixes: tuple[str, ...] = ("",)
    ignored: str = "$^"

    def written(self, own: str) -> str:
        """A tower's own name as it stands in files, without the prefix."""
        for pattern, replacement in self.renames:
            own = re.sub(pattern, replacement, own)
        return own


def matched(
    stored: Mapping[str, Tensor], shapes: Mapping[str, tuple[int, ...]], layouts: Sequence[NameLayout], *, file: str
) -> dict[str, Tensor]:
    """The weights of a file under a tower's own names.

    Args:
        stored: Weights by their names in the file.
        shapes: Shape of each weight of the tower; −1 stands for any size. Axes of size 1 may stand before it.
        layouts: Layouts in which the file may be.
        file: Name of the file, for messages.

    Raises:
        DataError: Names are missing or not expected, or shapes differ; the message counts all and names the first ones.
    """
    layout, prefix = _nearest(stored, shapes, layouts)
    names = {own: prefix + layout.written(own) for own in shapes}
    missing = [theirs for theirs in names.values() if theirs not in stored]
    known = set(names.values())
    extra = [name for name in stored if name.startswith(prefix) and name not in known]
    extra = [name for name in extra if not re.search(layout.ignored, name.removeprefix(prefix))]
    wrong = [
        f"{theirs} {list(stored[theirs].shape)} instead of {list(shapes[own])}"
        for own, theirs in names.items()
        if theirs in stored and not _fits(tuple(stored[theirs].shape), shapes[own])
    ]
    if missing or extra or wrong:
        parts = (("missing", missing), ("not expected", extra), ("of another shape", wrong))
        said = "; ".join(f"{len(found)} {kind}: {_listed(found)}" for kind, found in parts if found)
        raise DataError(
            f"{file} does not hold the weights of {layout.name}. Of {len(shapes)} weights, {said}. Give a file of this "
            "layout, or the --encoder whose weights it holds."
        )
    return {own: stored[theirs].reshape(stored[theirs].shape[-len(shapes[own]) :]) for own, theirs in names.items()}


def _nearest(
    stored: Mapping[str, Tensor], shapes: Mapping[str, tuple[int, ...]], layouts: Sequence[NameLayout]
) -> tuple[NameLayout, str]:
    """The layout and prefix of which most names are in the file."""
    tried = [(layout, prefix) for layout in layouts for prefix in layout.prefixes]
    return max(tried, key=lambda one: sum(one[1] + one[0].written(own) in stored for own in shapes))


def found_in(stored: Mapping[str, Tensor], own: Sequence[str], layouts: Sequence[NameLayout]) -> dict[str, Tensor]:
    """Those of some weights that a file holds, by a tower's own names, to read sizes from their shapes."""
    layout, prefix = _nearest(stored, dict.fromkeys(own, ()), layouts)
    names = {name: prefix + layout.written(name) for name in own}
    return {name: stored[theirs] for name, theirs in names.items() if theirs in stored}


def _fits(found: tuple[int, ...], expected: tuple[int, ...]) -> bool:
    spare = len(found) - len(expected)
    if spare < 0 or any(size != 1 for size in found[:spare]):
        return False
    return all(wanted in (-1, size) for size, wanted in zip(found[spare:], expected, strict=True))


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(f"{name:.120}" for name in names[:SHOWN]) + more
