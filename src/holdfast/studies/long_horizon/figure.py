# matplotlib's stubs leave keyword arguments without a type.
# pyright: reportUnknownMemberType=false
"""The picture of study long-horizon: distance to the expert and share of diverged flights over time, in both airs."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, NullLocator, PercentFormatter, StrMethodFormatter

from ...errors import DataError
from ...report.labels import End, headline, label_ends
from ...report.palette import GAINS, MUTED, OTHERS, RAW_ACTIONS, REFERENCE, new_figure, save, style

__all__ = ["draw_long_horizon"]

Curve = Mapping[str, Any]

KINDS = {
    "none": ("raw actions", RAW_ACTIONS),
    "tvlqr": ("gains (tvlqr)", GAINS),
    "dare": ("gains (dare)", OTHERS[0]),
    "receding": ("gains (receding)", OTHERS[1]),
}
AIRS = {"still": "still air", "gusts": "gusts, the same for all"}
_WIDTH, _HEIGHT, _HEAD = 6.6, 4.0, 0.45
# Errors below are of a flight that coincides with the expert's, as far as anyone would look.
_FLOOR = 1e-4


def draw_long_horizon(path: Path, curves: Sequence[Curve], *, demonstrated: float) -> Path:
    """Error (left) and share of diverged flights (right) over time, a row an air; dashed without noise.

    Args:
        path: Where the PNG goes.
        curves: Of one number of demonstrations: `gains`, `sigma`, `air` ("still", "gusts"), `n_demos` and, at each of
            `seconds`, `median`, `low` and `high` of the error, and `diverged`, `diverged_low`, `diverged_high`.
        demonstrated: Length of a demonstration [s], marked by a rule.

    Raises:
        DataError: There are no curves.
    """
    airs = [air for air in AIRS if any(curve["air"] == air for curve in curves)]
    if not airs:
        raise DataError("expected at least one curve, got none. Did the study run?")
    wide, tall = 2 * _WIDTH, _HEAD + _HEIGHT * len(airs)
    with style():
        figure = new_figure(wide, tall)
        count = curves[0]["n_demos"]
        title = f"Flights far longer than their {count} demonstration{'s' * (count != 1)}, 2-D quadrotor"
        figure.text(0.85 / wide, 1 - 0.12 / tall, title, fontsize=13, fontweight="bold", va="top")
        for line, air in enumerate(airs):
            own = [curve for curve in curves if curve["air"] == air]
            low = tall - _HEAD - _HEIGHT * (line + 1) + 0.6
            boxes = [((0.85 + _WIDTH * column) / wide, low / tall, 4.1 / wide, 2.65 / tall) for column in (0, 1)]
            left, right = (figure.add_axes(box) for box in boxes)
            _errors(left, own, air, demonstrated)
            _shares(right, own, air, demonstrated)
        return save(figure, path)


def _errors(axes: Axes, curves: Sequence[Curve], air: str, demonstrated: float) -> None:
    axes.set_yscale("log")
    for curve in curves:
        colour, dashes = _look(curve)
        low, median, high = (np.maximum(curve[name], _FLOOR) for name in ("low", "median", "high"))
        axes.fill_between(curve["seconds"], low, high, color=colour, alpha=0.08, linewidth=0)
        axes.plot(curve["seconds"], median, color=colour, linewidth=1.7, linestyle=dashes)
    _time(axes, curves, demonstrated)
    axes.yaxis.set_major_locator(LogLocator(numticks=8))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.set_ylabel("distance to the expert [SI]")
    _name(axes, curves, [max(curve["median"][-1], _FLOOR) for curve in curves])
    subtitle = f"{AIRS[air]}; median over flights of all seeds, 10–90 % shaded; dashed: σ = 0; floor {_FLOOR:g}"
    headline(axes, _error_finding(curves), subtitle, points=10.0, inches=6.0)


def _shares(axes: Axes, curves: Sequence[Curve], air: str, demonstrated: float) -> None:
    for curve in curves:
        colour, dashes = _look(curve)
        axes.fill_between(
            curve["seconds"], curve["diverged_low"], curve["diverged_high"], color=colour, alpha=0.08, linewidth=0
        )
        axes.plot(curve["seconds"], curve["diverged"], color=colour, linewidth=1.7, linestyle=dashes)
    _time(axes, curves, demonstrated)
    axes.set_ylim(-0.02, 1.02)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.set_ylabel("flights ever more than 10 from the expert")
    _name(axes, curves, [curve["diverged"][-1] for curve in curves])
    headline(axes, _share_finding(curves), f"{AIRS[air]}; shaded: 95 % intervals", points=10.0, inches=6.0)


def _look(curve: Curve) -> tuple[str, Any]:
    return KINDS[curve["gains"]][1], "-" if curve["sigma"] > 0 else (0, (4, 2))


def _time(axes: Axes, curves: Sequence[Curve], demonstrated: float) -> None:
    axes.set_xlim(0, curves[0]["seconds"][-1])
    axes.set_xlabel("time [s]")
    axes.axvline(demonstrated, color=REFERENCE, linewidth=1.0, linestyle=(0, (4, 3)), zorder=1.5)
    axes.annotate(
        "demonstrations end",
        (demonstrated, 0.6),
        (3, 0),
        xycoords=("data", "axes fraction"),
        textcoords="offset points",
        fontsize=7.5,
        color=MUTED,
        va="top",
    )


def _name(axes: Axes, curves: Sequence[Curve], last: Sequence[float]) -> None:
    ends = [End(_title(curve), end, _look(curve)[0]) for curve, end in zip(curves, last, strict=True)]
    label_ends(axes, ends, x=axes.get_xlim()[1], points=8.0)


def _title(curve: Curve) -> str:
    return f"{KINDS[curve['gains']][0]}, σ = {curve['sigma']:g}"


def _error_finding(curves: Sequence[Curve]) -> str:
    """The nearest with gains, the nearest without."""
    sides = [[c for c in curves if (c["gains"] == "none") == raw] for raw in (False, True)]
    if not all(sides):
        return "Distance to the expert over time"
    gains, raw = (min(curve["median"][-1] for curve in side) for side in sides)
    return f"At the end the nearest arm with gains is {gains:.2g} from the expert, without {raw:.2g}"


def _share_finding(curves: Sequence[Curve]) -> str:
    sides = [[c for c in curves if (c["gains"] == "none") == raw] for raw in (False, True)]
    if not all(sides):
        return "Share of diverged flights over time"
    gains, raw = ([curve["diverged"][-1] for curve in side] for side in sides)
    return f"Diverged by the end: gains {_span(gains)}, raw actions {_span(raw)}"


def _span(shares: Sequence[float]) -> str:
    low, high = min(shares), max(shares)
    return f"{low:.0%}" if f"{low:.0%}" == f"{high:.0%}" else f"{low:.0%} to {high:.0%}"
