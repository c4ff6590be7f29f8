"""Tables of text, `.csv` and `.tsv`: a row a step (`text_lines`).

Columns called `action_…` and `state_…` or `obs_…` are the action and the state; others are chosen by `--state` and
`--action`, by name or by number from 0 (`1-6`), text counted too. Episodes end as `ends` tells, by a column such as
`episode` or `done`, else where the column of times starts again. Text that is the same
in all rows of an episode belongs to the episode: an instruction, or an episode column.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import DataError
from ...files import read_start
from ...memory import check_memory
from ...types import Episodes
from ..selection import RANGE, Selection
from .annotations import instructions_of
from .ends import ENDS, NUMBERS, Ends, ends_of
from .format import Format, whole
from .keyed import Entry, Keyed, in_memory
from .keys import listing
from .masked import without_masked
from .text_lines import COMMA, WIDE, number, read_lines

SUFFIXES = (".csv", ".tsv")
ACTION = re.compile(r"(actions?|act|command|cmd)([._\[\s-].*|\d*)", re.IGNORECASE)
STATE = re.compile(r"(observations?(\.state)?|states?|obs)([._\[\s-].*|\d*)", re.IGNORECASE)
TIME = re.compile(r"(timestamps?|time|stamp|t)([_. \[(]+(s|ms|us|ns)(ec)?[)\]]?)?", re.IGNORECASE)
REWARDS = ("reward", "rewards", "next.reward")
# bytes that a field takes as text and as a number
GROWTH = 24


def read_selected(path: Path, selection: Selection) -> tuple[Episodes, Selection]:
    """Read the chosen columns as state and action.

    Returns:
        The episodes, and the part of the selection that remains to be applied.
    """
    found = read_columns(path)
    columns, ends = found.numbers, _ends(found, path)
    names = list(columns)
    texts = {name: cells for name, cells in found.texts.items() if name not in ends.used}
    constant = by_episode(texts, ends.lengths.tolist())
    attributes = [dict(zip(constant, values, strict=True)) for values in zip(*constant.values(), strict=True)]
    keyed = Keyed(
        source=str(path),
        lengths=ends.lengths,
        entries={name: Entry((), values.dtype, names=(name,)) for name, values in columns.items()},
        load=in_memory(columns),
        action=actions_in(names),
        state=states_in(names),
        roles=roles_in(names),
        used=ends.used,
        by_episode=constant,
        tasks=instructions_of([{name.lower(): text for name, text in one.items()} for one in attributes], {}),
        left_out=[f"{name} (text)" for name in texts if name not in constant],
        notes=[*found.notes, *ends.notes],
        hint=" ".join(found.notes),
    )
    chosen = by_number(selection, found.names)
    return without_masked(keyed).episodes(chosen), replace(selection, state=None, action=None)


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


@dataclass(frozen=True, kw_only=True)
class Columns:
    """The columns of a table.

    Attributes:
        names: Names of all columns, in the order of the file.
        numbers: Columns of numbers by name.
        texts: Columns of text by name.
        notes: Sentences on the names.
    """

    names: list[str]
    numbers: dict[str, NDArray[Any]]
    texts: dict[str, list[str]]
    notes: list[str]

    @property
    def rows(self) -> int:
        """Number of rows."""
        return len(next(iter((*self.numbers.values(), *self.texts.values())), ()))


def read_columns(path: Path) -> Columns:
    """The columns of a file.

    Raises:
        DataError: The file holds no rows, or its rows differ in width.
    """
    check_memory(GROWTH * path.stat().st_size, str(path))
    lines = read_lines(path)
    found = Columns(names=lines.names, numbers={}, texts={}, notes=lines.notes)
    for name, cells in zip(lines.names, zip(*lines.rows, strict=True), strict=True):
        values = [number(cell) for cell in cells]
        if not any(value is None for value in values):
            found.numbers[name] = np.array(values, dtype=np.float64)
            continue
        if ACTION.fullmatch(name) or STATE.fullmatch(name):
            _check_cells(cells, name, path, commas=lines.commas)
        found.texts[name] = list(cells)
    return found


def _check_cells(cells: Sequence[str], name: str, path: Path, *, commas: bool) -> None:
    """Refuse a column of the state or the action in which text stands among numbers.

    Raises:
        DataError: At least half of the cells are numbers, with a decimal point or comma.
    """
    odd = [row for row, cell in enumerate(cells) if number(cell) is None]
    with_comma = [row for row in odd if COMMA.fullmatch(cells[row])]
    if commas and 2 * len(with_comma) > len(cells):
        raise DataError(
            f"{path}: column {name} holds {cells[with_comma[0]]!r:.40} in row {with_comma[0]}. Write decimal points in "
            "the place of decimal commas, or separate the columns by semicolons."
        )
    if 2 * len(odd) <= len(cells):
        units = " If that row holds units, remove it." if odd == [0] else ""
        raise DataError(
            f"{path}: column {name} holds {cells[odd[0]]!r:.40} in row {odd[0]}, and text in {len(odd)} of its "
            f"{len(cells)} rows. Write numbers there, with a decimal point, or leave the column out with --state or "
            f"--action.{units}"
        )


def _ends(found: Columns, path: Path) -> Ends:
    """The lengths of the episodes by a column of flags, numbers or names, else where the times start again."""
    columns, rows = found.numbers, found.rows
    usual = {name.lower(): name for name in (*columns, *found.texts)}
    named = {lower: name for lower, name in usual.items() if lower in ENDS and name in columns}
    # names of episodes, such as ep_0, as numbers
    labels = {lower: name for lower, name in usual.items() if lower in NUMBERS and name in found.texts}
    if named or labels:
        values = {lower: columns[name] for lower, name in named.items()}
        values |= {lower: np.unique(found.texts[name], return_inverse=True)[1] for lower, name in labels.items()}
        ends = ends_of(values, rows, str(path))
        return replace(ends, used=tuple(usual[lower] for lower in ends.used))
    clock = next((name for name in columns if TIME.fullmatch(name)), None)
    again = np.flatnonzero(np.diff(columns[clock]) < 0) + 1 if clock else np.empty(0, np.int64)
    lengths = np.diff(np.concatenate([[0], again, [rows]])).astype(np.int64)
    where = f"{clock} starts again at row {', '.join(map(str, again[:8]))}" if len(again) else "no column ends episodes"
    count = f"{len(lengths)} episodes" if len(lengths) > 1 else "one episode"
    return Ends(lengths, (), (f"{where}: the {rows} rows are read as {count} (columns: {listing(columns, 16)}).",))


def by_episode(texts: Mapping[str, Sequence[str]], lengths: Sequence[int]) -> dict[str, list[str]]:
    """The columns of text that are the same in all rows of each episode, with one text an episode."""
    ends = np.cumsum(lengths).tolist()
    spans = [slice(end - count, end) for count, end in zip(lengths, ends, strict=True)]
    found = dict[str, list[str]]()
    for name, cells in texts.items():
        kinds = [dict.fromkeys(cells[span]) for span in spans]
        if all(len(kind) == 1 for kind in kinds):
            found[name] = [next(iter(kind)) for kind in kinds]
    return found


def _recognises(path: Path) -> bool:
    if not path.is_file() or path.suffix.lower() not in SUFFIXES:
        return False
    start = read_start(path, most=1024)
    return start.startswith(WIDE) or b"\0" not in start


FORMAT = Format(
    name="csv",
    example=".csv",
    recognises=_recognises,
    read=whole(read_selected),
    write=None,
    read_selected=read_selected,
)
