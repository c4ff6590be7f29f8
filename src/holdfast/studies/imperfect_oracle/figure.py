# matplotlib's stubs leave keyword arguments without a type.
# pyright: reportUnknownMemberType=false
"""The picture of study imperfect-oracle: score and distance under each imperfection, beside the perfect oracle's."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, NullLocator, StrMethodFormatter

from ...errors import DataError
from ...report.labels import headline
from ...report.palette import GAINS, INK, MUTED, OTHERS, RAW_ACTIONS, REFERENCE, new_figure, save, style

__all__ = ["draw_imperfect_oracle", "oracle_label"]

Row = Mapping[str, Any]

_LINE, _HEAD, _FOOT = 0.215, 1.25, 0.6
_LEFT, _PANEL, _BETWEEN = 2.55, 4.0, 0.45


def draw_imperfect_oracle(path: Path, rows: Sequence[Row]) -> Path:
    """Score (left) and distance to the expert (right), a line an imperfection, with 95 % intervals over seeds.

    Args:
        path: Where the PNG goes.
        rows: Flat, as in `result.json`, of one kind of gains and number of demonstrations: `oracle`, `where`, `amount`,
            `score`, `score_low`, `score_high`, `distance`, `distance_low`, `distance_high`; without numbers where the
            oracle gave no gains.

    Raises:
        DataError: There are no rows with numbers.
    """
    if not any("score" in row for row in rows):
        raise DataError("expected at least one row with numbers, got none. Did the study run?")
    lines = _laid_out(rows)
    wide = _LEFT + 2 * _PANEL + _BETWEEN + 0.2
    tall = _HEAD + _FOOT + _LINE * (lines[-1][0] + 1)
    with style():
        figure = new_figure(wide, tall)
        count, kind = rows[0]["n_demos"], next(row["gains"] for row in rows if row["gains"] != "none")
        title = f"How good the gains must be: {kind}, {count} demonstration{'s' * (count != 1)}, 2-D quadrotor"
        figure.text(0.15 / wide, 1 - 0.14 / tall, title, fontsize=13, fontweight="bold", va="top")
        boxes = [
            ((_LEFT + column * (_PANEL + _BETWEEN)) / wide, _FOOT / tall, _PANEL / wide, 1 - (_HEAD + _FOOT) / tall)
            for column in (0, 1)
        ]
        left, right = (figure.add_axes(box) for box in boxes)
        _panel(left, lines, "score")
        left.set_yticks([place for place, _ in lines], [oracle_label(row) for _, row in lines])
        left.tick_params(axis="y", labelcolor=INK, labelsize=8.5)
        left.set_xlabel("score, expert = 1")
        headline(left, _finding(rows, "score"), "mean and 95 % interval over seeds", points=9.5, inches=4.2)
        right.set_xscale("log")
        _panel(right, lines, "distance")
        right.set_yticks([])
        right.xaxis.set_major_locator(LogLocator(subs=(1.0, 3.0), numticks=12))
        right.xaxis.set_minor_locator(NullLocator())
        right.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        right.set_xlabel("distance to the expert [SI]")
        headline(right, _finding(rows, "distance"), "geometric mean and interval", points=9.5, inches=4.2)
        return save(figure, path)


def oracle_label(row: Row) -> str:
    """What a row's oracle is called.

    >>> oracle_label({"oracle": "wrong mass", "where": "training", "amount": 0.5})
    'mass × 0.5'
    """
    amount = "" if row["amount"] is None else f"{row['amount']:g}"
    match row["oracle"]:
        case "wrong mass":
            return f"mass × {amount}"
        case "scaled gains":
            return f"gains × {amount}" + (" in flight" if row["where"] == "flight" else "")
        case "late gains":
            return f"gains {amount} steps late"
        case "late state":
            return f"state {amount} step{'s' * (amount != '1')} late in flight"
        case "absent":
            return "absent: raw actions"
        case "perfect":
            return "perfect"
        case name:
            return str(name)


def _laid_out(rows: Sequence[Row]) -> list[tuple[float, Row]]:
    """Rows with their heights, best known first; families stand apart."""
    order = ("perfect", "wrong mass", "learned", "scaled gains", "late gains", "late state", "absent")

    def family(row: Row) -> tuple[int, bool]:
        rank = next(index for index, name in enumerate(order) if str(row["oracle"]).startswith(name))
        return rank, row["where"] == "flight"

    lines, place, before = list[tuple[float, Row]](), 0.0, None
    for row in sorted(rows, key=lambda row: (family(row), str(row["oracle"]), row["amount"] or 0.0)):
        if before is not None:
            place += 1.0 if family(row) == before else 1.5
        lines.append((place, row))
        before = family(row)
    return lines


def _panel(axes: Axes, lines: Sequence[tuple[float, Row]], name: str) -> None:
    for place, row in lines:
        if name not in row:
            axes.annotate("no gains", (0.02, place), xycoords=("axes fraction", "data"), fontsize=7.5, color=MUTED)
            continue
        axes.plot([row[name]], [place], "o", color=_colour(row), markersize=5, zorder=4)
        low, high = row[f"{name}_low"], row[f"{name}_high"]
        axes.hlines(place, low, high, color=_colour(row), linewidth=1.5, alpha=0.75, zorder=3)
    for _, row in lines:
        if row["oracle"] == "perfect":
            axes.axvline(row[name], color=REFERENCE, linewidth=1.0, linestyle=(0, (4, 3)), zorder=1.5)
            axes.axvspan(row[f"{name}_low"], row[f"{name}_high"], color=REFERENCE, alpha=0.12, linewidth=0)
    axes.set_ylim(lines[-1][0] + 0.7, -0.7)
    axes.grid(axis="y", visible=False)
    axes.tick_params(axis="y", length=0)
    _limits(axes, [row for _, row in lines if name in row], name)


def _limits(axes: Axes, rows: Sequence[Row], name: str) -> None:
    """All means, and of wild intervals as much as leaves the means legible."""
    means = [row[name] for row in rows if math.isfinite(row[name])]
    if name == "score":
        axes.set_xlim(-0.05, max(1.1, 1.25 * max(means)))
    else:
        axes.set_xlim(0.5 * min(means), 3.0 * max(means))


def _colour(row: Row) -> str:
    if row["oracle"] == "absent":
        return RAW_ACTIONS
    return OTHERS[0] if row["where"] == "flight" else GAINS


def _finding(rows: Sequence[Row], name: str) -> str:
    """The perfect oracle, and the worst of the imperfect ones that still give gains."""
    perfect = next((row for row in rows if row["oracle"] == "perfect"), None)
    others = [row for row in rows if row["oracle"] not in ("perfect", "absent") and name in row]
    if perfect is None or not others:
        return "Imperfect oracles"
    worst = (min if name == "score" else max)(others, key=lambda row: row[name])
    what = "score" if name == "score" else "distance"
    return f"Perfect: {what} {_shown(perfect[name])}; worst: {_shown(worst[name])} ({oracle_label(worst)})"


def _shown(value: float) -> str:
    return f"{value:.0f}" if value >= 10 else f"{value:.2f}"
