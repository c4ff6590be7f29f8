# matplotlib's stubs leave keyword arguments without a type.
# pyright: reportUnknownMemberType=false
"""The picture of study tokens: tokens of a second against the control rate, and what cloning with them is worth."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, NullLocator, StrMethodFormatter

from ...errors import DataError
from ...report.labels import headline
from ...report.palette import GAINS, MUTED, OTHERS, REFERENCE, new_figure, save, style

__all__ = ["draw_tokens"]

Row = Mapping[str, Any]


def draw_tokens(path: Path, compression: Sequence[Row], published: Sequence[Row], cloning: Sequence[Row]) -> Path:
    """Compression against rate on the left, scores of cloned policies on the right.

    Args:
        path: Where the PNG goes.
        compression: Flat rows with `data`, `hz`, `compression`.
        published: The same of others.
        cloning: Flat rows with `task`, `family`, `score`, `low`, `high`; may be empty.

    Raises:
        DataError: No rows of compression.
    """
    if not compression:
        raise DataError("expected rows of compression, got none.")
    with style():
        figure = new_figure(11.0 if cloning else 6.0, 4.6)
        panels = figure.subplots(1, 2 if cloning else 1, squeeze=False)[0]
        _rates(panels[0], compression, published)
        if cloning:
            _scores(panels[1], cloning)
        figure.subplots_adjust(left=0.075, right=0.985, top=0.84, bottom=0.12, wspace=0.42)
        return save(figure, path)


def _rates(axes: Axes, rows: Sequence[Row], published: Sequence[Row]) -> None:
    for row in published:
        axes.plot([row["hz"]], [row["compression"]], "D", markerfacecolor="none", markeredgecolor=REFERENCE)
        axes.annotate(row["data"], (row["hz"], row["compression"]), (5, -9), textcoords="offset points", color=MUTED)
    names = list(dict.fromkeys(row["data"] for row in rows))
    for place, name in enumerate(names):
        line = sorted((row for row in rows if row["data"] == name), key=lambda row: row["hz"])
        colour = GAINS if len(line) > 1 else OTHERS[place % len(OTHERS)]
        axes.plot([r["hz"] for r in line], [r["compression"] for r in line], "o-", color=colour, markersize=5)
        axes.annotate(
            f"{name}, {line[-1]['numbers']} numbers",
            (line[-1]["hz"], line[-1]["compression"]),
            (6, 4),
            textcoords="offset points",
            color=colour,
        )
    axes.set_xscale("log")
    axes.set_xlim(4, 110)
    ticks = [5, 10, 20, 30, 50]
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.set_ylim(bottom=0)
    axes.set_xlabel("control rate [Hz]")
    axes.set_ylabel("numbers a token stands for")
    lead = max(rows, key=lambda row: row["compression"])
    title = f"FAST: {lead['compression']:.0f} numbers a token at {lead['hz']:.0f} Hz ({lead['data']})"
    headline(axes, title, "chunks of one second; hollow: published (Pertsch et al. 2025)", points=10.5, inches=4.6)


def _scores(axes: Axes, rows: Sequence[Row]) -> None:
    families = list(dict.fromkeys(row["family"] for row in rows))
    tasks = list(dict.fromkeys(row["task"] for row in rows))
    for row in rows:
        shift = 0.16 * (2 * tasks.index(row["task"]) - 1) if len(tasks) > 1 else 0.0
        place = families.index(row["family"]) + shift
        colour = (GAINS, OTHERS[0], OTHERS[1])[tasks.index(row["task"])]
        axes.hlines(place, row["low"], row["high"], color=colour, linewidth=2.0, alpha=0.7)
        axes.plot([row["score"]], [place], "o", color=colour, markersize=5)
    for index, task in enumerate(tasks):
        axes.plot([], [], "o", color=(GAINS, OTHERS[0], OTHERS[1])[index], label=task)
    axes.legend(loc="lower left", frameon=False)
    axes.set_yticks(range(len(families)), families)
    axes.set_ylim(len(families) - 0.4, -0.6)
    axes.set_xlim(-0.03, 1.03)
    best = max(rows, key=lambda row: row["score"])
    title = f"Cloned with them: {best['family']} leads on {best['task']}"
    headline(axes, title, "score with 95 % intervals, equal budgets", points=10.5, inches=3.8)
