# matplotlib's stubs leave keyword arguments without a type.
# pyright: reportUnknownMemberType=false
"""Figure of study noise-grid: maps of score and distance over training noise and deployment noise."""

import itertools
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize
from matplotlib.patches import Rectangle

from ...errors import DataError
from ...report.labels import headline
from ...report.maps import HIGH_IS_DARK, draw_map
from ...report.palette import RAW_ACTIONS, new_figure, save, style
from ..engine.tables import Row
from ..quadrotor.labels import ARM_NAMES

_WIDTH, _HEIGHT, _HEAD = 4.3, 4.2, 0.55
_TOP_SCORE = 1.2


def draw_noise_grid(path: Path, rows: Sequence[Row]) -> Path:
    """Score (top) and distance to the expert (bottom) for each pair of noise levels, one column per kind of cloning.

    The replica policy, equal noise levels, is framed. All columns share one scale per measure.
    """
    kinds = [kind for kind in ARM_NAMES if any(row["gains"] == kind for row in rows)]
    if not kinds:
        raise DataError("expected at least one row of a grid, got none.")
    wide, tall = 0.5 + _WIDTH * len(kinds), _HEAD + 2 * _HEIGHT
    distances = [row["distance"] for row in rows]
    near, far = min(distances), max(max(distances), 1.01 * min(distances))
    maps = (
        ("score", "score, expert = 1", Normalize(0.0, _TOP_SCORE), HIGH_IS_DARK),
        ("distance", "distance to the expert [SI], geometric mean", LogNorm(near, far), HIGH_IS_DARK.reversed()),
    )
    with style():
        figure = new_figure(wide, tall)
        title = f"Noise in training and noise at deployment, {_demonstrations(rows)}, 2-D quadrotor"
        figure.text(0.35 / wide, 1 - 0.16 / tall, title, fontsize=13, fontweight="bold", va="top")
        for (column, kind), line in itertools.product(enumerate(kinds), (0, 1)):
            own = [row for row in rows if row["gains"] == kind]
            name, subtitle, norm, colours = maps[line]
            box = ((0.95 + _WIDTH * column) / wide, (tall - _HEAD - _HEIGHT * (line + 1) + 0.62) / tall)
            axes = figure.add_axes((*box, 3.0 / wide, 3.0 / tall))
            _map(axes, own, name, norm, colours)
            best = f"{ARM_NAMES[kind].capitalize()}: {_best(own, name)}"
            headline(axes, best, subtitle, points=9.5, inches=4.0)
        return save(figure, path)


def _map(axes: Axes, rows: Sequence[Row], name: str, norm: Normalize, colours: Any) -> None:
    trained, deployed = (sorted({row[key] for row in rows}) for key in ("sigma_train", "sigma_deploy"))
    values = {(row["sigma_deploy"], row["sigma_train"]): row[name] for row in rows}
    draw_map(axes, values, (deployed, trained), norm=norm, colours=colours, shown=_shown)
    for sigma in (one for one, other in values if one == other):
        place = (deployed.index(sigma) - 0.46, trained.index(sigma) - 0.46)
        axes.add_patch(Rectangle(place, 0.92, 0.92, fill=False, edgecolor=RAW_ACTIONS, linewidth=2.0))
    axes.set_xticks(range(len(deployed)), [f"{sigma:g}" for sigma in deployed])
    axes.set_yticks(range(len(trained)), [f"{sigma:g}" for sigma in trained])
    axes.set_xlabel("σ at deployment (framed: replica)")
    axes.set_ylabel("σ in training")


def _best(rows: Sequence[Row], name: str) -> str:
    best = (max if name == "score" else min)(rows, key=lambda row: row[name])
    return f"best {_shown(best[name])}, σ = {best['sigma_train']:g} in training, {best['sigma_deploy']:g} at deployment"


def _shown(value: float) -> str:
    if not math.isfinite(value):
        return "–"
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _demonstrations(rows: Sequence[Row]) -> str:
    count = rows[0]["n_demos"]
    return f"{count} demonstration{'s' * (count != 1)}"
