# matplotlib's stubs leave keyword arguments without a type.
# pyright: reportUnknownMemberType=false
"""Figure of a tokenizer: a chunk before and after, the error of each step, the effect of one wrong token."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from numpy import ndarray

from .labels import headline
from .palette import DEMONSTRATION, GAINS, OTHERS, RAW_ACTIONS, new_figure, save, style

MOST_COORDINATES = 6


def draw_tokenizer(
    path: Path,
    *,
    name: str,
    original: Float[ndarray, "h w"],
    decoded: Float[ndarray, "h w"],
    tokens: int,
    error_at_step: Sequence[float],
    sensitivity_at: Sequence[float],
    dt: float | None = None,
) -> Path:
    """Left: a chunk and its reconstruction; right: the error of each step and the effect of a wrong token.

    Args:
        path: File of the PNG.
        name: Name of the tokenizer.
        original: A chunk in normalised units; at most 6 coordinates are drawn.
        decoded: The chunk decoded from its tokens.
        tokens: Number of tokens.
        error_at_step: Root mean square round-trip error of each chunk step.
        sensitivity_at: Change of a chunk for a wrong token at each position; NaN where not measured.
        dt: Control step [s], if known.
    """
    with style():
        figure = new_figure(9.2, 4.4)
        left = figure.add_axes((0.065, 0.115, 0.47, 0.7))
        above, below = figure.add_axes((0.63, 0.61, 0.35, 0.205)), figure.add_axes((0.63, 0.115, 0.35, 0.205))
        _draw_chunk(left, original, decoded)
        rest = "" if original.shape[1] <= MOST_COORDINATES else f"; {MOST_COORDINATES} of {original.shape[1]} numbers"
        left.set(xlabel=_steps(dt), ylabel="normalized units")
        subtitle = f"gray: the chunk; colored: decoded from {tokens} tokens{rest}"
        headline(left, f"{name}: a chunk and its tokens", subtitle, points=10.0, inches=4.4)
        _draw_bars(above, error_at_step, GAINS)
        above.set_xlabel("step of the chunk")
        headline(above, "What is lost", "root mean square error of each step", points=10.0, inches=3.2)
        _draw_bars(below, sensitivity_at, RAW_ACTIONS)
        below.set_xlabel("place of the token")
        headline(below, "What one wrong token costs", "mean of the largest move of a step", points=10.0, inches=3.2)
        return save(figure, path)


def _draw_chunk(axes: Axes, original: Float[ndarray, "h w"], decoded: Float[ndarray, "h w"]) -> None:
    inks = (GAINS, RAW_ACTIONS, *OTHERS)
    steps = list(range(len(original)))
    for place in range(min(original.shape[1], MOST_COORDINATES)):
        axes.plot(steps, original[:, place], color=DEMONSTRATION, linewidth=3.0, zorder=2)
        axes.plot(steps, decoded[:, place], "o-", color=inks[place], linewidth=1.1, markersize=3.0, zorder=3)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def _draw_bars(axes: Axes, heights: Sequence[float], ink: str) -> None:
    values = np.nan_to_num(np.asarray(heights, dtype=np.float64))
    axes.bar(np.arange(len(values)), values, width=0.85, color=ink, alpha=0.85)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(nbins=4))
    axes.grid(visible=False, axis="x")
    axes.set_xlim(-0.6, len(values) - 0.4)


def _steps(dt: float | None) -> str:
    return "step" if dt is None else f"step [of {dt:.3g} s]"
