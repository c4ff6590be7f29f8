# matplotlib's stubs leave keyword arguments without a type.
# pyright: reportUnknownMemberType=false
"""Paths through an obstacle course from above: the ways that a policy takes, and its failures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Circle
from numpy import ndarray
from torch import Tensor

from ..errors import ShapeError
from .labels import legend_below
from .palette import DEMONSTRATION, GAINS, INK, MUTED, OTHERS, RAW_ACTIONS, new_figure, save, style, tint, wrapped

_SIDE, _BETWEEN, _BOTTOM, _HEAD, _MARGIN = 0.62, 0.22, 0.85, 0.62, 0.03
# the gap in the last row sets the hue, the gap in the row before it the tint
_HUES = (OTHERS[1], GAINS, OTHERS[0], OTHERS[2])
_TINTS = (0.0, 0.28, 0.5)


@dataclass(frozen=True)
class Course:
    """Obstacles and finish line as values, so that drawing needs no simulator.

    Attributes:
        obstacles: Cylinders: x, y and radius [m].
        finish: y of the line beyond which an episode is solved [m].
        rod: Radius of the moving rod [m]; drawn as a halo around the obstacles that its axis must not enter.
    """

    obstacles: Sequence[tuple[float, float, float]]
    finish: float
    rod: float = 0.0


@dataclass(frozen=True)
class _Frame:
    """Common window of all panels: its lower left and upper right corner [m]."""

    low: Float[ndarray, " 2"]
    high: Float[ndarray, " 2"] = field(repr=False)

    @property
    def slope(self) -> float:
        """Height divided by width."""
        width, height = self.high - self.low
        return float(height / width)


def draw_avoid(
    path: Path,
    groups: Mapping[str, Sequence[Float[Tensor, "_ 2"]]],
    *,
    course: Course,
    modes: Mapping[str, Float[Tensor, "_"]] | None = None,
    width: float | None = None,
) -> Path:
    """Paths of the actual position from above, one panel per group, all in the same window.

    With `modes`, a path's colour is its mode (hue: gap of the last row; tint: gap of the second), and failed paths,
    whose mode is NaN, are red with a cross at their end. Without, all paths have one colour.

    Args:
        path: File of the PNG.
        groups: Title → paths (x, y) [m] of any length; a path ends at the first point that is not finite.
        course: The obstacles and the finish.
        modes: Title → mode of each path, 0 to 23, NaN for failures.
        width: Width of the picture [inches, at 160 dots per inch]. Default: 3.4 per panel.

    Raises:
        ShapeError: No group, a group without a path, or modes that do not fit the groups.
    """
    _check(groups, modes)
    frame = _frame(groups, course)
    with style():
        figure, every = _panels(len(groups), frame, width or _SIDE + 3.4 * len(groups))
        for axes, (title, paths) in zip(every, groups.items(), strict=True):
            known = None if modes is None else _numbers(modes[title])
            _draw_course(axes, course, frame)
            _draw_paths(axes, paths, known)
            _head(axes, wrapped(title, axes.get_position().width * figure.get_figwidth(), 12.0), len(paths), known)
        _key(figure, failures=modes is not None)
        return save(figure, path)


def _check(groups: Mapping[str, Sequence[Tensor]], modes: Mapping[str, Tensor] | None) -> None:
    if not groups or not all(groups.values()):
        raise ShapeError("expected one group of paths at least, and one path at least in each. Leave empty groups out.")
    for title, paths in groups.items():
        given = None if modes is None else modes.get(title)
        if modes is not None and (given is None or len(given) != len(paths)):
            got = "none" if given is None else str(len(given))
            raise ShapeError(f"expected {len(paths)} modes for {title!r}, one per path, got {got}.")


def _numbers(modes: Float[Tensor, "_"]) -> list[float]:
    return [float(mode) for mode in modes]


def _frame(groups: Mapping[str, Sequence[Tensor]], course: Course) -> _Frame:
    """Window of obstacles, starts, finish, and paths within half a metre of the obstacles."""
    discs = np.asarray(course.obstacles, dtype=np.float64).reshape(-1, 3)
    low, high = (discs[:, :2] - discs[:, 2:]).min(0) - _MARGIN, (discs[:, :2] + discs[:, 2:]).max(0) + _MARGIN
    high[1] = max(high[1], course.finish + 2 * _MARGIN)
    points = np.concatenate([_points(way) for paths in groups.values() for way in paths])
    near = points[((points > low - 0.5) & (points < high + 0.5)).all(axis=1)]
    if len(near):
        low, high = np.minimum(low, near.min(0) - _MARGIN), np.maximum(high, near.max(0) + _MARGIN)
    return _Frame(low=low, high=high)


def _points(way: Float[Tensor, "t 2"]) -> Float[ndarray, "points 2"]:
    """A path up to its first point that is not finite."""
    points = way.detach().cpu().double().numpy()
    lost = ~np.isfinite(points).all(axis=1)
    return points[: int(lost.argmax())] if lost.any() else points


def _panels(count: int, frame: _Frame, width: float) -> tuple[Figure, list[Axes]]:
    each = (width - _SIDE - 0.12 - _BETWEEN * (count - 1)) / count
    tall = each * frame.slope
    height = _BOTTOM + tall + _HEAD
    figure = new_figure(width, height)
    every = list[Axes]()
    for index in range(count):
        left = _SIDE + index * (each + _BETWEEN)
        axes = figure.add_axes((left / width, _BOTTOM / height, each / width, tall / height))
        axes.set(xlim=(frame.low[0], frame.high[0]), ylim=(frame.low[1], frame.high[1]), xlabel="x [m]")
        axes.tick_params(length=0, pad=5, labelleft=index == 0)
        for spine in axes.spines.values():
            spine.set_visible(True)
        every.append(axes)
    every[0].set_ylabel("y [m]")
    return figure, every


def _draw_course(axes: Axes, course: Course, frame: _Frame) -> None:
    for x, y, radius in course.obstacles:
        axes.add_patch(Circle((x, y), radius + course.rod, color=tint(INK, 0.86), linewidth=0, zorder=1.5))
        axes.add_patch(Circle((x, y), radius, color=DEMONSTRATION, linewidth=0, zorder=1.6))
    axes.axhline(course.finish, color=INK, linewidth=1.2, linestyle=(0, (4, 2.5)), zorder=1.7)
    above: dict[str, Any] = {"textcoords": "offset points", "va": "bottom", "ha": "left", "fontsize": 8}
    paper: dict[str, Any] = {"facecolor": "white", "alpha": 0.8, "linewidth": 0, "pad": 0.5}
    axes.annotate("finish", (frame.low[0], course.finish), (4, 2), color=MUTED, zorder=6, bbox=paper, **above)


def _draw_paths(axes: Axes, paths: Sequence[Tensor], modes: Sequence[float] | None) -> None:
    # many paths must remain distinguishable, few must not look faint
    alpha = float(np.clip(6 / len(paths) ** 0.5, 0.3, 0.9))
    for index, way in enumerate(paths):
        points = _points(way)
        mode = None if modes is None else modes[index]
        failed = mode is not None and not np.isfinite(mode)
        axes.plot(*points.T, color=_colour(mode), linewidth=1.1, alpha=alpha, zorder=4 if failed else 3)
        if failed and len(points):
            cross: dict[str, Any] = {"marker": "X", "markersize": 6, "markeredgecolor": "white", "markeredgewidth": 0.6}
            axes.plot(*points[-1:].T, color=RAW_ACTIONS, zorder=5, **cross)
    starts = np.concatenate([_points(way)[:1] for way in paths])
    circle: dict[str, Any] = {"marker": "o", "markersize": 5, "color": "white", "linestyle": "none"}
    axes.plot(*starts.T, markeredgecolor=INK, markeredgewidth=1.2, zorder=6, **circle)


def _colour(mode: float | None) -> str:
    if mode is None:
        return GAINS
    if not np.isfinite(mode):
        return RAW_ACTIONS
    return tint(_HUES[int(mode) % 4], _TINTS[int(mode) // 4 % 3])


def _head(axes: Axes, title: str, count: int, modes: Sequence[float] | None) -> None:
    """Name of the group, number of paths, and number of ways in which they reach the finish."""
    text = f"{count} paths"
    if modes is not None:
        reached = [mode for mode in modes if np.isfinite(mode)]
        text = f"{len(reached)} of {count} reach the finish, in {len(set(reached))} ways"
    above: dict[str, Any] = {"xycoords": "axes fraction", "textcoords": "offset points", "va": "bottom"}
    axes.annotate(text, (0, 1), (0, 5), fontsize=9, color=MUTED, **above)
    axes.annotate(title, (0, 1), (0, 19), fontsize=11.5, fontweight="bold", **above)


def _key(figure: Figure, *, failures: bool) -> None:
    handles = [
        Line2D([], [], marker="o", markersize=9, color=DEMONSTRATION, linestyle="none", label="obstacle"),
        Line2D([], [], marker="o", markersize=5, color="none", markeredgecolor=INK, label="start"),
    ]
    if failures:
        row = "hue: gap of the last row, tint: of the second"
        handles.append(Line2D([], [], color=GAINS, linewidth=1.6, label=row))
        handles.append(Line2D([], [], color=RAW_ACTIONS, marker="X", markersize=6, linewidth=1.1, label="fails"))
    legend_below(figure, handles, columns=2 if figure.get_figwidth() < 6 else len(handles))
