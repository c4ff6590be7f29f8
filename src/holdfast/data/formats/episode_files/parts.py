"""One file of a folder with a file per episode: its arrays by name, and values that belong to the whole episode."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ....errors import DataError
from ...selection import Selection
from .. import npz, text_table
from ..ends import ENDS, LASTS, ends_of, flag_rows
from ..hdf5_groups.places import Leaf, Place
from ..named_arrays import ACTIONS, NAMES, REST, STATES
from ..stored import LISTS

DIGITS = re.compile(r"\d+")
BESIDE = "observation.environment_state"
ALONE = "Files of a folder are read as one episode each: give that file alone, or write a file per episode."


@dataclass(frozen=True)
class Part:
    """The content of one episode, a file or a group.

    Attributes:
        place: Shapes of its arrays, and its single values as attributes.
        arrays: Its arrays by name.
        notes: Sentences on how it was read.
        names: Names of all columns of a table, in the order of the file.
    """

    place: Place
    arrays: Mapping[str, NDArray[Any]]
    notes: Sequence[str] = ()
    names: Sequence[str] = ()


@dataclass(frozen=True)
class Kind:
    """A kind of episodes: the names by which their arrays are known.

    Attributes:
        actions: The keys of the action by their usual names.
        states: The keys of the state by their usual names.
        roles: Keys of rewards and timestamps.
        chosen: The selection with keys that the kind writes in another way.
        own_names: Whether a key is one coordinate, and its name.
    """

    actions: Callable[[Sequence[str]], list[str]]
    states: Callable[[Sequence[str]], list[str]]
    roles: Callable[[Sequence[str]], dict[str, str]]
    chosen: Callable[[Selection, Sequence[Part]], Selection]
    own_names: bool = False


def stem_of(file: Path) -> str:
    """The name of a file without its numbers."""
    return DIGITS.sub("", file.stem)


def npz_part(file: Path, number: int) -> Part:
    """The content of an npz file, given its number among all.

    Raises:
        DataError: It is broken, or holds several episodes.
    """
    found = npz.load(file)
    if npz.LABEL in found:
        raise DataError(f"{file} is a whole data set that Holdfast wrote. {ALONE}")
    _check_alone(found, file)
    single = {name: values for name, values in found.items() if name in NAMES or _is_single(values)}
    texts = {name: str(values.flat[0]) for name, values in found.items() if name not in single and _is_one_text(values)}
    rows = {name: values for name, values in found.items() if name not in (*single, *texts, *ENDS) or name in LASTS}
    attributes: dict[str, Any] = {name: values.tolist() for name, values in single.items()} | texts
    return Part(_place(file, number, rows, {}, attributes), rows)


def _is_single(values: NDArray[Any]) -> bool:
    return values.size == 1 and not values.ndim


def _is_one_text(values: NDArray[Any]) -> bool:
    """Whether all rows hold the same text."""
    return values.dtype.kind == "U" and values.size > 0 and bool((values == values.flat[0]).all())


def table_part(file: Path, number: int) -> Part:
    """The content of a table of text, given its number among all.

    Raises:
        DataError: It is broken or empty, or holds several episodes.
    """
    found = text_table.read_columns(file)
    columns, count = found.numbers, found.rows
    _check_alone(columns, file)
    _check_clock(columns, file)
    rows = {name: values for name, values in columns.items() if name not in ENDS or name in LASTS}
    same = text_table.by_episode(found.texts, [count])
    leaf = Leaf((count,), np.dtype(object))
    texts = {name: leaf for name in found.texts if name not in same}
    attributes = {name: texts_of[0] for name, texts_of in same.items()}
    return Part(_place(file, number, rows, texts, attributes), rows, found.notes, found.names)


def _place(
    file: Path, number: int, rows: Mapping[str, NDArray[Any]], texts: Mapping[str, Leaf], attributes: Mapping[str, Any]
) -> Place:
    leaves = {name: Leaf(values.shape, values.dtype) for name, values in rows.items()}
    return Place(file, "/", leaves | dict(texts), attributes, number)


def _check_alone(found: Mapping[str, NDArray[Any]], file: Path) -> None:
    """Refuse a file in which lists, numbers or flags end more than one episode.

    A flag that stays set until the end, such as a success that holds, ends nothing more.
    """
    for name in ENDS:
        if name not in found or not found[name].ndim:
            continue
        if name in LASTS:
            flags = flag_rows(found[name], name, str(file)) if len(found[name]) else np.empty(0, bool)
            count = 1 + int((flags[:-1] & ~flags[1:]).sum())
        else:
            rows = max((len(values) for key, values in found.items() if key not in ENDS and values.ndim), default=0)
            count = len(ends_of({name: found[name]}, rows, str(file)).lengths)
        if count > 1:
            raise DataError(f"{file} holds {count} episodes by its {name}. {ALONE}")


def _check_clock(columns: Mapping[str, NDArray[Any]], file: Path) -> None:
    clock = next((name for name in columns if text_table.TIME.fullmatch(name)), None)
    if clock is None or not (again := np.flatnonzero(np.diff(columns[clock]) < 0)).size:
        return
    raise DataError(
        f"{file}: {clock} starts again at row {int(again[0]) + 1}, so it holds several episodes, or its rows are out "
        f"of order. {ALONE}"
    )


def _first(usual: Sequence[str], names: Sequence[str]) -> list[str]:
    return [name for name in usual if name in names][:1]


def _npz_states(names: Sequence[str]) -> list[str]:
    found = _first(STATES, names)
    return [*found, BESIDE] if found and BESIDE in names else found


def _npz_roles(names: Sequence[str]) -> dict[str, str]:
    return {role: name for name, role in REST.items() if role in LISTS and name in names}


NPZ = Kind(
    actions=lambda names: _first(ACTIONS, names),
    states=_npz_states,
    roles=_npz_roles,
    chosen=lambda selection, parts: selection,
)
TABLE = Kind(
    actions=text_table.actions_in,
    states=text_table.states_in,
    roles=text_table.roles_in,
    chosen=lambda selection, parts: text_table.by_number(selection, parts[0].names),
    own_names=True,
)
