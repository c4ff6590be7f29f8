# matplotlib's stubs leave keyword arguments without a type.
# pyright: reportUnknownMemberType=false
"""The four panels of a sweep: score and distance along demonstrations and noise, and one against the other."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, LogLocator, NullLocator, StrMethodFormatter

from ...evaluation.intervals import Estimate
from ...report.labels import End, headline, label_ends
from ...report.palette import EXPERT, MUTED, REFERENCE
from .figure_findings import distance_finding, noise_finding, score_finding, trade_finding
from .figure_rows import Line, Published, Reference, Row, by_demonstrations, by_sigma

__all__ = ["distance_panel", "noise_panel", "score_panel", "trade_panel"]

_POINTS = 7.5
_INCHES = 5.2


def score_panel(
    axes: Axes, rows: Sequence[Row], references: Sequence[Reference], published: Sequence[Published]
) -> None:
    """(a) Score along the number of demonstrations, one line an arm and σ."""
    lines = by_sigma(rows, {point.sigma for point in published})
    _demo_axis(axes, rows)
    _draw(axes, lines, lambda row: row.n_demos, lambda row: row.score)
    _hollow(axes, lines, [(p.gains, p.sigma, float(p.n_demos), p.score) for p in published])
    _score_axis(axes, rows, references)
    _name(axes, lines, [(r.name, r.score) for r in references], lambda row: row.n_demos, lambda row: row.score)
    headline(axes, score_finding(rows), "(a) score against demonstrations", points=10.5, inches=_INCHES)


def noise_panel(
    axes: Axes, rows: Sequence[Row], references: Sequence[Reference], published: Sequence[Published]
) -> None:
    """(b) Score along σ, one line an arm and number of demonstrations; noise in training only is dashed."""
    lines = by_demonstrations(rows, {float(point.n_demos) for point in published})
    _sigma_axis(axes, rows)
    _draw(axes, lines, lambda row: row.sigma, lambda row: row.score)
    solid = [line for line in lines if not line.dashed]
    _hollow(axes, solid, [(p.gains, float(p.n_demos), p.sigma, p.score) for p in published])
    _score_axis(axes, rows, references)
    _name(axes, lines, [(r.name, r.score) for r in references], lambda row: row.sigma, lambda row: row.score)
    dashes = "; dashed: in training only" if any(line.dashed for line in lines) else ""
    headline(axes, noise_finding(rows), f"(b) score against noise{dashes}", points=10.5, inches=_INCHES)


def distance_panel(
    axes: Axes, rows: Sequence[Row], references: Sequence[Reference], published: Sequence[Published]
) -> None:
    """(c) Distance to the expert along the number of demonstrations; the σ of `published` are preferred, as in (a)."""
    lines = by_sigma(rows, {point.sigma for point in published})
    _demo_axis(axes, rows)
    axes.set_yscale("log")
    _draw(axes, lines, lambda row: row.n_demos, lambda row: row.distance)
    _references(axes, [r.distance for r in references if r.distance > 0])
    _log_axis(axes.yaxis)
    axes.set_ylabel("distance to the expert [SI], median")
    near = [(r.name, r.distance) for r in references if r.distance > 0]
    _name(axes, lines, near, lambda row: row.n_demos, lambda row: row.distance)
    headline(axes, distance_finding(rows), "(c) distance against demonstrations", points=10.5, inches=_INCHES)


def trade_panel(axes: Axes, rows: Sequence[Row], references: Sequence[Reference]) -> None:
    """(d) Score against distance, each setting a dot: a high score is not imitation."""
    axes.set_xscale("log")
    crowd = float(np.clip((60 / len(rows)) ** 0.5, 0.6, 1.0))
    for row in sorted(rows, key=lambda row: -row.n_demos):
        style: dict[str, Any] = {"color": row.arm.colour, "markeredgecolor": "white", "markeredgewidth": 0.6}
        size = crowd * (4.0 + 2.2 * np.log2(max(row.n_demos, 1)) ** 0.7)
        axes.plot([row.distance.mean], [row.score.mean], "o", markersize=size, alpha=0.75, **style)
    _score_axis(axes, rows, references, ruled=False)
    _log_axis(axes.xaxis)
    axes.set_xlabel("distance to the expert [SI], median")
    _landmarks(axes, references)
    headline(
        axes,
        trade_finding(rows, references),
        "(d) one dot a setting; larger: more demonstrations",
        points=10.5,
        inches=_INCHES,
    )


def _draw(axes: Axes, lines: Sequence[Line], x: Callable[[Row], float], y: Callable[[Row], Estimate]) -> None:
    for line in lines:
        across, values = [x(row) for row in line.rows], [y(row) for row in line.rows]
        middle, low, high = ([getattr(v, name) for v in values] for name in ("mean", "low", "high"))
        dashes: Any = (0, (4, 2)) if line.dashed else "-"
        axes.plot(
            across, middle, color=line.colour, linewidth=1.7, linestyle=dashes, marker="o", markersize=3.6, zorder=3
        )
        if len(line.rows) > 1 and not line.dashed:
            axes.fill_between(across, low, high, color=line.colour, alpha=0.10, linewidth=0)
        if len(line.rows) == 1:
            axes.vlines(across, low, high, color=line.colour, linewidth=1.2, alpha=0.7)


def _hollow(axes: Axes, lines: Sequence[Line], points: Sequence[tuple[bool, float, float, float]]) -> None:
    """Published points (gains, key, x, score) whose line is drawn, once each."""
    for gains, key, x, score in points:
        own = [line for line in lines if line.arm.gains == gains and np.isclose(line.key, key)]
        if own:
            face: dict[str, Any] = {
                "markerfacecolor": "white",
                "markeredgecolor": own[0].colour,
                "markeredgewidth": 1.3,
            }
            axes.plot([x], [score], marker="D", markersize=4.6, color="none", zorder=4, **face)


def _name(
    axes: Axes,
    lines: Sequence[Line],
    references: Sequence[tuple[str, float]],
    x: Callable[[Row], float],
    y: Callable[[Row], Estimate],
) -> None:
    solid = {(line.arm, line.key) for line in lines if not line.dashed}
    named = [line for line in lines if not line.dashed or (line.arm, line.key) not in solid]
    ends = [_end(line, x, y) for line in named]
    ends += [End(name, value, MUTED) for name, value in references]
    label_ends(axes, ends, x=axes.get_xlim()[1], points=_POINTS)


def _end(line: Line, x: Callable[[Row], float], y: Callable[[Row], Estimate]) -> End:
    last = line.rows[-1]
    return End(line.name, y(last).mean, line.colour, float(x(last)), line.arm.colour)


def _references(axes: Axes, values: Sequence[float]) -> None:
    for value in values:
        axes.axhline(value, color=REFERENCE, linewidth=1.0, linestyle=(0, (4, 3)), zorder=1.5)


def _score_axis(axes: Axes, rows: Sequence[Row], references: Sequence[Reference], *, ruled: bool = True) -> None:
    if ruled:
        _references(axes, [r.score for r in references])
    tops = [row.score.high for row in rows] + [r.score for r in references]
    axes.set_ylim(-0.03, max(1.1, 1.06 * max((top for top in tops if np.isfinite(top)), default=1.0)))
    axes.set_ylabel("score, expert = 1")


def _demo_axis(axes: Axes, rows: Sequence[Row]) -> None:
    numbers = sorted({row.n_demos for row in rows})
    axes.set_xscale("log")
    axes.set_xlim(numbers[0] / 1.15, numbers[-1] * 1.15)
    axes.xaxis.set_major_locator(FixedLocator(numbers))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.set_xlabel("demonstrations N")


def _sigma_axis(axes: Axes, rows: Sequence[Row]) -> None:
    noises = sorted({row.sigma for row in rows})
    smallest = next((sigma for sigma in noises if sigma > 0), 0.1)
    axes.set_xscale("symlog", linthresh=smallest, linscale=0.5)
    axes.set_xlim(-0.1 * smallest, max(noises[-1], smallest) * 1.12)
    axes.xaxis.set_major_locator(FixedLocator(_legible(noises)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.set_xlabel("noise σ on normalised observations")


def _legible(values: Sequence[float]) -> list[float]:
    """Ascending values without those that would be printed over the one before on a log axis."""
    kept: list[float] = []
    for value in values:
        if not kept or value >= 1.6 * kept[-1]:
            kept.append(value)
    return kept


def _log_axis(axis: Any) -> None:
    axis.set_major_locator(LogLocator(subs=(1.0, 3.0), numticks=12))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(StrMethodFormatter("{x:g}"))


def _landmarks(axes: Axes, references: Sequence[Reference]) -> None:
    """References as diamonds; the expert, whose distance of 0 has no place on a log axis, at the left edge."""
    look: dict[str, Any] = {"markersize": 7, "markeredgecolor": "white", "clip_on": False, "zorder": 5}
    far = [reference for reference in references if reference.distance > 0]
    for reference in far:
        axes.plot([reference.distance], [reference.score], marker="D", color=EXPERT, **look)
    left, right = axes.get_xlim()
    for reference in references:
        if reference.distance <= 0:
            axes.plot([left], [reference.score], marker="<", color=EXPERT, **look)
    axes.set_xlim(left, right)
    ends = [
        End(r.name if r.distance > 0 else f"{r.name}, distance 0", r.score, REFERENCE, max(r.distance, left), MUTED)
        for r in references
    ]
    label_ends(axes, ends, x=right, points=_POINTS)
