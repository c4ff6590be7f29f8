"""Cells of tables: formatted numbers with their intervals."""

import math
from collections.abc import Sequence
from html import escape
from typing import TypeAlias

from ..evaluation.intervals import Estimate
from ..printable import in_lines

Cell: TypeAlias = str | int | float | Estimate | None
"""Content of a table's cell; `None` and NaN show as a dash."""


def escaped(text: str) -> str:
    r"""Text as HTML, with control characters and changes of the writing direction as visible escapes.

    >>> escaped("a < b\u202e")
    'a &lt; b\\u202e'
    """
    return escape(in_lines(text))


def is_numeric(column: Sequence[Cell]) -> bool:
    """Whether a column holds numbers only."""
    told = [cell for cell in column if cell is not None]
    return bool(told) and not any(isinstance(cell, (str, bool)) for cell in told)


def best(column: Sequence[Cell], *, highest: bool, lowest: bool) -> float | None:
    """Largest or smallest number of a column; `None` if neither is requested or there is none."""
    values = [number for cell in column if math.isfinite(number := value(cell))]
    if not values or not (highest or lowest):
        return None
    return max(values) if highest else min(values)


def value(cell: Cell) -> float:
    """Number in a cell, NaN if there is none."""
    match cell:
        case Estimate():
            return cell.mean
        case int() | float():
            return float(cell)
        case _:
            return math.nan


def shown(cell: Cell) -> str:
    """A cell as HTML.

    >>> shown(0.3), shown("a < b"), shown(None)
    ('0.3', 'a &lt; b', '–')
    """
    match cell:
        case None:
            return "–"
        case str():
            return escaped(cell)
        case Estimate():
            return f'{_number(cell.mean)}<span class="interval">{_ends(cell)}</span>'
        case float():
            number = _number(cell)
            return number.rstrip("0").rstrip(".") if "." in number and "e" not in number else number
        case _:
            return str(cell)


def _ends(cell: Estimate) -> str:
    """The interval, or the values that are too few for one."""
    if cell.has_interval:
        return f"[{_number(cell.low)}, {_number(cell.high)}]"
    return f"of {', '.join(map(_number, cell.values))}" if cell.values else "no interval"


def _number(number: float) -> str:
    """Three significant digits, and at most three decimals unless the number is tiny.

    >>> [_number(value) for value in (0.89, 1.0874, 12.3, 4321.9, 0.00012345, float("nan"), -math.inf)]
    ['0.890', '1.09', '12.3', '4322', '1.23e-04', '–', '−∞']
    """
    if math.isinf(number):
        return "∞" if number > 0 else "−∞"
    if not math.isfinite(number):
        return "–"
    size = abs(number)
    if 0 < size < 1e-3 or size >= 1e6:
        return f"{number:.2e}"
    decimals = 3 if size < 1 else 2 if size < 10 else 1 if size < 100 else 0
    return f"{number:.{decimals}f}"
