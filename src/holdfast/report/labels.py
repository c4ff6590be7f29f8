# matplotlib's stubs leave keyword arguments without a type.
# pyright: reportUnknownMemberType=false
"""Text in figures: titles, and names at the ends of lines instead of a legend."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, LogLocator, NullLocator, StrMethodFormatter

from .palette import INK, MUTED, wrapped

# Width of a name [inches].
_LABEL = 2.0


@dataclass(frozen=True)
class End:
    """The right end of a line.

    Attributes:
        y: Height of the end, in the axes' own units.
        colour: Colour of the connector between line and name.
        x: Position of the end, if not the common one.
        ink: Colour of the text. Default: that of the connector.
    """

    text: str
    y: float
    colour: str
    x: float | None = None
    ink: str | None = None


def headline(axes: Axes, title: str, subtitle: str, *, points: float = 11.5, inches: float = 9.0) -> None:
    """A bold title above the axes and a subtitle below it; the title breaks at a width [inches]."""
    place: dict[str, Any] = {"xycoords": "axes fraction", "textcoords": "offset points", "va": "bottom"}
    axes.annotate(subtitle, (0, 1), (0, 7), fontsize=0.75 * points, color=MUTED, **place)
    bold = wrapped(title, inches, 1.08 * points)
    axes.annotate(bold, (0, 1), (0, 10 + points), fontsize=points, fontweight="bold", color=INK, **place)


def legend_below(figure: Figure, handles: Sequence[Line2D], *, columns: int) -> None:
    """A legend without a frame at the foot of a figure."""
    look: dict[str, Any] = {"frameon": False, "fontsize": 8.5, "labelcolor": MUTED, "handlelength": 1.8}
    place = (0.5, 0.005)
    figure.legend(handles=handles, loc="lower center", bbox_to_anchor=place, ncols=columns, columnspacing=1.6, **look)


def plain_ticks(axis: Any, at: Sequence[int] | Sequence[float] | None = None) -> None:
    """Ticks of a logarithmic axis at given values, or at 1 and 3 of each decade, as plain numbers."""
    axis.set_major_locator(LogLocator(subs=(1.0, 3.0), numticks=12) if at is None else FixedLocator(at))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(StrMethodFormatter("{x:g}"))


def spread(wanted: Sequence[float], sizes: Sequence[float], low: float, high: float) -> list[float]:
    """Positions nearest to the wanted ones at which items of these sizes do not overlap, between `low` and `high`.

    Neighbours that would touch are pooled and centred on the mean of their wanted positions, as in isotonic regression.
    If there is not enough room, they are spaced evenly.

    >>> spread([0.5, 0.5, 0.9], [0.1, 0.1, 0.1], low=0.0, high=1.0)
    [0.45, 0.55, 0.9]
    """
    if not wanted:
        return []
    order: list[int] = np.argsort(np.asarray(wanted), kind="stable").tolist()
    gaps = [0.0, *((sizes[i] + sizes[j]) / 2 for i, j in pairwise(order))]
    offsets = np.cumsum(gaps) * min(1.0, (high - low) / max(sum(gaps), 1e-12))
    # with each position lowered by the size of all items below it, "not overlapping" becomes "in order"
    shifted = _in_order([wanted[index] - float(offset) for index, offset in zip(order, offsets, strict=True)])
    limit = high - float(offsets[-1])
    places = [0.0] * len(wanted)
    for index, offset, place in zip(order, offsets, shifted, strict=True):
        places[index] = round(min(max(place, low), limit) + float(offset), 9)
    return places


def _in_order(values: list[float]) -> list[float]:
    """The nearest non-decreasing sequence: pool adjacent violators."""
    pools: list[tuple[float, int]] = []
    for value in values:
        pools.append((value, 1))
        while len(pools) > 1 and pools[-2][0] > pools[-1][0]:
            (last, many), (before, few) = pools.pop(), pools.pop()
            pools.append(((last * many + before * few) / (many + few), many + few))
    return [mean for mean, count in pools for _ in range(count)]


def label_ends(axes: Axes, ends: Sequence[End], *, x: float, points: float = 8.0) -> None:
    """Write each line's name to the right of the axes, near the height of its end."""
    shown = [replace(end, text=_narrow(end.text, points)) for end in ends if np.isfinite(end.y)]
    tall = axes.get_window_extent().height / axes.figure.dpi * 72
    starts = [_fraction(axes, end, x) for end in shown]
    sizes = [1.25 * points * (end.text.count("\n") + 1) / tall for end in shown]
    places = spread([up for _, up in starts], sizes, 0.0, 1.0)
    look: dict[str, Any] = {"transform": axes.transAxes, "fontsize": points, "va": "center", "linespacing": 1.1}
    for end, start, place in zip(shown, starts, places, strict=True):
        _thread(axes, end, start, place)
        axes.text(1.045, place, end.text, color=end.ink or end.colour, **look)


def _narrow(text: str, points: float) -> str:
    return "\n".join(wrapped(line, _LABEL, points) for line in text.split("\n"))


def _thread(axes: Axes, end: End, start: tuple[float, float], place: float) -> None:
    """Thin connector from the end of a line to its name, in fractions of the axes."""
    across, up = [start[0], 1.015, 1.035], [start[1], place, place]
    tie = Line2D(across, up, transform=axes.transAxes, color=end.colour, linewidth=0.6, alpha=0.6, clip_on=False)
    axes.add_artist(tie)


def _fraction(axes: Axes, end: End, x: float) -> tuple[float, float]:
    """End of a line as fractions of the axes' width and height, clipped to the edge."""
    seen = axes.transData.transform((x if end.x is None else end.x, end.y))
    across, up = axes.transAxes.inverted().transform(seen)
    return float(across), min(max(float(up), 0.0), 1.0)
