# matplotlib's stubs leave keyword arguments without a type.
# pyright: reportUnknownMemberType=false
"""Rows of small pictures under one another, each row with a line on what it shows."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from jaxtyping import Float
from torch import Tensor, nn

from .palette import new_figure, save, style

PICTURE = 1.1
"""Width of a picture [inch]."""
LEAST = 4.4
"""Smallest width of a row [inch]: a title needs it."""
MARGIN, TITLE, LINE = 0.12, 0.22, 0.24
"""Margins, and heights of the title and of the line above each row [inch]."""
GAP = 1
"""Width of the grey frame of a picture [px]."""


def draw_picture_rows(path: Path, rows: Mapping[str, Float[Tensor, "n channels height width"]], title: str) -> Path:
    """Write rows of pictures as PNG.

    Args:
        path: File.
        rows: Pictures in [-1, 1] by what they show; all rows have one number of pictures.
        title: Title of the figure.
    """
    strips = {name: _strip(pictures) for name, pictures in rows.items()}
    height, width, _ = next(iter(strips.values())).shape
    wide = max(len(next(iter(rows.values()))) * PICTURE, LEAST)
    high = wide * height / width
    inches = 2 * MARGIN + wide, 2 * MARGIN + TITLE + len(strips) * (LINE + high) + (len(strips) - 1) * MARGIN
    with style():
        figure = new_figure(*inches)
        for place, (name, strip) in enumerate(strips.items()):
            # pictures and their lines begin at one margin, below the title, with nothing between them but a margin
            top = MARGIN + TITLE + place * (LINE + high + MARGIN) + LINE
            left, below = MARGIN / inches[0], 1 - (top + high) / inches[1]
            axis = figure.add_axes((left, below, wide / inches[0], high / inches[1]))
            axis.imshow(strip, interpolation="nearest", aspect="auto")
            axis.set_title(name, loc="left", pad=4)
            axis.set_axis_off()
            axis.set(xticks=[], yticks=[])
        figure.text(
            MARGIN / inches[0], 1 - MARGIN / inches[1], title, va="top", ha="left", fontsize=10.5, weight="bold"
        )
        return save(figure, path)


def _strip(pictures: Float[Tensor, "n channels height width"]) -> Float[np.ndarray, "strip_height strip_width 3"]:
    """Pictures side by side, in [0, 1]; one channel is grey, and of more than three the first three are shown."""
    colours = pictures[:, :1].expand(-1, 3, -1, -1) if pictures.shape[1] < 3 else pictures[:, :3]
    framed = nn.functional.pad((colours.detach().float().cpu() + 1) / 2, (GAP, GAP, GAP, GAP), value=0.6)
    side_by_side = framed.clamp(0, 1).permute(2, 0, 3, 1)
    return side_by_side.flatten(1, 2).numpy()
