# matplotlib's stubs leave keyword arguments without a type.
# pyright: reportUnknownMemberType=false
"""Panels for flights of the planar quadrotor: a common window onto the x-z plane, and the vehicle's body as lines."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from jaxtyping import Bool, Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy import ndarray
from torch import Tensor

from ..errors import ShapeError
from .palette import DPI, INK, MUTED, new_figure, wrapped


@dataclass(frozen=True)
class Panel:
    """One policy's flights and the expert's from the same initial states.

    States are those of the planar quadrotor: (x [m], z [m], φ [rad], ẋ [m/s], ż [m/s], φ̇ [rad/s]).

    Attributes:
        title: Title, for example the policy's name.
        subtitle: A second line, for example the score.
        demonstrations: Demonstrations that the policy was trained on.
        flights: The policy's flights; they end where they are NaN or infinite.
        expert: The expert's flights from the same initial states.
        colour: The policy's colour, from `palette`.
    """

    title: str
    subtitle: str
    demonstrations: Float[Tensor, "d s n"]
    flights: Float[Tensor, "b t n"]
    expert: Float[Tensor, "b t n"]
    colour: str


@dataclass(frozen=True)
class Frame:
    """A window onto the x-z plane [m]."""

    left: float
    right: float
    bottom: float
    top: float

    @property
    def width(self) -> float:
        """Width [m]."""
        return self.right - self.left

    @property
    def height(self) -> float:
        """Height [m]."""
        return self.top - self.bottom

    def holds(self, points: Float[ndarray, "t 2"]) -> Bool[ndarray, " t"]:
        """Whether each point is inside; NaN is outside."""
        x, z = points.T
        return (x >= self.left) & (x <= self.right) & (z >= self.bottom) & (z <= self.top)

    def crossing(self, inside: Float[ndarray, " 2"], outside: Float[ndarray, " 2"]) -> Float[ndarray, " 2"]:
        """Point where the segment from a point inside to one outside meets the frame."""
        if not np.isfinite(outside).all():
            return inside
        step = outside - inside
        walls = np.where(step > 0, (self.right, self.top), (self.left, self.bottom))
        with np.errstate(divide="ignore", invalid="ignore"):
            shares = np.where(step == 0, np.inf, (walls - inside) / step)
        return inside + step * min(1.0, float(shares.min()))


@dataclass(frozen=True)
class Flight:
    """The visible part of a flight.

    Attributes:
        states: The states up to the last one inside the frame.
        exit: Point where the flight finally leaves the frame [m], `None` if it ends inside.
    """

    states: Float[ndarray, "t n"]
    exit: Float[ndarray, " 2"] | None

    @property
    def path(self) -> Float[ndarray, "points 2"]:
        """Positions up to the frame [m]."""
        inside = self.states[:, :2]
        return inside if self.exit is None else np.concatenate([inside, self.exit[None]])


def flights_of(states: Float[Tensor, "b t n"], frame: Frame) -> list[Flight]:
    """Each flight, cut where it finally leaves the frame; flights that are never inside are omitted."""
    arrays = states.detach().cpu().double().numpy()
    return [_cut(flight, frame) for flight in arrays if frame.holds(flight[:, :2]).any()]


def _cut(states: Float[ndarray, "t n"], frame: Frame) -> Flight:
    last = int(np.flatnonzero(frame.holds(states[:, :2]))[-1])
    if last == len(states) - 1:
        return Flight(states=states, exit=None)
    return Flight(states=states[: last + 1], exit=frame.crossing(states[last, :2], states[last + 1, :2]))


def frame_of(panels: Sequence[Panel], *, margin: float = 0.6) -> Frame:
    """The window that holds all demonstrations, all flights of the expert and the goal, with a margin [m].

    The policies' flights are not considered: one that crashes would shrink all others to a dot.
    """
    if not panels:
        raise ShapeError("expected at least one panel of flights, got none.")
    shown = [group.detach().cpu().double() for panel in panels for group in (panel.demonstrations, panel.expert)]
    points = np.concatenate([[(0.0, 0.0)], *(group[..., :2].reshape(-1, 2).numpy() for group in shown)])
    low, high = points.min(axis=0) - margin, points.max(axis=0) + margin
    return Frame(left=float(low[0]), right=float(high[0]), bottom=float(low[1]), top=float(high[1]))


_SIDE, _BETWEEN, _BOTTOM, _TITLE, _SUBTITLE = 0.64, 0.30, 0.78, 12.0, 9.0


def panel_axes(
    panels: Sequence[Panel], frame: Frame, *, width: float, dpi: float = DPI, bottom: float = _BOTTOM
) -> tuple[Figure, list[Axes]]:
    """A figure `width` inches wide with one titled axes per panel, all showing the frame at equal scales in x and z."""
    count = len(panels)
    each = (width - _SIDE - 0.14 - _BETWEEN * (count - 1)) / count
    tall = each * frame.height / frame.width
    head = max(_head(panel, each) for panel in panels)
    height = bottom + tall + head
    figure = new_figure(width, height, dpi=dpi)
    boxes = [
        ((_SIDE + i * (each + _BETWEEN)) / width, bottom / height, each / width, tall / height) for i in range(count)
    ]
    every = [figure.add_axes(box) for box in boxes]
    for axes, panel in zip(every, panels, strict=True):
        _furnish(axes, panel, frame, each)
    for axes in every[1:]:
        axes.tick_params(labelleft=False)
    every[0].set_ylabel("height z [m]")
    return figure, every


def _lines(panel: Panel, inches: float) -> tuple[str, str]:
    return wrapped(panel.title, inches, 1.08 * _TITLE), wrapped(panel.subtitle, inches, _SUBTITLE)


def _head(panel: Panel, inches: float) -> float:
    """Height of a panel's title and subtitle [inches]."""
    title, subtitle = _lines(panel, inches)
    return 0.28 + (1.25 * _TITLE * (title.count("\n") + 1) + 1.3 * _SUBTITLE * (subtitle.count("\n") + 1)) / 72


def _furnish(axes: Axes, panel: Panel, frame: Frame, inches: float) -> None:
    title, subtitle = _lines(panel, inches)
    above: dict[str, Any] = {"xycoords": "axes fraction", "textcoords": "offset points", "va": "bottom"}
    lift = 9 + 1.3 * _SUBTITLE * (subtitle.count("\n") + 1)
    axes.annotate(subtitle, (0, 1), (0, 7), fontsize=_SUBTITLE, color=MUTED, **above)
    axes.annotate(title, (0, 1), (0, lift), fontsize=_TITLE, color=panel.colour, fontweight="bold", **above)
    axes.set(xlim=(frame.left, frame.right), ylim=(frame.bottom, frame.top), xlabel="position x [m]")
    for spine in axes.spines.values():
        spine.set_visible(True)
    axes.tick_params(length=0, pad=6)
    ticks = range(int(np.ceil(frame.left)), int(frame.right) + 1), range(int(np.ceil(frame.bottom)), int(frame.top) + 1)
    axes.set_xticks(_sparse(ticks[0]))
    axes.set_yticks(_sparse(ticks[1]))
    axes.plot([0], [0], marker="+", markersize=15, markeredgewidth=1.6, color=INK, zorder=6)
    axes.plot([0], [0], marker="o", markersize=8, markeredgewidth=1.2, markerfacecolor="none", color=INK, zorder=6)


def _sparse(ticks: Iterable[int]) -> list[int]:
    """Whole metres, or every second or fifth of them, including zero."""
    whole = list(ticks)
    step = next(step for step in (1, 2, 5, 10, len(whole) + 1) if len(whole) / step <= 9)
    return [tick for tick in whole if tick % step == 0]


Lines: TypeAlias = Float[ndarray, "points 2"]
"""Polylines in the x-z plane [m], one after another, with a row of NaN after each."""

_BREAK = (np.nan, np.nan)
_ARM = np.array([(-1.0, 0.0), (1.0, 0.0), _BREAK])
# Two masts, and on each a rotor that reaches beyond the arm.
_ROTORS = np.array(
    [
        [(-1.0, 0.0), (-1.0, 0.38), _BREAK, (-1.55, 0.38), (-0.45, 0.38), _BREAK],
        [(1.0, 0.0), (1.0, 0.38), _BREAK, (0.45, 0.38), (1.55, 0.38), _BREAK],
    ]
).reshape(-1, 2)


def arms(states: Float[ndarray, "b n"], size: float) -> Lines:
    """Bars between the rotors of each vehicle; `size` is half a bar's length [m].

    >>> arms(np.array([[1.0, 2.0, 0.0, 0.0, 0.0, 0.0]]), size=0.5)[:2]
    array([[0.5, 2. ],
           [1.5, 2. ]])
    """
    return _placed(_ARM, states, size)


def rotors(states: Float[ndarray, "b n"], size: float) -> Lines:
    """Masts and rotors above the bars of `arms`."""
    return _placed(_ROTORS, states, size)


def _placed(shape: Float[ndarray, "corners 2"], states: Float[ndarray, "b n"], size: float) -> Lines:
    # A positive pitch turns the thrust towards −x: ẍ = −F sin φ / m. So it is counter-clockwise in the x-z plane.
    cos, sin = np.cos(states[:, 2]), np.sin(states[:, 2])
    turn = np.stack([np.stack([cos, -sin], -1), np.stack([sin, cos], -1)], -2)
    placed = states[:, None, :2] + size * np.einsum("bij,pj->bpi", turn, shape)
    return placed.reshape(-1, 2)
