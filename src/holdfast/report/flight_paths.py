# matplotlib's stubs leave keyword arguments without a type.
# pyright: reportUnknownMemberType=false
"""Still pictures of the planar quadrotor's flights."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy import ndarray

from .flight_panels import Flight, Frame, Panel, arms, flights_of, frame_of, panel_axes, rotors
from .labels import legend_below
from .palette import DEMONSTRATION, EXPERT, INK, save, style

# Size of the body as a share of the frame's width; at its true 17 cm it would be a dot.
_BODY = 0.021
_POSED = 3
_POSES = 6


def draw_flights(path: Path, panels: Sequence[Panel], *, width: float = 11.0) -> Path:
    """Paths in the x-z plane, one panel per policy, all in the same window.

    Demonstrations are thin and grey, the expert's flights from the same starts dashed, the policy's flights in its
    colour, the first three of them with the vehicle, enlarged, at several points. A flight that finally leaves the
    window ends at its edge with a cross.

    Args:
        path: File of the PNG.
        panels: One panel per policy; all should start from the same states.
        width: Width of the picture [inches, at 160 dots per inch].
    """
    frame = frame_of(panels)
    with style():
        figure, every = panel_axes(panels, frame, width=width)
        for axes, panel in zip(every, panels, strict=True):
            _draw_panel(axes, panel, frame)
        _key(figure, panels)
        return save(figure, path)


def _draw_panel(axes: Axes, panel: Panel, frame: Frame) -> None:
    for flight in flights_of(panel.demonstrations, frame):
        axes.plot(*flight.path.T, color=DEMONSTRATION, linewidth=1.3, alpha=0.9, zorder=2)
    for flight in flights_of(panel.expert, frame):
        axes.plot(*flight.path.T, color=EXPERT, linewidth=1.0, linestyle=(0, (3, 2.4)), alpha=0.8, zorder=3)
    flights = flights_of(panel.flights, frame)
    for number, flight in enumerate(flights):
        _draw_flight(axes, flight, panel.colour, strong=number < _POSED)
    for flight in flights[:_POSED]:
        _draw_bodies(axes, _poses(flight), _BODY * frame.width, panel.colour)


def _draw_flight(axes: Axes, flight: Flight, colour: str, *, strong: bool) -> None:
    weight: dict[str, Any] = {"linewidth": 1.8, "alpha": 0.95} if strong else {"linewidth": 1.2, "alpha": 0.5}
    axes.plot(*flight.path.T, color=colour, zorder=4, **weight)
    start = flight.states[:1, :2]
    axes.plot(*start.T, marker="o", markersize=5, color="white", markeredgecolor=colour, markeredgewidth=1.4, zorder=7)
    if flight.exit is not None:
        cross: dict[str, Any] = {"marker": "X", "markersize": 8, "markeredgecolor": "white", "markeredgewidth": 0.8}
        axes.plot(*flight.exit[:, None], color=colour, clip_on=False, zorder=8, **cross)


def _poses(flight: Flight) -> Float[ndarray, "poses n"]:
    """States at about equal distances along a flight, so that a hovering vehicle is drawn once."""
    steps = np.linalg.norm(np.diff(flight.states[:, :2], axis=0), axis=1)
    travelled = np.concatenate([[0.0], steps.cumsum()])
    wanted: Any = travelled[-1] * np.arange(1, _POSES + 1) / _POSES
    nearest = cast("Any", np.searchsorted(travelled, wanted)).clip(max=len(flight.states) - 1)
    return flight.states[np.unique(np.asarray(nearest, dtype=np.int64))]


def _draw_bodies(axes: Axes, states: Float[ndarray, "b n"], size: float, colour: str) -> None:
    axes.plot(*rotors(states, size).T, color=colour, linewidth=1.0, zorder=6)
    axes.plot(*arms(states, size).T, color="white", linewidth=4.2, zorder=5)
    axes.plot(*arms(states, size).T, color=colour, linewidth=2.6, zorder=6)


def _key(figure: Figure, panels: Sequence[Panel]) -> None:
    """Legend below the panels."""
    shown: dict[str, Any] = {"color": "none", "markeredgecolor": INK}
    policy = panels[0].colour if len({panel.colour for panel in panels}) == 1 else INK
    handles = [
        Line2D([], [], color=DEMONSTRATION, linewidth=1.4, label="demonstrations"),
        Line2D([], [], color=EXPERT, linewidth=1.2, linestyle=(0, (3, 2.4)), label="expert, same starts"),
        Line2D([], [], color=policy, linewidth=1.8, label="policy"),
        Line2D([], [], marker="o", markersize=5, label="start", **shown),
        Line2D([], [], marker="X", markersize=7, color=policy, linestyle="none", label="leaves the picture"),
        Line2D([], [], marker="+", markersize=10, markeredgewidth=1.4, label="goal", **shown),
    ]
    legend_below(figure, handles, columns=len(handles) if figure.get_figwidth() > 7 else 3)
