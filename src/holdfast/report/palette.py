# matplotlib's stubs leave keyword arguments without a type.
# pyright: reportUnknownMemberType=false
"""Common style of all figures: few colours, distinguishable for colour-blind readers, and light axes.

Colours have the same meaning in all figures: dark grey is the expert, red is cloning of raw actions, blue and teal are
cloning of gains, dashed grey are references without learning.
"""

import io
import textwrap
import warnings
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import LogFormatter, LogFormatterMathtext
from matplotlib.transforms import Bbox

from ..atomic import write_atomically
from ..printable import in_lines

INK = "#1f2933"
MUTED = "#5f6b76"
GRID = "#e6e9ec"
EXPERT = "#3d444c"
DEMONSTRATION = "#a9b0b8"
REFERENCE = "#868e96"
RAW_ACTIONS = "#d1431f"
GAINS = "#0b6fb3"
OTHERS = ("#0e8f86", "#5a4fb0", "#8c5a12", "#a8336e")
"""Colours of further arms and policies."""

DPI = 160.0


_STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "text.color": INK,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "axes.edgecolor": "#c3c9cf",
    "axes.labelcolor": MUTED,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.unicode_minus": True,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "xtick.color": "#c3c9cf",
    "ytick.color": "#c3c9cf",
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "xtick.minor.size": 0,
    "ytick.minor.size": 0,
    "lines.solid_capstyle": "round",
    "lines.dash_capstyle": "round",
    "path.simplify": True,
    # names from files may hold $ and \\, which are no formulas
    "text.parse_math": False,
}


def style() -> AbstractContextManager[None]:
    """Context manager with the common style; matplotlib's global settings are restored afterwards.

    Draw and save inside the block, since matplotlib makes ticks when it renders.
    """
    return matplotlib.rc_context(_STYLE)


def new_figure(width: float, height: float, *, dpi: float = DPI) -> Figure:
    """An empty figure of `width` × `height` inches on its own canvas, independent of pyplot's global state.

    >>> with style():
    ...     figure = new_figure(4.0, 3.0)
    >>> figure.canvas.get_width_height()
    (640, 480)
    """
    figure = Figure(figsize=(width, height), dpi=dpi)
    FigureCanvasAgg(figure)
    return figure


def save(figure: Figure, path: Path) -> Path:
    """Write the figure as PNG, atomically; names in it are shown as they are.

    The picture has the figure's size, and grows where a label, a legend or a long name would be cut off.
    """
    for text in figure.findobj(Text):
        text.set_text(in_lines(text.get_text()))
    for axis in (axis for axes in figure.axes for axis in (axes.xaxis, axes.yaxis)):
        _without_formulas(axis)
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        # letters that the font lacks are drawn as boxes
        warnings.filterwarnings("ignore", message="Glyph")
        figure.savefig(buffer, format="png", dpi=figure.dpi, bbox_inches=_with_all_text(figure))
    return write_atomically(path, buffer.getvalue())


def _with_all_text(figure: Figure) -> Bbox:
    """The figure's frame [inches], extended about content that is not within it, on each side by at most its size."""
    width, height = figure.get_size_inches()
    frame, drawn = Bbox.from_extents(0.0, 0.0, width, height), figure.get_tightbbox()
    if tuple(Bbox.union([frame, drawn]).extents) == tuple(frame.extents):
        return frame
    x0, y0, x1, y1 = Bbox.union([frame, drawn.padded(_MARGIN)]).extents
    # a name of thousands of letters has no place in any picture
    return Bbox.from_extents(max(x0, -width), max(y0, -height), min(x1, 2 * width), min(y1, 2 * height))


_MARGIN = 0.06


def _without_formulas(axis: Axis) -> None:
    """Write powers of ten on a logarithmic axis as plain numbers."""
    if isinstance(axis.get_major_formatter(), LogFormatterMathtext):
        axis.set_major_formatter(LogFormatter())
    if isinstance(axis.get_minor_formatter(), LogFormatterMathtext):
        axis.set_minor_formatter(LogFormatter(minor_thresholds=(1, 0.4)))


def tint(colour: str, white: float) -> str:
    """A colour mixed with a share of white, 0 (as it is) to 1 (white).

    >>> tint("#000000", 1.0)
    '#ffffff'
    """
    red, green, blue = (channel + (1 - channel) * white for channel in to_rgb(colour))
    return to_hex((red, green, blue))


def wrapped(text: str, inches: float, points: float) -> str:
    """Text broken into lines of about equal length that fit a width [inches] at a font size [points]."""
    # Letters of DejaVu Sans are 0.52 em wide on average; measuring would need a renderer.
    widest = max(8, int(inches * 72 / (0.52 * points)))
    lines = len(textwrap.wrap(text, widest))
    narrowest = next((w for w in range(8, widest) if len(textwrap.wrap(text, w)) <= lines), widest)
    return textwrap.fill(text, narrowest)
