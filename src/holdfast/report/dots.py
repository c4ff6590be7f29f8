# matplotlib's stubs leave keyword arguments without a type.
# pyright: reportUnknownMemberType=false
"""Dots with intervals, one line per name, in panels that share their lines: many arms at a glance."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.axes import Axes

from ..errors import DataError
from ..evaluation.intervals import Estimate
from .labels import headline, plain_ticks
from .palette import GAINS, INK, MUTED, REFERENCE, new_figure, save, style

_LINE, _HEAD, _FOOT, _GAP, _LEFT = 0.24, 0.95, 0.6, 0.35, 2.2


@dataclass(frozen=True)
class Dot:
    """One measurement.

    Attributes:
        hollow: A second value, shown as a hollow dot.
        mark: Value of others, shown as a bar.
        shift: Vertical offset, in lines, of dots that share a line.
    """

    value: Estimate
    colour: str = GAINS
    hollow: float | None = None
    mark: float | None = None
    shift: float = 0.0


@dataclass(frozen=True)
class DotPanel:
    """One panel.

    Attributes:
        dots: Name of the line → its dots; lines without dots stay empty.
        x: Name and unit of the axis.
        log: Whether the axis is logarithmic.
        limits: Limits of the axis. Default: all values, and as much of the intervals as leaves them legible.
        reference: Value and interval that all lines are compared with.
    """

    title: str
    subtitle: str
    dots: Mapping[str, Sequence[Dot]]
    x: str
    log: bool = False
    limits: tuple[float, float] | None = None
    reference: Estimate | None = None


def draw_dots(path: Path, lines: Sequence[str], panels: Sequence[DotPanel], *, width: float = 3.6) -> Path:
    """Draw panels side by side.

    Raises:
        DataError: There is nothing to draw.
    """
    if not lines or not any(dots for panel in panels for dots in panel.dots.values()):
        raise DataError("expected at least one measurement to draw, got none.")
    wide, tall = _LEFT + (width + _GAP) * len(panels), _HEAD + _FOOT + _LINE * len(lines)
    with style():
        figure = new_figure(wide, tall)
        for place, panel in enumerate(panels):
            left = (_LEFT + place * (width + _GAP)) / wide
            axes = figure.add_axes((left, _FOOT / tall, width / wide, 1 - (_HEAD + _FOOT) / tall))
            _draw(axes, lines, panel)
            if place == 0:
                axes.set_yticks(range(len(lines)), lines)
                axes.tick_params(axis="y", labelcolor=INK, labelsize=8.5)
            else:
                axes.set_yticks([])
            headline(axes, panel.title, panel.subtitle, points=9.5, inches=width)
        return save(figure, path)


def _draw(axes: Axes, lines: Sequence[str], panel: DotPanel) -> None:
    reference = panel.reference
    if reference is not None:
        axes.axvline(reference.mean, color=REFERENCE, linewidth=1.0, linestyle=(0, (4, 3)), zorder=1.5)
        if reference.has_interval:
            axes.axvspan(reference.low, reference.high, color=REFERENCE, alpha=0.12, linewidth=0)
    for line, name in enumerate(lines):
        for dot in panel.dots.get(name, ()):
            _dot(axes, line + dot.shift, dot)
    if panel.log:
        axes.set_xscale("log")
        plain_ticks(axes.xaxis)
    axes.set_xlim(*(panel.limits or _limits(panel)))
    axes.set_ylim(len(lines) - 0.4, -0.6)
    axes.set_xlabel(panel.x)
    axes.grid(axis="y", visible=True, linewidth=0.4, alpha=0.5)


def _dot(axes: Axes, height: float, dot: Dot) -> None:
    if dot.hollow is not None:
        axes.plot([dot.hollow], [height], "o", markerfacecolor="none", markeredgecolor=MUTED, markersize=5.5)
    if dot.mark is not None:
        axes.plot([dot.mark], [height], "|", color=REFERENCE, markersize=11, markeredgewidth=1.8)
    if dot.value.has_interval:
        axes.hlines(height, dot.value.low, dot.value.high, color=dot.colour, linewidth=1.8, alpha=0.7, zorder=3)
    axes.plot([dot.value.mean], [height], "o", color=dot.colour, markersize=5, zorder=4)


def _limits(panel: DotPanel) -> tuple[float, float]:
    means = [dot.value.mean for dots in panel.dots.values() for dot in dots if math.isfinite(dot.value.mean)]
    if panel.log:
        return 0.5 * min(means), 3.0 * max(means)
    return min(-0.05, 1.25 * min(means)), max(1.1, 1.25 * max(means))
