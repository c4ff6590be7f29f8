# matplotlib's stubs leave keyword arguments without a type.
# pyright: reportUnknownMemberType=false
"""Figure of study fig5: Figure 5 of Block et al. 2023 (arXiv 2307.14619) with intervals, distances and references."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ...errors import DataError
from ...report.labels import End, headline, label_ends, plain_ticks
from ...report.palette import EXPERT, MUTED, REFERENCE, new_figure, save, style
from ..engine.tables import Row
from ..quadrotor.labels import ARM_NAMES, arm_colour
from .lines import Line, by_demonstrations, by_sigma, distance_title, noise_title, score_title, trade_title

# Inches: width, height of a band of four panels, of the head above the first one, of the heading of each.
_WIDTH, _BAND, _HEAD, _HEADING = 13.6, 8.95, 0.75, 0.30

# Number of references that are ruled across a panel; more would hide the lines.
_RULED = 4


def draw_fig5(
    path: Path, rows: Sequence[Row], references: Sequence[Row], *, published_points: Sequence[Row] | None = None
) -> Path:
    """Score and distance of cloning with and without gains, over demonstrations and noise, one band per setting.

    Lines carry 95 % intervals. Of more than four values of σ or of N, four are drawn as lines; panel (d) shows all.
    """
    if not rows:
        raise DataError("expected at least one row of a sweep, got none.")
    settings = sorted({row["setting"] for row in rows})
    with style():
        figure = new_figure(_WIDTH, _HEAD + _BAND * len(settings))
        _head(figure, rows, bool(published_points))
        for number, setting in enumerate(settings):
            own = [row for row in rows if row["setting"] == setting]
            _band(figure, number, own, references, published_points or ())
        return save(figure, path)


def _band(
    figure: Figure, number: int, rows: Sequence[Row], references: Sequence[Row], published: Sequence[Row]
) -> None:
    tall = figure.get_figheight()
    top = tall - _HEAD - number * _BAND
    figure.text(
        0.62 / _WIDTH, (top - 0.08) / tall, f"Setting: {rows[0]['setting']}", fontsize=11, color=MUTED, va="top"
    )
    across, down = (0.62 / _WIDTH, 7.42 / _WIDTH), (top - _HEADING - 3.75, top - _HEADING - 3.75 - 4.25)
    panels = [figure.add_axes((left, low / tall, 3.9 / _WIDTH, 3.0 / tall)) for low in down for left in across]
    few = references[:_RULED]
    score_panel(panels[0], rows, few, published)
    noise_panel(panels[1], rows, few, published)
    distance_panel(panels[2], rows, few, published)
    trade_panel(panels[3], rows, references)


def _head(figure: Figure, rows: Sequence[Row], published: bool) -> None:
    """Title and legend."""
    tall = figure.get_figheight()
    title = "Cloning stabilizing gains against cloning raw actions, 2-D quadrotor"
    figure.text(0.62 / _WIDTH, (tall - 0.16) / tall, title, fontsize=15, fontweight="bold", va="top")
    arms = sorted({row["gains"] for row in rows}, key=list(ARM_NAMES).index)
    handles = [Line2D([], [], color=arm_colour(gains), linewidth=4, label=ARM_NAMES[gains]) for gains in arms]
    if published:
        hollow: dict[str, Any] = {"color": "none", "markerfacecolor": "white", "markeredgecolor": MUTED}
        handles.append(Line2D([], [], marker="D", markersize=5, label="read off the published figure", **hollow))
    place = (0.54 / _WIDTH, (tall - 0.40) / tall)
    figure.legend(
        handles=handles, loc="upper left", bbox_to_anchor=place, ncols=len(handles), frameon=False, fontsize=10
    )


_POINTS = 7.5
_LOOK: dict[str, Any] = {"points": 10.5, "inches": 5.2}


def score_panel(axes: Axes, rows: Sequence[Row], references: Sequence[Row], published: Sequence[Row]) -> None:
    """(a) Score over the number of demonstrations, one line per arm and σ."""
    lines = by_sigma(rows, {point["sigma"] for point in published})
    _demo_axis(axes, rows)
    _draw(axes, lines, "n_demos", "score")
    _hollow(axes, lines, published, "sigma", "n_demos")
    _score_axis(axes, rows, references)
    _name(axes, lines, references, "n_demos", "score")
    headline(axes, score_title(rows), "(a) score against demonstrations", **_LOOK)


def noise_panel(axes: Axes, rows: Sequence[Row], references: Sequence[Row], published: Sequence[Row]) -> None:
    """(b) Score over σ, one line per arm and number of demonstrations; noise in training only is dashed."""
    lines = by_demonstrations(rows, {float(point["n_demos"]) for point in published})
    _sigma_axis(axes, rows)
    _draw(axes, lines, "sigma", "score")
    _hollow(axes, [line for line in lines if not line.dashed], published, "n_demos", "sigma")
    _score_axis(axes, rows, references)
    _name(axes, lines, references, "sigma", "score")
    dashes = "; dashed: in training only" if any(line.dashed for line in lines) else ""
    headline(axes, noise_title(rows), f"(b) score against noise{dashes}", **_LOOK)


def distance_panel(axes: Axes, rows: Sequence[Row], references: Sequence[Row], published: Sequence[Row]) -> None:
    """(c) Distance to the expert over the number of demonstrations, with the lines of (a)."""
    lines = by_sigma(rows, {point["sigma"] for point in published})
    far = [reference for reference in references if reference["distance"] > 0]
    _demo_axis(axes, rows)
    axes.set_yscale("log")
    _draw(axes, lines, "n_demos", "distance")
    _rules(axes, [reference["distance"] for reference in far])
    plain_ticks(axes.yaxis)
    axes.set_ylabel("distance to the expert [SI], median")
    _name(axes, lines, far, "n_demos", "distance")
    headline(axes, distance_title(rows), "(c) distance against demonstrations", **_LOOK)


def trade_panel(axes: Axes, rows: Sequence[Row], references: Sequence[Row]) -> None:
    """(d) Score against distance, one dot per row: a high score is not imitation."""
    axes.set_xscale("log")
    crowd = float(np.clip((60 / len(rows)) ** 0.5, 0.6, 1.0))
    for row in sorted(rows, key=lambda row: -row["n_demos"]):
        style: dict[str, Any] = {"color": arm_colour(row["gains"]), "markeredgecolor": "white", "markeredgewidth": 0.6}
        size = crowd * (4.0 + 2.2 * np.log2(max(row["n_demos"], 1)) ** 0.7)
        axes.plot([row["distance"]], [row["score"]], "o", markersize=size, alpha=0.75, **style)
    _score_axis(axes, rows, references, ruled=False)
    plain_ticks(axes.xaxis)
    axes.set_xlabel("distance to the expert [SI], median")
    _landmarks(axes, references)
    headline(axes, trade_title(rows, references), "(d) one dot per setting; larger: more demonstrations", **_LOOK)


def _draw(axes: Axes, lines: Sequence[Line], x: str, y: str) -> None:
    for line in lines:
        across = [row[x] for row in line.rows]
        middle = [row[y] for row in line.rows]
        # an end without an interval is infinite, and is not drawn
        low, high = (
            [end if np.isfinite(end) else np.nan for end in (row[f"{y}{name}"] for row in line.rows)]
            for name in ("_low", "_high")
        )
        dashes: Any = (0, (4, 2)) if line.dashed else "-"
        axes.plot(
            across, middle, color=line.colour, linewidth=1.7, linestyle=dashes, marker="o", markersize=3.6, zorder=3
        )
        if len(line.rows) > 1 and not line.dashed:
            axes.fill_between(across, low, high, color=line.colour, alpha=0.10, linewidth=0)
        if len(line.rows) == 1:
            axes.vlines(across, low, high, color=line.colour, linewidth=1.2, alpha=0.7)


def _hollow(axes: Axes, lines: Sequence[Line], points: Sequence[Row], key: str, x: str) -> None:
    """Published points whose line is drawn, once each."""
    for point in points:
        own = [line for line in lines if (line.gains != "none") == point["gains"] and np.isclose(line.key, point[key])]
        if own:
            face: dict[str, Any] = {"markerfacecolor": "white", "markeredgecolor": own[0].colour}
            look: dict[str, Any] = {"marker": "D", "markersize": 4.6, "markeredgewidth": 1.3, "color": "none"}
            axes.plot([point[x]], [point["score"]], zorder=4, **look, **face)


def _name(axes: Axes, lines: Sequence[Line], references: Sequence[Row], x: str, y: str) -> None:
    solid = {(line.gains, line.key) for line in lines if not line.dashed}
    named = [line for line in lines if not line.dashed or (line.gains, line.key) not in solid]
    ends = [
        End(line.name, line.rows[-1][y], line.colour, float(line.rows[-1][x]), arm_colour(line.gains)) for line in named
    ]
    ends += [End(reference["name"], reference[y], MUTED) for reference in references]
    label_ends(axes, ends, x=axes.get_xlim()[1], points=_POINTS)


def _rules(axes: Axes, values: Sequence[float]) -> None:
    for value in values:
        axes.axhline(value, color=REFERENCE, linewidth=1.0, linestyle=(0, (4, 3)), zorder=1.5)


def _score_axis(axes: Axes, rows: Sequence[Row], references: Sequence[Row], *, ruled: bool = True) -> None:
    scores = [reference["score"] for reference in references]
    if ruled:
        _rules(axes, scores)
    tops = [row["score_high"] for row in rows] + scores
    axes.set_ylim(-0.03, max(1.1, 1.06 * max((top for top in tops if np.isfinite(top)), default=1.0)))
    axes.set_ylabel("score, expert = 1")


def _demo_axis(axes: Axes, rows: Sequence[Row]) -> None:
    numbers = sorted({row["n_demos"] for row in rows})
    axes.set_xscale("log")
    axes.set_xlim(numbers[0] / 1.15, numbers[-1] * 1.15)
    plain_ticks(axes.xaxis, numbers)
    axes.set_xlabel("demonstrations N")


def _sigma_axis(axes: Axes, rows: Sequence[Row]) -> None:
    noises = sorted({float(row["sigma"]) for row in rows})
    smallest = next((sigma for sigma in noises if sigma > 0), 0.1)
    axes.set_xscale("symlog", linthresh=smallest, linscale=0.5)
    axes.set_xlim(-0.1 * smallest, max(noises[-1], smallest) * 1.12)
    plain_ticks(axes.xaxis, _legible(noises))
    axes.set_xlabel("noise σ on normalized observations")


def _legible(values: Sequence[float]) -> list[float]:
    """Ascending values without those whose labels would overlap the one before on a log axis."""
    kept = list[float]()
    for value in values:
        if not kept or value >= 1.6 * kept[-1]:
            kept.append(value)
    return kept


def _landmarks(axes: Axes, references: Sequence[Row]) -> None:
    """References as diamonds; the expert, whose distance of 0 is off a log axis, at the left edge."""
    look: dict[str, Any] = {"markersize": 7, "markeredgecolor": "white", "clip_on": False, "zorder": 5}
    for reference in references:
        if reference["distance"] > 0:
            axes.plot([reference["distance"]], [reference["score"]], marker="D", color=EXPERT, **look)
    left, right = axes.get_xlim()
    for reference in references:
        if reference["distance"] <= 0:
            axes.plot([left], [reference["score"]], marker="<", color=EXPERT, **look)
    axes.set_xlim(left, right)
    ends = list[End]()
    for reference in references:
        name = reference["name"] if reference["distance"] > 0 else f"{reference['name']}, distance 0"
        ends.append(End(name, reference["score"], REFERENCE, max(reference["distance"], left), MUTED))
    label_ends(axes, ends, x=right, points=_POINTS)
