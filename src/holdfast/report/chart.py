# matplotlib's stubs leave keyword arguments without a type.
# pyright: reportUnknownMemberType=false
"""Curves with bands as values, drawn as a PNG and as an interactive plot on the page.

Chart ──► draw_chart   PNG, for papers
  └─────► figure_of    plotly's JSON, which the page draws in the reader's theme
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes

from ..errors import DataError
from .labels import headline
from .palette import INK, MUTED, new_figure, save, style

HUES = ("#2f86c9", "#e0592f", "#17978b", "#8577dd", "#b07a22", "#cf5b93", "#8a949e")
"""Default colours: distinguishable for colour-blind readers, legible on white and on dark grey."""


@dataclass(frozen=True)
class Series:
    """One curve.

    Attributes:
        name: Name in the legend.
        x: Horizontal positions.
        y: Values; NaN leaves a gap.
        low: Lower ends of the band or the error bars.
        high: Upper ends.
        colour: Colour as `#rrggbb`. Default: one of `HUES` by position.
        dashed: Whether the line is dashed, for references and bounds.
        points: Whether to draw points with error bars, joined by a line, instead of a band.
    """

    name: str
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float] | None = None
    high: Sequence[float] | None = None
    colour: str | None = None
    dashed: bool = False
    points: bool = False


@dataclass(frozen=True)
class Rule:
    """A line across the chart, vertical at an x if `upright`, otherwise horizontal at a y."""

    at: float
    name: str
    upright: bool = False


@dataclass(frozen=True)
class Chart:
    """A plot with axes.

    Attributes:
        heading: Title.
        series: The curves.
        x: Name and unit of the horizontal axis.
        y: Name and unit of the vertical axis.
        caption: How to read it.
        log_x: Whether the horizontal axis is logarithmic; values that are not positive are omitted.
        log_y: The same for the vertical axis.
        rules: Lines across.
    """

    heading: str
    series: Sequence[Series]
    x: str
    y: str
    caption: str = ""
    log_x: bool = False
    log_y: bool = False
    rules: Sequence[Rule] = ()

    def shown(self, series: Series, values: Sequence[float]) -> list[float | None]:
        """Values that the chart can show; `None` for all others."""
        lowest = 0.0 if self.log_y else -math.inf
        return [float(value) if math.isfinite(value) and value > lowest else None for value in values]


def draw_chart(path: Path, chart: Chart) -> Path:
    """Write the chart as PNG."""
    return draw_charts(path, [chart])


def draw_charts(path: Path, charts: Sequence[Chart], *, columns: int = 1) -> Path:
    """Write several charts as one PNG, row by row.

    Raises:
        DataError: There are no charts.
    """
    if not charts:
        raise DataError("expected at least one chart to draw, got none.")
    rows = -(-len(charts) // columns)
    with style():
        figure = new_figure(8.0 * columns, 4.3 * rows)
        for place, chart in enumerate(charts):
            row, column = divmod(place, columns)
            box = ((0.09 + column) / columns, (rows - 1 - row + 0.13) / rows, 0.64 / columns, 0.72 / rows)
            _plot(figure.add_axes(box), chart)
        return save(figure, path)


def _plot(axes: Axes, chart: Chart) -> None:
    axes.set_xscale("log" if chart.log_x else "linear")
    axes.set_yscale("log" if chart.log_y else "linear")
    for place, series in enumerate(chart.series):
        _trace(axes, chart, series, series.colour or HUES[place % len(HUES)])
    for rule in chart.rules:
        (axes.axvline if rule.upright else axes.axhline)(
            rule.at, color=MUTED, linewidth=1.0, linestyle=":", label=rule.name
        )
    axes.set_xlabel(chart.x)
    axes.set_ylabel(chart.y)
    axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1.0), frameon=False, fontsize=8.5, labelcolor=INK)
    headline(axes, chart.heading, "", inches=6.5)


def _trace(axes: Axes, chart: Chart, series: Series, colour: str) -> None:
    x = list(series.x)
    y, low, high = (_gaps(chart, series, values) for values in (series.y, series.low, series.high))
    line = "--" if series.dashed else "-"
    if y is None:
        return
    axes.plot(x, y, line, color=colour, linewidth=1.9, marker="o" if series.points else "", ms=4.5, label=series.name)
    if low is None or high is None:
        return
    if series.points:
        axes.vlines(x, low, high, color=colour, linewidth=1.2)
    else:
        axes.fill_between(x, low, high, color=colour, alpha=0.14, linewidth=0)


def _gaps(chart: Chart, series: Series, values: Sequence[float] | None) -> list[float] | None:
    if values is None:
        return None
    return [math.nan if value is None else value for value in chart.shown(series, values)]


def figure_of(chart: Chart) -> dict[str, Any]:
    """The chart as plotly's `{"data": …, "layout": …}`, without the colours of a theme."""
    traces = list[dict[str, Any]]()
    for place, series in enumerate(chart.series):
        traces += _traces(chart, series, series.colour or HUES[place % len(HUES)])
    axis = {"automargin": True, "zeroline": False}
    layout = {
        "margin": {"l": 60, "r": 20, "t": 20, "b": 56},
        "hovermode": "closest",
        "legend": {"orientation": "h", "yanchor": "bottom", "y": 1.0, "x": 0},
        "xaxis": {**axis, "title": {"text": chart.x}, **_scale(chart.log_x, _across(chart))},
        "yaxis": {**axis, "title": {"text": chart.y}, **_scale(chart.log_y, _upwards(chart))},
        "shapes": [_rule(rule) for rule in chart.rules],
        "annotations": [_label(chart, rule) for rule in chart.rules],
    }
    return {"data": traces, "layout": layout}


def _scale(logarithmic: bool, values: Sequence[float]) -> dict[str, Any]:
    if not logarithmic:
        return {"type": "linear"}
    scale = {"type": "log", "exponentformat": "power"}
    positive = [value for value in values if value > 0]
    decades = math.log10(max(positive) / min(positive)) if positive else 0.0
    # within a decade 1, 2 and 5 may all be missed: there plotly chooses evenly spaced numbers
    if decades < 1:
        return scale
    # otherwise at 1, 2 and 5 of every decade, or at its power of ten alone where there are many
    return {**scale, "dtick": "D2" if decades < _MANY_DECADES else 1}


_MANY_DECADES = 5


def _across(chart: Chart) -> list[float]:
    return [float(value) for series in chart.series for value in series.x]


def _upwards(chart: Chart) -> list[float]:
    columns = [
        values for series in chart.series for values in (series.y, series.low, series.high) if values is not None
    ]
    return [float(value) for values in columns for value in values if math.isfinite(value)]


def _traces(chart: Chart, series: Series, colour: str) -> list[dict[str, Any]]:
    x, y = [float(value) for value in series.x], chart.shown(series, series.y)
    main: dict[str, Any] = {
        "type": "scatter",
        "name": series.name,
        "x": x,
        "y": y,
        "mode": "lines+markers" if series.points else "lines",
        "line": {"color": colour, "width": 2.2, "dash": "dash" if series.dashed else "solid"},
    }
    if series.low is None or series.high is None:
        return [main]
    low, high = chart.shown(series, series.low), chart.shown(series, series.high)
    if series.points:
        return [{**main, "error_y": _error_bars(y, low, high, colour)}]
    return [_band(x, low, high, colour), main]


def _error_bars(
    y: Sequence[float | None], low: Sequence[float | None], high: Sequence[float | None], colour: str
) -> dict[str, Any]:
    return {
        "type": "data",
        "symmetric": False,
        "color": colour,
        "thickness": 1.3,
        "array": [None if a is None or b is None else a - b for a, b in zip(high, y, strict=True)],
        "arrayminus": [None if a is None or b is None else b - a for a, b in zip(low, y, strict=True)],
    }


def _band(x: Sequence[float], low: Sequence[float | None], high: Sequence[float | None], colour: str) -> dict[str, Any]:
    kept = [row for row in zip(x, low, high, strict=True) if row[1] is not None and row[2] is not None]
    return {
        "type": "scatter",
        "x": [row[0] for row in kept] + [row[0] for row in reversed(kept)],
        "y": [row[2] for row in kept] + [row[1] for row in reversed(kept)],
        "fill": "toself",
        "fillcolor": f"{colour}2e",
        "line": {"width": 0},
        "hoverinfo": "skip",
        "showlegend": False,
    }


def _rule(rule: Rule) -> dict[str, Any]:
    across, along = ("x", "y") if rule.upright else ("y", "x")
    return {
        "type": "line",
        f"{across}0": rule.at,
        f"{across}1": rule.at,
        f"{along}ref": "paper",
        f"{along}0": 0,
        f"{along}1": 1,
        "line": {"dash": "dot", "width": 1.2, "color": "#8a949e"},
    }


def _label(chart: Chart, rule: Rule) -> dict[str, Any]:
    # annotations, unlike shapes, are placed on a logarithmic axis by their logarithm
    at = math.log10(rule.at) if (chart.log_x if rule.upright else chart.log_y) else rule.at
    # at the foot of an upright line, where the legend is not
    place = {"x": at, "y": 0.02, "yref": "paper"} if rule.upright else {"y": at, "x": 1, "xref": "paper"}
    return {**place, "text": rule.name, "showarrow": False, "xanchor": "right", "yanchor": "bottom"}
