"""Tables of results: columns are declared once and shown on the page and, the important ones, in the terminal."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from ...report import Cell, Table
from .words import interval, ratio

Row: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True)
class Column:
    """One column of a table: its heading, and the content of a row's cell; the terminal may omit it."""

    name: str
    show: Callable[[Row], Cell]
    page_only: bool = False


def column(name: str, key: str, form: str = "", *, page_only: bool = False) -> Column:
    """A column of plain values, formatted by `form`; missing values and `None` show as a dash.

    >>> column("σ", "sigma", "g").show({"sigma": 0.10})
    '0.1'
    """
    return Column(name, lambda row: None if row.get(key) is None else format(row[key], form), page_only)


def estimate(name: str, key: str, *, percent: bool = False, page_only: bool = False) -> Column:
    """A column of values with their intervals, from the row's `key`, `key_low` and `key_high`."""
    return Column(name, lambda row: interval(row, key, percent=percent) if key in row else None, page_only)


def computed(name: str, show: Callable[[Row], Cell], *, page_only: bool = False) -> Column:
    """A column whose cells a function of the row computes."""
    return Column(name, show, page_only)


def difference_columns() -> tuple[Column, ...]:
    """Columns of a paired comparison of score (difference) and distance (ratio) with their intervals."""
    return (
        computed("score", lambda row: f"{row['score_difference']:+.3f}"),
        computed(
            "95 % interval", lambda row: f"[{row['score_difference_low']:+.3f}, {row['score_difference_high']:+.3f}]"
        ),
        computed("distance", lambda row: f"× {ratio(row['distance_ratio'])}"),
        computed(
            "95 % interval ", lambda row: f"[{ratio(row['distance_ratio_low'])}, {ratio(row['distance_ratio_high'])}]"
        ),
    )


@dataclass(frozen=True)
class ResultTable:
    """A table of a study, with a caption on how to read it; the terminal may omit it."""

    heading: str
    columns: Sequence[Column]
    rows: Sequence[Row]
    caption: str = ""
    page_only: bool = False

    def on_page(self) -> Table:
        """The table as a section of a page."""
        cells = [[column.show(row) for column in self.columns] for row in self.rows]
        return Table(self.heading, [column.name for column in self.columns], cells, self.caption)

    def in_terminal(self) -> tuple[list[str], list[list[str]]]:
        """Headings and cells of the columns that a terminal has room for."""
        shown = [column for column in self.columns if not column.page_only]
        cells = [["" if (cell := column.show(row)) is None else str(cell) for column in shown] for row in self.rows]
        return [column.name for column in shown], cells
