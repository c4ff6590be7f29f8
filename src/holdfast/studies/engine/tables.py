"""Tables of results: columns are declared once and shown on the page and, the important ones, in the terminal."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from ...report import Cell, Table


def brackets(low: float, high: float, form: str | Callable[[float], str] = ".2f") -> str:
    """The ends of an interval; infinite ends are those of an estimate without one.

    >>> brackets(0.25, 0.75), brackets(-math.inf, math.inf)
    ('[0.25, 0.75]', '(no interval)')
    """
    if math.isinf(low) and math.isinf(high) and low < high:
        return "(no interval)"
    ends = (form(end) if callable(form) else format(end, form) for end in (low, high))
    return f"[{', '.join(ends)}]"


def interval(row: Mapping[str, Any], name: str, *, percent: bool = False) -> str:
    """A value of a row with its interval.

    >>> interval({"score": 0.5, "score_low": 0.25, "score_high": 0.75}, "score")
    '0.50 [0.25, 0.75]'
    """
    form = ".0%" if percent else ".3g"
    low, mean, high = (row[key] for key in (f"{name}_low", name, f"{name}_high"))
    if not percent and all(abs(value) < 10 for value in (low, mean, high) if math.isfinite(value)):
        form = ".2f" if abs(mean) >= 0.1 else ".3f"
    return f"{mean:{form}} {brackets(low, high, form)}"


def compared(item: Mapping[str, Any]) -> str:
    """A comparison of score and distance in words.

    >>> compared({"score_side": "above", "score_difference": 0.2, "distance_side": "below", "distance_ratio": 0.5})
    'higher score (+0.20), closer to the expert (× 0.50)'
    """
    score = {"above": "higher score", "below": "lower score", "not significant": "no significant difference in score"}
    distance = {
        "above": "farther from the expert",
        "below": "closer to the expert",
        "not significant": "no significant difference in distance",
    }
    return (
        f"{score[item['score_side']]} ({signed(item['score_difference'])}), "
        f"{distance[item['distance_side']]} (× {ratio(item['distance_ratio'])})"
    )


def signed(value: float) -> str:
    """A difference with its sign; small ones with two significant digits.

    >>> signed(0.2), signed(-0.0042)
    ('+0.20', '-0.0042')
    """
    return f"{value:+.2f}" if abs(value) >= 0.01 else f"{value:+.2g}"


def ratio(value: float) -> str:
    """A ratio; in scientific notation beyond a factor of a hundred or a thousand.

    >>> ratio(1.5), ratio(64270.9), ratio(2e-5)
    ('1.50', '6.4e+04', '2.0e-05')
    """
    return f"{value:.2f}" if 0.01 <= value < 1000 else f"{value:.1e}"


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
            "95 % interval", lambda row: brackets(row["score_difference_low"], row["score_difference_high"], "+.3f")
        ),
        computed("distance", lambda row: f"× {ratio(row['distance_ratio'])}"),
        computed("95 % interval ", lambda row: brackets(row["distance_ratio_low"], row["distance_ratio_high"], ratio)),
    )


def seed_difference_columns() -> tuple[Column, ...]:
    """Columns of a paired difference of scores with its interval, and of the seeds in favour."""
    return (
        column("score", "difference", "+.3f"),
        computed("95 % interval", lambda row: brackets(row["difference_low"], row["difference_high"], "+.3f")),
        computed("seeds in favor", lambda row: f"{row['seeds_in_favour']} of {row['seeds']}"),
    )


def with_signs(row: Row) -> str:
    """A difference of scores with its interval, for sentences."""
    return f"{row['difference']:+.3f} {brackets(row['difference_low'], row['difference_high'], '+.3f')}"


@dataclass(frozen=True)
class ResultTable:
    """A table of a study, with a caption on how to read it; the terminal may omit it."""

    heading: str
    columns: Sequence[Column]
    rows: Sequence[Row] = ()
    caption: str = ""
    page_only: bool = False

    def of(self, rows: Sequence[Row]) -> "ResultTable":
        """The table with these rows."""
        return replace(self, rows=rows)

    def on_page(self) -> Table:
        """The table as a section of a page."""
        cells = [[column.show(row) for column in self.columns] for row in self.rows]
        return Table(self.heading, [column.name for column in self.columns], cells, self.caption)

    def in_terminal(self) -> tuple[list[str], list[list[str]]]:
        """Headings and cells of the columns that a terminal has room for."""
        shown = [column for column in self.columns if not column.page_only]
        cells = [["" if (cell := column.show(row)) is None else str(cell) for column in shown] for row in self.rows]
        return [column.name for column in shown], cells
