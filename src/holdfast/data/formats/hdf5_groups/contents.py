"""What HDF5 files hold: the chosen episodes, and the attributes, single values and arrays beside them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ... import hdf5
from ...selection import Selection
from ..annotations import KNOWN
from .places import ACTIONS, Place, attributes_of, groups_of, place_of
from .single import single_value

OBSERVED = ("obs", "observations", "observation")


@dataclass(frozen=True, kw_only=True)
class Found:
    """What files hold.

    Attributes:
        places: The chosen episodes.
        attributes: Attributes and single values of the groups that hold them, in a single file.
        names: Paths of all episodes of a single file.
        beside: Names of the arrays beside the groups of the episodes, in a single file.
    """

    places: list[Place]
    attributes: dict[str, Any]
    names: list[str]
    beside: list[str]


def is_end_to_end(places: Sequence[Place]) -> bool:
    """Whether a file holds the steps of all episodes one after the other, rather than one episode."""
    below = any(key.startswith(OBSERVED[1] + "/") for key in places[0].leaves)
    return len(places) == 1 and places[0].group == "/" and not below


def found_in(files: Sequence[Path], selection: Selection, groups: Sequence[str] | None) -> Found:
    """The chosen episodes, one file open at a time, and what lies beside them."""
    names = tuple(key.split("/")[0].split("*")[0] for key in selection.action or ())
    found, whole, names_of = list[Place](), dict[str, Any](), list[str]()
    beside = list[str]()
    for file in files:
        with hdf5.opened(file) as opened:
            inside = groups or (["/"] if len(files) > 1 else groups_of(opened, (*names, *ACTIONS)))
            found += [place_of(opened, file, group) for group in inside]
            for group in dict.fromkeys(("/", inside[0].rpartition("/")[0] or "/")) if len(files) == 1 else ():
                more, rest = around(opened[group], file) if inside != ["/"] else ({}, [])
                whole |= {**more, **attributes_of(opened[group], str(file))}
                beside += rest
            names_of += inside if len(files) == 1 else []
    found = [replace(place, number=number) for number, place in enumerate(found)]
    if not is_end_to_end(found):
        # those left out need not have the arrays of the others
        found = [found[number] for number in selection.indices(len(found))]
    return Found(places=found, attributes=whole, names=names_of, beside=beside)


def around(group: Any, file: Path) -> tuple[dict[str, Any], list[str]]:
    """Rates and instructions among the arrays directly in a group, and the names of its other arrays."""
    arrays = {name: group[name] for name in hdf5.names(group) if hdf5.is_array(group[name])}
    single = {name: single_value(array, name, file) for name, array in arrays.items()}
    known = {name: value for name, value in single.items() if value is not None and name in KNOWN}
    return known, [f"{group.name.strip('/')}/{name}".lstrip("/") for name in single if name not in known]
