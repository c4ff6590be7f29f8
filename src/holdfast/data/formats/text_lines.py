"""Text of a table as names and rows of fields: encoding, separators, comments, decimal commas, the line of names.

Separators are tabs, semicolons, bars or commas, the one that a first line `sep=;` declares, or else blanks. If it is no
comma, numbers may have decimal commas. Names stand in the first line, or in the last comment before it; a first line
0, 1, 2, … is that of a table without names (pandas).
"""

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ...errors import DataError
from ...files import read_bytes

SEPARATORS = ("\t", ";", "|", ",")
DECLARED = re.compile(r'"?sep=([,;|\t])"?', re.IGNORECASE)
NUMERIC = re.compile(r'\s*"?[-+]?[\d.,]*(e[-+]?\d+)?"?\s*', re.IGNORECASE)
COMMA = re.compile(r"[-+]?\d+,\d+(e[-+]?\d+)?", re.IGNORECASE)
WIDE = (b"\xff\xfe", b"\xfe\xff")
"""The first bytes of text in UTF-16, as spreadsheets write it."""
FEWEST = 3
"""Columns from which a first line 0, 1, 2, … is taken for numbers of columns."""
TRUE, FALSE = ("true", "yes"), ("false", "no")
MISSING = ("", "n/a", "na", "null", "none", "-")
"""Cells that hold no number, where a column holds numbers."""


@dataclass(frozen=True, kw_only=True)
class Lines:
    """A table of text.

    Attributes:
        names: Names of the columns, each once.
        rows: Fields of each row, as many as names.
        notes: Sentences on the names.
        commas: Whether commas separate the columns, so that none is a decimal comma.
    """

    names: list[str]
    rows: list[list[str]]
    notes: list[str]
    commas: bool


def number(text: str) -> float | None:
    """A field as a number, NaN where it is missing; `None` if it is text.

    >>> number("2.5e1"), number("true"), number("1_000")
    (25.0, 1.0, None)
    """
    if text.lower() in (*TRUE, *FALSE):
        return float(text.lower() in TRUE)
    try:
        # Python alone reads 1_000 as a number
        return float("nan") if text.lower() in MISSING else float(text) if "_" not in text else None
    except ValueError:
        return None


def read_lines(path: Path) -> Lines:
    """The names and fields of a file.

    Raises:
        DataError: It holds no rows, its rows differ in width, two columns have one name, or it is no text in UTF-8.
    """
    lines = [line for line in re.split(r"\r\n|\r|\n", _text(path)) if line.strip()]
    if not lines:
        raise DataError(f"{path} is empty. Expected a line of names and a row for each step.")
    declared = DECLARED.fullmatch(lines[0].strip())
    lines = lines[1:] if declared else lines
    body = [line for line in lines if not line.lstrip().startswith("#")]
    if not body:
        raise DataError(f"{path} holds comments alone. Expected a row for each step.")
    separator = declared[1] if declared else _separator(body)
    table = _without_last(_fields(body, separator, path))
    header, rows, notes = _header(lines, table, separator, path)
    _check_widths(rows, path)
    if header is not None and len(header) != len(rows[0]):
        notes.append(
            f"the first line has {len(header)} of {len(rows[0])} names, so the columns are called by number."
            + _split_numbers(header, rows, separator)
        )
        header = None
    names = [name or f"unnamed_{place}" for place, name in enumerate(header or map(str, range(len(rows[0]))))]
    if twice := [name for name in dict.fromkeys(names) if names.count(name) > 1]:
        raise DataError(f"{path}: several columns are called {', '.join(twice)}. Give each column a name of its own.")
    commas = separator == ","
    if not commas:
        rows, said = _with_points(rows)
        notes += [said] if said else []
    return Lines(names=names, rows=rows, notes=notes, commas=commas)


def _text(path: Path) -> str:
    raw = read_bytes(path)
    try:
        return raw.decode("utf-16" if raw.startswith(WIDE) else "utf-8-sig")
    except UnicodeDecodeError as reason:
        raise DataError(
            f"{path} is no text in UTF-8 (byte 0x{raw[reason.start]:02x} at position {reason.start}). Save it again "
            "with this encoding; spreadsheets call it CSV UTF-8."
        ) from reason


def _separator(body: Sequence[str]) -> str:
    """The separator of a table; a blank if there is no other.

    A mark that stands equally often in the first and the last line is one, if the first line has no other mark, or the
    last line consists of numbers between these marks, with decimal commas or points.
    """
    # a field with a line end within quotes is more than one line
    first, last = body[0], max(body[-3:], key=lambda line: sum(map(line.count, SEPARATORS)))
    for mark in SEPARATORS:
        alone = not any(other in first for other in SEPARATORS if other != mark)
        numbers = all(NUMERIC.fullmatch(field) for field in last.split(mark))
        if 0 < first.count(mark) == last.count(mark) and (alone or numbers):
            return mark
    most = max(SEPARATORS, key=last.count)
    return most if most in last else " "


def _fields(lines: Sequence[str], separator: str, path: Path) -> list[list[str]]:
    if separator == " ":
        return [line.split() for line in lines]
    # line ends within quotes belong to a field
    found = csv.reader([line + "\n" for line in lines], delimiter=separator, skipinitialspace=True)
    try:
        return [[field.strip() for field in row] for row in found]
    except csv.Error as error:
        raise DataError(
            f"{path} is no table of text ({error}, line {found.line_num}). Is a quotation mark open?"
        ) from error


def _without_last(table: list[list[str]]) -> list[list[str]]:
    """The table without an empty last column, which a separator at the end of each row makes."""
    first, rest = table[0], table[1:]
    empty = rest and len(first) > 1 and all(row[-1] == "" and len(row) == len(rest[0]) for row in rest)
    if not empty or len(first) not in (len(rest[0]), len(rest[0]) - 1):
        return table
    if len(first) == len(rest[0]) and first[-1] != "":
        return table
    return [first[: len(rest[0]) - 1], *(row[:-1] for row in rest)]


def _header(
    lines: Sequence[str], table: list[list[str]], separator: str, path: Path
) -> tuple[list[str] | None, list[list[str]], list[str]]:
    """The names, if the file has any, the rows below them, and sentences."""
    first = table[0]
    counted = [str(place) for place in range(len(first))]
    if len(first) >= FEWEST and len(table) > 1:
        if first == counted:
            return None, table[1:], [f"the first line counts the columns ({', '.join(first[:3])}, …), and is no step."]
        if first[0] == "" and first[1:] == counted[:-1]:
            return None, table[1:], ["the first line counts the columns after that of the index, and is no step."]
    if any(number(name) is None for name in first):
        return first, table[1:], []
    comments = list[str]()
    for line in lines:
        if not line.lstrip().startswith("#"):
            break
        comments.append(line.lstrip().lstrip("# "))
    named = {line: _fields([line], separator, path)[0] for line in comments if line}
    named = {line: names for line, names in named.items() if any(number(name) is None for name in names)}
    fitting = [names for names in named.values() if len(names) == len(first)]
    partial = [names for line, names in named.items() if any(mark in line for mark in SEPARATORS)]
    return next(iter([*fitting[::-1], *partial[::-1]]), None), table, []


def _check_widths(rows: Sequence[Sequence[str]], path: Path) -> None:
    if not rows:
        raise DataError(f"{path} holds names alone. Expected a row for each step.")
    if other := next((place for place, row in enumerate(rows) if len(row) != len(rows[0])), None):
        raise DataError(
            f"{path}: row {other} has {len(rows[other])} columns, the first has {len(rows[0])}. Was it cut short?"
        )


def _split_numbers(header: Sequence[str], rows: Sequence[Sequence[str]], separator: str) -> str:
    """A hint where decimal commas have split numbers in two."""
    points = any("." in field for field in rows[0])
    if separator != "," or points or not len(header) < len(rows[0]) <= 2 * len(header):
        return ""
    return " If its numbers have decimal commas, write decimal points, or separate the columns by semicolons."


def _with_points(rows: list[list[str]]) -> tuple[list[list[str]], str]:
    """The rows with decimal points, and a sentence if they had decimal commas."""
    shown = next((field for row in rows for field in row if COMMA.fullmatch(field)), None)
    points = any("." in field and number(field) is not None for row in rows for field in row)
    if shown is None or points:
        return rows, ""
    changed = [[field.replace(",", ".") if COMMA.fullmatch(field) else field for field in row] for row in rows]
    return changed, f"numbers have decimal commas: {shown} is read as {shown.replace(',', '.')}."
