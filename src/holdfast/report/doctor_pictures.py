# matplotlib's stubs leave keyword arguments without a type.
# pyright: reportUnknownMemberType=false
"""Figures of `holdfast inspect`: ranges of coordinates, lags, pauses, episode lengths and coverage."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float, Int
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator
from numpy import ndarray

from .labels import End, headline, label_ends, plain_ticks
from .palette import DEMONSTRATION, GAINS, GRID, INK, MUTED, OTHERS, RAW_ACTIONS, REFERENCE, new_figure, save, style

SIGMAS = (0.03, 0.1, 0.3)
MOST_STRIPS = 64


@runtime_checkable
class Strip(Protocol):
    """Distribution of a coordinate: label, smallest and largest value, 1 % and 99 % quantiles, and equal bins."""

    @property
    def label(self) -> str: ...

    @property
    def low(self) -> float: ...

    @property
    def high(self) -> float: ...

    @property
    def q01(self) -> float: ...

    @property
    def q99(self) -> float: ...

    @property
    def counts(self) -> Int[ndarray, " bins"]: ...


@runtime_checkable
class Curve(Protocol):
    """Squared correlation of an action with a coordinate some steps later, at each lag, and the best lag."""

    @property
    def label(self) -> str: ...

    @property
    def steps(self) -> Sequence[int]: ...

    @property
    def agreement(self) -> Float[ndarray, " lags"]: ...

    @property
    def best(self) -> int: ...


@runtime_checkable
class Spread(Protocol):
    """Distances of starts and of states on paths to other episodes; disagreement of actions at each distance."""

    @property
    def starts(self) -> Float[ndarray, " starts"]: ...

    @property
    def paths(self) -> Float[ndarray, " steps"]: ...

    @property
    def distances(self) -> Float[ndarray, " bins"]: ...

    @property
    def disagreement(self) -> Float[ndarray, " bins"]: ...


def draw_strips(path: Path, strips: Sequence[Strip]) -> Path:
    """One row per coordinate: distribution between its smallest (-1) and largest value (1).

    The thin line spans the values between the 1 % and 99 % quantiles. At most 64 coordinates are drawn.
    """
    shown = strips[:MOST_STRIPS]
    ramp = LinearSegmentedColormap.from_list("steps", ["#ffffff", "#cfe3f3", GAINS, "#063a5e"])
    wide, row, head, foot = 8.0, 0.235, 0.72, 0.55
    tall = head + foot + row * len(shown)
    with style():
        figure = new_figure(wide, tall)
        axes = figure.add_axes((0.31, foot / tall, 0.49, row * len(shown) / tall))
        for place, strip in enumerate(shown):
            _strip(axes, strip, place, ramp)
        axes.set(xlim=(-1.02, 1.02), ylim=(len(shown) - 0.5, -0.5), xlabel="scaled value")
        axes.set_yticks(range(len(shown)), [_shorten(strip.label) for strip in shown])
        axes.grid(visible=False)
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        rest = "" if len(shown) == len(strips) else f"; the first {len(shown)} of {len(strips)} coordinates"
        # the title begins at the picture's edge, since the axes leave room for long names
        whole = figure.add_axes((0.05, foot / tall, 0.9, row * len(shown) / tall), frame_on=False, xticks=[], yticks=[])
        subtitle = f"dark: many steps; line: 98 % of them; right: smallest and largest value{rest}"
        headline(whole, _strips_finding(shown), subtitle)
        return save(figure, path)


def _strip(axes: Axes, strip: Strip, place: int, ramp: LinearSegmentedColormap) -> None:
    counts = strip.counts.astype(np.float64)
    # the square root keeps rare values visible next to a peak
    heights = np.sqrt(counts / max(float(counts.max()), 1.0))[None]
    axes.imshow(heights, extent=(-1, 1, place + 0.34, place - 0.34), aspect="auto", cmap=ramp, vmin=0, vmax=1)
    axes.add_patch(_frame(place))
    if strip.high > strip.low:
        ends = [2 * (q - strip.low) / (strip.high - strip.low) - 1 for q in (strip.q01, strip.q99)]
        axes.plot(ends, [place + 0.42] * 2, color=INK, linewidth=1.1, solid_capstyle="butt", zorder=4)
    text = f"{strip.low:.4g} … {strip.high:.4g}" if strip.high > strip.low else f"always {strip.low:.4g}"
    axes.annotate(text, (1, place), (8, 0), textcoords="offset points", fontsize=7.5, color=MUTED, va="center")


def _frame(place: int) -> Rectangle:
    return Rectangle((-1, place - 0.34), 2, 0.68, fill=False, edgecolor="#c3c9cf", linewidth=0.6, zorder=3)


def _shorten(label: str, most: int = 30) -> str:
    return label if len(label) <= most else f"{label[: most - 1]}…"


def _strips_finding(strips: Sequence[Strip]) -> str:
    ranged = [strip for strip in strips if strip.high > strip.low]
    if not ranged:
        return "No coordinate changes"
    worst = min(ranged, key=lambda strip: (strip.q99 - strip.q01) / (strip.high - strip.low))
    filled = (worst.q99 - worst.q01) / (worst.high - worst.low)
    return f"98 % of the steps use {100 * filled:.0f} % of the range or more"


def draw_lengths(path: Path, lengths: Sequence[int], dt: float | None) -> Path:
    """Distribution of episode lengths; the line is the median."""
    values = np.asarray(lengths)
    low, high = int(values.min()), int(values.max())
    edges = np.linspace(low, high, min(41, high - low + 2)) if high > low else np.array([low - 0.5, low + 0.5])
    with style():
        figure = new_figure(8.0, 2.9)
        axes = figure.add_axes((0.08, 0.17, 0.88, 0.6))
        axes.hist(values, bins=list(edges), color=GAINS, alpha=0.85)
        median = float(np.median(values))
        axes.axvline(median, color=INK, linewidth=1.2, linestyle=(0, (4, 2)))
        axes.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=5))
        axes.set(xlabel="steps of an episode", ylabel="episodes", xlim=(0, None))
        seconds = "" if dt is None else f" = {median * dt:.3g} s"
        title = (
            f"{len(values)} episodes of {low} to {high} steps"
            if high > low
            else f"{len(values)} episodes of {low} steps"
        )
        headline(axes, title, f"dashed: the median, {median:g} steps{seconds}")
        return save(figure, path)


def draw_lags(path: Path, curves: Sequence[Curve], dt: float | None) -> Path:
    """Squared correlation of each action with the state some steps later; dots mark the best lag."""
    many = len(curves) > 6
    with style():
        figure = new_figure(8.0, 3.6)
        axes = figure.add_axes((0.08, 0.145, 0.88 if many else 0.64, 0.66))
        inks = (GAINS, RAW_ACTIONS, *OTHERS)
        for place, curve in enumerate(curves):
            ink = GAINS if many else inks[place % len(inks)]
            axes.plot(
                list(curve.steps), curve.agreement, color=ink, linewidth=1.0 if many else 1.8, alpha=0.5 if many else 1
            )
            axes.plot([curve.best], [curve.agreement[curve.best]], "o", color=ink, markersize=4.5, zorder=4)
        last = max(max(curve.steps) for curve in curves)
        axes.set(xlim=(0, last + 0.15), ylim=(0, 1.04), xlabel=_steps_label(dt), ylabel="squared correlation")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        if not many:
            ends = [End(c.label, float(c.agreement[-1]), inks[i % len(inks)]) for i, c in enumerate(curves)]
            label_ends(axes, ends, x=float(max(curves[0].steps)))
        bests = sorted(curve.best for curve in curves)
        told = f"{bests[0]} steps" if bests[0] == bests[-1] else f"{bests[0]} to {bests[-1]} steps"
        headline(axes, f"The state answers an action {told} later", "one line an action coordinate; dots: its best lag")
        return save(figure, path)


def _steps_label(dt: float | None) -> str:
    return "lag [steps]" if dt is None else f"lag [steps of {dt:.3g} s]"


def draw_idle(path: Path, idle: Mapping[int, Bool[ndarray, " steps"]]) -> Path:
    """One bar per episode, red where nothing moves."""
    count = len(idle)
    tall = 1.15 + max(0.16 * count, 0.5)
    with style():
        figure = new_figure(8.0, tall)
        axes = figure.add_axes((0.08, 0.47 / tall, 0.88, (tall - 1.15) / tall))
        for place, mask in enumerate(idle.values()):
            axes.barh(place, len(mask), height=0.62, color=GRID, zorder=2)
            edges = np.flatnonzero(np.diff(mask.astype(np.int8), prepend=0, append=0)).reshape(-1, 2)
            axes.broken_barh([(a, b - a) for a, b in edges.tolist()], (place - 0.31, 0.62), color=RAW_ACTIONS, zorder=3)
        axes.set(ylim=(count - 0.5, -0.5), xlim=(0, max(map(len, idle.values()))), xlabel="step", ylabel="episode")
        kept = range(0, count, max(1, count // 20))
        names = list(idle)
        axes.set_yticks(list(kept), [str(names[place]) for place in kept])
        axes.grid(visible=False, axis="y")
        resting = sum(int(mask.sum()) for mask in idle.values()) / sum(map(len, idle.values()))
        headline(
            axes,
            f"Nothing moves in {100 * resting:.2g} % of these steps",
            f"red: idle; the {count} episodes that pause most",
        )
        return save(figure, path)


def draw_coverage(path: Path, spread: Spread) -> Path:
    """Left: distances to other episodes; right: disagreement of actions at each distance."""
    with style():
        figure = new_figure(8.6, 3.7)
        left, right = figure.add_axes((0.075, 0.14, 0.4, 0.6)), figure.add_axes((0.575, 0.14, 0.4, 0.6))
        smallest, far = _first_decade(spread), max([1.0, *spread.distances.tolist(), *spread.starts.tolist()])
        _draw_distances(left, spread, smallest)
        for axes in (left, right):
            _distance_axis(axes, smallest, far)
        _draw_disagreement(right, spread)
        return save(figure, path)


def _draw_distances(axes: Axes, spread: Spread, smallest: float) -> None:
    for values, ink, name in ((spread.paths, GAINS, "steps"), (spread.starts, RAW_ACTIONS, "starts")):
        ordered = np.sort(np.maximum(values, smallest))
        shares = np.arange(1, len(ordered) + 1) / max(len(ordered), 1)
        axes.step(ordered, shares, where="post", color=ink, linewidth=1.8, label=name)
    axes.legend(frameon=False, loc="upper left", fontsize=8.5)
    axes.set(ylim=(0, 1.03), ylabel="share")
    middle = float(np.median(spread.paths)) if len(spread.paths) else 0.0
    title = f"Half the steps have another episode within {middle:.2g}"
    headline(axes, title, "distance to the nearest one", points=10.0, inches=3.6)


def _draw_disagreement(axes: Axes, spread: Spread) -> None:
    axes.plot(spread.distances, spread.disagreement, "o-", color=GAINS, linewidth=1.6, markersize=3.5)
    axes.axhline(1.0, color=REFERENCE, linewidth=1.0, linestyle=(0, (4, 2)))
    axes.set(ylim=(0, max(1.15, min(3.0, float(spread.disagreement.max(initial=0.0)) * 1.05))))
    axes.set_ylabel("difference of action chunks")
    title = "Nearby steps are answered alike" if _alike(spread) else "Even near steps are answered differently"
    headline(axes, title, "as a share of unrelated ones (dashed)", points=10.0, inches=3.6)


def _first_decade(spread: Spread) -> float:
    """Lower limit of the axis: 0.01, or 0.001 if any distance is that small."""
    seen = np.concatenate([spread.paths, spread.starts])
    return 0.01 if len(seen) and float(np.quantile(seen, 0.02)) >= 0.01 else 0.001


def _alike(spread: Spread) -> bool:
    return len(spread.disagreement) == 0 or float(spread.disagreement[0]) < 0.25


def _distance_axis(axes: Axes, low: float, high: float) -> None:
    axes.set_xscale("log")
    axes.set_xlim(low, high)
    plain_ticks(axes.xaxis, [low, 0.01, *SIGMAS, 1.0])
    axes.set_xlabel("distance, in units of σ")
    for sigma in SIGMAS:
        axes.axvline(sigma, color=DEMONSTRATION, linewidth=0.9, zorder=1)
