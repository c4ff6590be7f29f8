"""Tables of text, `.csv` and `.tsv`: a row a step, columns separated by commas, semicolons, tabs or blanks.

The first line may hold the names of the columns, after a `#` or not. Columns called `action_…` and `state_…` or `obs_…`
are the action and the state; others are chosen by `--state` and `--action`, by name or by number from 0 (`1-6`).
Episodes end as `ends` tells, by a column such as `episode` or `done`, else where the column of times starts again.
"""

import csv
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import DataError
from ...files import read_start, read_text
from ...memory import check_memory
from ...types import Episodes
from ..selection import RANGE, Selection
from .ends import ENDS, Ends, ends_of
from .format import Format
from .keyed import Entry, Keyed, in_memory
from .keys import listing
from .masked import without_masked

SUFFIXES = (".csv", ".tsv")
SEPARATORS = (",", ";", "\t")
ACTION = re.compile(r"(actions?|act|command|cmd)([._\[\s-].*|\d*)", re.IGNORECASE)
STATE = re.compile(r"(observations?(\.state)?|states?|obs)([._\[\s-].*|\d*)", re.IGNORECASE)
TIME = re.compile(r"(timestamps?|time|stamp|t)([_. \[(]+(s|ms|us|ns)(ec)?[)\]]?)?", re.IGNORECASE)
REWARDS = ("reward", "rewards", "next.reward")
# bytes that a field takes as text and as a number
GROWTH = 24
TRUE, FALSE = ("true", "yes"), ("false", "no")
MISSING = ("", "n/a", "na", "null", "none", "-")
"""Cells that hold no number, where a column holds numbers."""


def read(path: Path) -> Episodes:
    """Read a table whose columns have usual names."""
    return read_selected(path, Selection())[0]


def read_selected(path: Path, selection: Selection) -> tuple[Episodes, Selection]:
    """Read the chosen columns as state and action.

    Returns:
        The episodes, and the part of the selection that remains to be applied.
    """
    columns, texts, notes = read_columns(path)
    rows = len(next(iter(columns.values()))) if columns else 0
    ends = _ends(columns, rows, path)
    names = list(columns)
    keyed = Keyed(
        source=str(path),
        lengths=ends.lengths,
        entries={name: Entry((), values.dtype, names=(name,)) for name, values in columns.items()},
        load=in_memory(columns),
        action=actions_in(names),
        state=states_in(names),
        roles=roles_in(names),
        used=ends.used,
        left_out=texts,
        notes=[*notes, *ends.notes],
    )
    return without_masked(keyed).episodes(by_number(selection, names)), replace(selection, state=None, action=None)


def actions_in(names: Sequence[str]) -> list[str]:
    """The columns that are named as actions usually are."""
    return [name for name in names if ACTION.fullmatch(name)]


def states_in(names: Sequence[str]) -> list[str]:
    """The columns that are named as states usually are."""
    return [name for name in names if STATE.fullmatch(name)]


def roles_in(names: Sequence[str]) -> dict[str, str]:
    """The columns of times and rewards."""
    clock = next((name for name in names if TIME.fullmatch(name) and name != "t"), None)
    reward = next((name for name in REWARDS if name in names), None)
    return {role: name for role, name in {"timestamps": clock, "rewards": reward}.items() if name is not None}


def by_number(selection: Selection, names: Sequence[str]) -> Selection:
    """The selection with numbers of columns, and ranges of numbers, replaced by the names of the columns."""
    return replace(selection, state=_by_number(selection.state, names), action=_by_number(selection.action, names))


def _by_number(wanted: Sequence[str] | None, names: Sequence[str]) -> tuple[str, ...] | None:
    """Keys with numbers and ranges of columns replaced by the names of these columns."""
    if wanted is None:
        return None
    chosen = list[str]()
    for key in wanted:
        match = None if key in names else RANGE.fullmatch(key)
        numbers = range(int(match[1]), int(match[3] or match[1]) + (match[2] != ":")) if match else range(0)
        inside = bool(numbers) and numbers[-1] < len(names)
        chosen += [names[number] for number in numbers] if inside else [key]
    return tuple(chosen)


def read_columns(path: Path) -> tuple[dict[str, NDArray[Any]], list[str], list[str]]:
    """The columns of numbers by name, the names of columns of text, and sentences on the names.

    Raises:
        DataError: The file holds no rows, or its rows differ in width.
    """
    check_memory(GROWTH * path.stat().st_size, str(path))
    lines = [line for line in read_text(path).splitlines() if line.strip()]
    if not lines:
        raise DataError(f"{path} is empty. Expected a line of names and a row for each step.")
    body = [line for line in lines if not line.lstrip().startswith("#")]
    if not body:
        raise DataError(f"{path} holds comments alone. Expected a row for each step.")
    separator = max(SEPARATORS, key=lambda mark: body[-1].count(mark))
    table = [_fields(line, separator) for line in body]
    header = _header(lines, table, separator)
    rows = table[1:] if header is not None and not lines[0].lstrip().startswith("#") else table
    _check_widths(rows, path)
    width, notes = len(rows[0]), list[str]()
    if header is not None and (twice := [name for name in dict.fromkeys(header) if header.count(name) > 1]):
        raise DataError(f"{path}: several columns are called {', '.join(twice)}. Give each column a name of its own.")
    if header is None or len(header) != width:
        if header is not None:
            notes.append(f"the first line has {len(header)} of {width} names, so the columns are called by number.")
        header = [str(number) for number in range(width)]
    values = {name: _numbers([row[place] for row in rows]) for place, name in enumerate(header)}
    for place, name in enumerate(header):
        if values[name] is None and (ACTION.fullmatch(name) or STATE.fullmatch(name)):
            _check_cells([row[place] for row in rows], name, path)
    return (
        {name: column for name, column in values.items() if column is not None},
        [name for name, column in values.items() if column is None],
        notes,
    )


def _check_cells(cells: Sequence[str], name: str, path: Path) -> None:
    """Refuse a column of the state or the action in which text stands among numbers.

    Raises:
        DataError: At least half of the cells are numbers.
    """
    odd = [row for row, cell in enumerate(cells) if _number(cell) is None]
    if 2 * len(odd) <= len(cells):
        raise DataError(
            f"{path}: column {name} holds {cells[odd[0]]!r:.40} in row {odd[0]}, and text in {len(odd)} of its "
            f"{len(cells)} rows. Write numbers there, with a decimal point, or leave the column out with --state or "
            "--action."
        )


def _fields(line: str, separator: str) -> list[str]:
    if separator not in line:
        return line.split()
    return [field.strip() for field in next(csv.reader([line], delimiter=separator))]


def _header(lines: Sequence[str], table: Sequence[Sequence[str]], separator: str) -> list[str] | None:
    """The names in the first line, if it holds names."""
    first = lines[0].lstrip()
    names = _fields(first.lstrip("# "), separator) if first.startswith("#") else list(table[0])
    return None if names and all(_number(name) is not None for name in names) else names


def _check_widths(rows: Sequence[Sequence[str]], path: Path) -> None:
    if not rows:
        raise DataError(f"{path} holds names alone. Expected a row for each step.")
    if other := next((number for number, row in enumerate(rows) if len(row) != len(rows[0])), None):
        raise DataError(
            f"{path}: row {other} has {len(rows[other])} columns, the first has {len(rows[0])}. Was it cut short?"
        )


def _number(text: str) -> float | None:
    if text.lower() in (*TRUE, *FALSE):
        return float(text.lower() in TRUE)
    try:
        return float("nan") if text.lower() in MISSING else float(text)
    except ValueError:
        return None


def _numbers(texts: Sequence[str]) -> NDArray[Any] | None:
    """A column as numbers; `None` if it holds text."""
    found = [_number(text) for text in texts]
    return None if any(value is None for value in found) else np.array(found, dtype=np.float64)


def _ends(columns: Mapping[str, NDArray[Any]], rows: int, path: Path) -> Ends:
    """The lengths of the episodes by a column of flags or numbers, else where the times start again."""
    if any(name in columns for name in ENDS):
        return ends_of(columns, rows, str(path))
    clock = next((name for name in columns if TIME.fullmatch(name)), None)
    again = np.flatnonzero(np.diff(columns[clock]) < 0) + 1 if clock else np.empty(0, np.int64)
    lengths = np.diff(np.concatenate([[0], again, [rows]])).astype(np.int64)
    where = f"{clock} starts again at row {', '.join(map(str, again[:8]))}" if len(again) else "no column ends episodes"
    count = f"{len(lengths)} episodes" if len(lengths) > 1 else "one episode"
    return Ends(lengths, (), (f"{where}: the {rows} rows are read as {count} (columns: {listing(columns, 16)}).",))


def _recognises(path: Path) -> bool:
    return path.is_file() and path.suffix.lower() in SUFFIXES and b"\0" not in read_start(path, most=1024)


FORMAT = Format(
    name="csv",
    example=".csv",
    recognises=_recognises,
    read=read,
    write=None,
    read_selected=read_selected,
)
