# matplotlib's stubs leave keyword arguments without a type.
# pyright: reportUnknownMemberType=false
"""The picture of study families: one column a task, one line a family, its score and how many ways it keeps."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes

from ...errors import DataError
from ...report.labels import headline
from ...report.palette import GAINS, MUTED, RAW_ACTIONS, REFERENCE, new_figure, save, style

__all__ = ["draw_families"]

TASKS = {
    "obstacle": ("Obstacle", "success, and entropy of the 2 ways (hollow)"),
    "avoid": ("Avoid", "success, and entropy of the 24 ways (hollow)"),
    "pusht": ("Push-T", "mean score; published by others (bars)"),
}

Row = Mapping[str, Any]


def draw_families(path: Path, rows: Sequence[Row]) -> Path:
    """Score of every family on every task, with 95 % intervals.

    Args:
        path: Where the PNG goes.
        rows: Flat, as in `result.json`: `task`, `family`, `score`, `low`, `high`, `plan_ms`, and where a task has ways
            `entropy`; `published` where others measured the same.

    Raises:
        DataError: There are no rows.
    """
    tasks = [task for task in TASKS if any(row["task"] == task for row in rows)]
    families = list(dict.fromkeys(row["family"] for row in rows))
    if not tasks:
        raise DataError("expected rows of at least one task, got none.")
    with style():
        figure = new_figure(1.5 + 3.6 * len(tasks), 1.5 + 0.27 * len(families))
        panels = figure.subplots(1, len(tasks), squeeze=False, sharey=True)[0]
        for axes, task in zip(panels, tasks, strict=True):
            _panel(axes, [row for row in rows if row["task"] == task], families, task)
        height = 1.5 + 0.27 * len(families)
        figure.subplots_adjust(
            left=1.45 / (1.5 + 3.6 * len(tasks)), right=0.985, top=1 - 0.75 / height, bottom=0.55 / height, wspace=0.08
        )
        return save(figure, path)


def _panel(axes: Axes, rows: Sequence[Row], families: Sequence[str], task: str) -> None:
    for row in rows:
        place = families.index(row["family"])
        colour = RAW_ACTIONS if row["family"] in ("regression", "mip") else GAINS
        if "entropy" in row:
            axes.plot([row["entropy"]], [place], "o", markerfacecolor="none", markeredgecolor=MUTED, markersize=5.5)
        if "published" in row:
            axes.plot([row["published"]], [place], "|", color=REFERENCE, markersize=11, markeredgewidth=1.8)
        axes.hlines(place, row["low"], row["high"], color=colour, linewidth=2.0, alpha=0.7, zorder=3)
        axes.plot([row["score"]], [place], "o", color=colour, markersize=5.5, zorder=4)
    axes.set_xlim(-0.03, 1.03)
    axes.set_ylim(len(families) - 0.4, -0.6)
    axes.set_yticks(range(len(families)), families)
    axes.grid(axis="y", visible=True, linewidth=0.4, alpha=0.5)
    title, subtitle = TASKS[task]
    headline(axes, title, subtitle, points=10.5, inches=3.4)
