# matplotlib's stubs leave keyword arguments without a type.
# pyright: reportUnknownMemberType=false
"""Animation of flights from the same starts, one panel per policy."""

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from jaxtyping import Float, UInt8
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Text
from numpy import ndarray
from PIL import Image

from ..atomic import write_atomically
from .flight_panels import Flight, Frame, Lines, Panel, arms, flights_of, frame_of, panel_axes, rotors
from .palette import DEMONSTRATION, EXPERT, MUTED, style, tint

_BODY = 0.026
_TRAIL = 26
"""Number of steps over which a trail fades."""
_DPI = 100.0
_KEY = "gray vehicle: the expert from the same start · gray line: demonstration"
_STILL = 1500
"""Duration of the last frame before the animation restarts [ms]."""


def animate_flights(
    path: Path, panels: Sequence[Panel], *, dt: float, seconds: float | None = None, every: int = 1, width: float = 9.0
) -> Path:
    """A looping GIF in real time: vehicles with fading trails, the expert's vehicle in grey, and the time.

    A cross at the edge marks a vehicle that finally left the window. Up to six starts are easy to follow.

    Args:
        path: File of the GIF.
        panels: One panel per policy, all from the same initial states.
        dt: Control step [s]. GIF has a resolution of 0.01 s, and most viewers a minimum of 0.02 s.
        seconds: Part of the flights to show [s]. Default: all.
        every: Number of steps per frame.
        width: Width of the picture [inches, at 100 dots per inch].
    """
    frame = frame_of(panels)
    last = panels[0].flights.shape[1] - 1
    last = last if seconds is None else min(last, round(seconds / dt))
    with style():
        figure, axes_of = panel_axes(panels, frame, width=width, dpi=_DPI)
        actors = [_Actors.on(axes, panel, frame) for axes, panel in zip(axes_of, panels, strict=True)]
        figure.text(0.01, 0.03, _KEY, color=MUTED, fontsize=9)
        clock = figure.text(0.992, 0.03, "", ha="right", color=MUTED, fontsize=10, animated=True)
        steps = [*range(0, last, every), last]
        pictures = list(_shoot(figure, actors, clock, steps, dt))
    return write_atomically(path, _gif(pictures, round(1000 * dt * every)))


@dataclass(frozen=True)
class _Actors:
    """Moving parts of one panel."""

    axes: Axes
    flights: list[Flight]
    expert: Float[ndarray, "b t n"]
    size: float
    colour: str
    trails: LineCollection
    exits: Line2D
    ghosts: tuple[Line2D, Line2D]
    bodies: tuple[Line2D, Line2D]
    count: Text

    @staticmethod
    def on(axes: Axes, panel: Panel, frame: Frame) -> "_Actors":
        _scenery(axes, panel, frame)
        ghost, bright = tint(EXPERT, 0.55), panel.colour
        trails = LineCollection([], linewidths=2.2, capstyle="round", zorder=4, animated=True)
        axes.add_collection(trails)
        return _Actors(
            axes=axes,
            flights=flights_of(panel.flights, frame),
            expert=panel.expert.detach().cpu().double().numpy(),
            size=_BODY * frame.width,
            colour=panel.colour,
            trails=trails,
            exits=_line(axes, bright, 0.0, zorder=7, marker="X", clipped=False),
            ghosts=(_line(axes, ghost, 2.6, zorder=3), _line(axes, ghost, 1.0, zorder=3)),
            bodies=(_line(axes, bright, 3.4, zorder=6), _line(axes, bright, 1.3, zorder=6)),
            count=_corner(axes, bright),
        )

    def move(self, step: int) -> None:
        """Move all parts to their places at a step."""
        _pose(self.ghosts, self.expert[:, min(step, self.expert.shape[1] - 1)], self.size)
        aloft = [flight.states[step] for flight in self.flights if step < len(flight.states)]
        _pose(self.bodies, np.array(aloft).reshape(len(aloft), self.expert.shape[-1]), self.size)
        gone = [f.exit for f in self.flights if f.exit is not None and step >= len(f.states)]
        self.exits.set_data(*np.array(gone).reshape(-1, 2).T)
        pieces = [_fading(flight, step) for flight in self.flights]
        self.trails.set_segments(cast("Any", np.concatenate([segments for segments, _ in pieces])))
        self.trails.set_color([tint(self.colour, float(w)) for _, white in pieces for w in white])
        self.count.set_text(f"{len(gone)} of {len(self.flights)} lost" if gone else "")

    @property
    def artists(self) -> tuple[Artist, ...]:
        """All parts, from back to front."""
        return (*self.ghosts, self.trails, *self.bodies, self.exits, self.count)


def _scenery(axes: Axes, panel: Panel, frame: Frame) -> None:
    for flight in flights_of(panel.demonstrations, frame):
        axes.plot(*flight.path.T, color=tint(DEMONSTRATION, 0.35), linewidth=1.2, zorder=2)
    starts = [flight.states[0, :2] for flight in flights_of(panel.flights, frame)]
    if starts:
        axes.plot(*np.array(starts).T, "o", markersize=5, color="white", markeredgecolor=panel.colour, zorder=3)


def _line(axes: Axes, colour: str, width: float, *, zorder: int, marker: str = "", clipped: bool = True) -> Line2D:
    cross: dict[str, Any] = {"markersize": 10, "markeredgecolor": "white", "markeredgewidth": 0.8}
    line = Line2D([], [], color=colour, linewidth=width, zorder=zorder, marker=marker, **cross)
    line.set_animated(True)
    axes.add_line(line)
    line.set_clip_on(clipped)
    return line


def _corner(axes: Axes, colour: str) -> Text:
    text = axes.text(0.975, 0.03, "", transform=axes.transAxes, ha="right", color=colour, fontweight="bold", zorder=8)
    text.set_animated(True)
    return text


def _pose(lines: tuple[Line2D, Line2D], states: Float[ndarray, "b n"], size: float) -> None:
    lines[0].set_data(*arms(states, size).T)
    lines[1].set_data(*rotors(states, size).T)


def _fading(flight: Flight, step: int) -> tuple[Float[ndarray, "pieces 2 2"], Float[ndarray, " pieces"]]:
    """The path so far in pieces of one step, and the share of white in their colours: older pieces are paler."""
    flown: Lines = flight.path[: step + 1]
    pieces = np.stack([flown[:-1], flown[1:]], axis=1)
    age = step - np.arange(1, len(pieces) + 1)
    # mixed with white, because the round ends of transparent pieces would show as beads
    return pieces, 0.80 - 0.70 * np.clip(1 - age / _TRAIL, 0, 1) ** 1.5


def _shoot(
    figure: Figure, actors: Sequence[_Actors], clock: Text, steps: Sequence[int], dt: float
) -> Iterator[UInt8[ndarray, "height width 3"]]:
    """One frame per step; the static scenery is rendered once."""
    canvas = cast("FigureCanvasAgg", figure.canvas)
    canvas.draw()
    scenery: Any = cast("Any", canvas).copy_from_bbox(figure.bbox)
    for step in steps:
        cast("Any", canvas).restore_region(scenery)
        clock.set_text(f"t = {step * dt:.2f} s")
        figure.draw_artist(clock)
        for panel in actors:
            panel.move(step)
            for artist in panel.artists:
                panel.axes.draw_artist(artist)
        yield np.asarray(canvas.buffer_rgba())[..., :3].copy()


def _gif(pictures: Sequence[UInt8[ndarray, "height width 3"]], milliseconds: int) -> bytes:
    """Frames as a looping GIF with one common palette, so that only differences are stored."""
    palette = _palette(pictures)
    reduced = [Image.fromarray(p).quantize(palette=palette, dither=Image.Dither.NONE) for p in pictures]
    durations = [milliseconds] * (len(reduced) - 1) + [max(_STILL, milliseconds)]
    buffer = io.BytesIO()
    reduced[0].save(buffer, "GIF", save_all=True, append_images=reduced[1:], duration=durations, loop=0, optimize=False)
    return buffer.getvalue()


def _palette(pictures: Sequence[UInt8[ndarray, "height width 3"]]) -> Image.Image:
    """Up to 128 colours, weighted by the root of their area; otherwise white would take most of them."""
    sample = np.concatenate([p.reshape(-1, 3) for p in pictures[:: max(1, len(pictures) // 6)]])
    colours, counts = np.unique(sample, axis=0, return_counts=True)
    weighed = np.repeat(colours, np.ceil(np.sqrt(counts)).astype(int), axis=0)
    palette = Image.fromarray(weighed[None]).quantize(colors=128, method=Image.Quantize.MEDIANCUT)
    entries = np.array(palette.getpalette()).reshape(-1, 3)
    # averaging makes white slightly grey, which would be visible on a white page
    entries[(entries > 248).all(axis=1)] = 255
    palette.putpalette(entries.flatten().tolist())
    return palette
