# matplotlib's stubs leave keyword arguments without a type.
# pyright: reportUnknownMemberType=false
"""Maps of numbers over two settings: one coloured cell with its number for each pair of levels."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.patches import Rectangle

from .palette import INK

HIGH_IS_DARK = LinearSegmentedColormap.from_list("high is dark", ["#eef3f6", "#8fd0c9", "#0b6fb3", "#1b2a57"])
"""Colours from low to high; `reversed()` for measures of which low is good, so that good is dark in every map."""
LIGHT = 0.55
"""Brightness of a cell above which its number is dark."""


def draw_map(
    axes: Axes,
    values: Mapping[tuple[float, float], float],
    levels: tuple[Sequence[float], Sequence[float]],
    *,
    norm: Any,
    colours: Any,
    shown: Callable[[float], str],
    points: float = 9.0,
) -> None:
    """Draw a map; cell (i, j) is centred at (i, j), and the caller names the ticks.

    Args:
        axes: Axes to draw into.
        values: Numbers by pairs of levels, across and up.
        levels: Levels across and levels up, in order.
        norm: Scale of the numbers.
        colours: Colour map.
        shown: Text of a number.
        points: Size of the text.
    """
    across, up = levels
    for (x, y), value in values.items():
        place, shade = (across.index(x), up.index(y)), colours(norm(value))
        corner = (place[0] - 0.5, place[1] - 0.5)
        axes.add_patch(Rectangle(corner, 1, 1, facecolor=shade, edgecolor="white", linewidth=1.0))
        # brightness of red, green and blue (ITU-R BT.601); numbers that are not finite have no colour
        light = 0.3 * shade[0] + 0.59 * shade[1] + 0.11 * shade[2] > LIGHT or shade[3] == 0
        axes.text(*place, shown(value), ha="center", va="center", fontsize=points, color=INK if light else "white")
    axes.set_xlim(-0.5, len(across) - 0.5)
    axes.set_ylim(-0.5, len(up) - 0.5)
    axes.grid(False)
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
