# matplotlib's stubs leave keyword arguments without a type.
# pyright: reportUnknownMemberType=false
"""Figure of study servo: maps over stiffness and damping ratio, one per measure."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize

from ...errors import DataError
from ...report.labels import headline
from ...report.maps import HIGH_IS_DARK, draw_map
from ...report.palette import new_figure, save, style
from ..engine.tables import Row

_SIDE, _GAP, _ROW, _HEAD = 2.35, 1.15, 3.7, 0.5
# side by side, and no wider than the figures of other pages
_COLUMNS = 2


def draw_servos(path: Path, title: str, chunks: Sequence[Row], single: Sequence[Row], unit: str) -> Path:
    """Six maps of a task: scores of both ways of execution, the loss, and three properties of the servo.

    Args:
        path: File to write.
        title: Title of the figure.
        chunks: Rows of policies that execute chunks.
        single: Rows of policies that plan at every step.
        unit: Unit of the task's position.
    """
    if not chunks or not single:
        raise DataError("expected rows of both ways of execution, got none of one.")
    executed = chunks[0]["executed"]
    maps = (
        (chunks, "score", f"Score, {executed} steps per plan", "1 is best", False),
        (single, "score", "Score, a plan at every step", "1 is best", False),
        (chunks, "relative_loss", "Validation loss, relative", "in (half range of the targets)²", True),
        (chunks, "remaining", "Displacement left", "root mean square share within 1 s", False),
        (chunks, "loss", "Validation loss", f"in {unit}²", True),
        (chunks, "variance", "Amplification × loss", f"in {unit}²", True),
    )
    wide, tall = 0.75 + _COLUMNS * (_SIDE + _GAP), _HEAD + len(maps) // _COLUMNS * _ROW
    with style():
        figure = new_figure(wide, tall)
        figure.text(0.25 / wide, 1 - 0.14 / tall, title, fontsize=13, fontweight="bold", va="top")
        for index, (rows, name, heading, caption, logarithmic) in enumerate(maps):
            line, column = divmod(index, _COLUMNS)
            left, low = 0.85 + (_SIDE + _GAP) * column, tall - _HEAD - _ROW * (line + 1) + 0.6
            axes = figure.add_axes((left / wide, low / tall, _SIDE / wide, _SIDE / tall))
            norm, colours = _scale([row[name] for row in rows], logarithmic, rising=name == "score")
            _map(axes, rows, name, norm, colours)
            headline(axes, heading, caption, points=9.5, inches=3.2)
        return save(figure, path)


def _scale(values: Sequence[float], logarithmic: bool, *, rising: bool) -> tuple[Any, Any]:
    low, high = min(values), max(values)
    if rising:
        return Normalize(0.0, 1.0), HIGH_IS_DARK
    if logarithmic:
        return LogNorm(max(low, 1e-30), max(high, 1.01 * low, 1.01e-30)), HIGH_IS_DARK.reversed()
    return Normalize(0.0, max(high, 1.0)), HIGH_IS_DARK.reversed()


def _map(axes: Axes, rows: Sequence[Row], name: str, norm: Any, colours: Any) -> None:
    stiffness, ratios = (sorted({row[key] for row in rows}) for key in ("stiffness", "ratio"))
    values = {(row["stiffness"], row["ratio"]): row[name] for row in rows}
    points = 9.0 if len(stiffness) < 4 else 7.0
    draw_map(axes, values, (stiffness, ratios), norm=norm, colours=colours, shown=_shown, points=points)
    axes.set_xticks(range(len(stiffness)), [f"{value:.3g}" for value in stiffness])
    axes.set_yticks(range(len(ratios)), [f"{value:.2g}" for value in ratios])
    axes.set_xlabel("stiffness k_p [1/s²]")
    axes.set_ylabel("damping ratio ζ")


def _shown(value: float) -> str:
    """A number in at most seven characters.

    >>> _shown(0.5), _shown(0.00042), _shown(1234.0)
    ('0.50', '0.00042', '1234')
    """
    if not math.isfinite(value):
        return "–"
    if value == 0 or 0.1 <= abs(value) < 10:
        return f"{value:.2f}"
    if abs(value) < 1e-4:
        return f"{value:.0e}"
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.2g}"
