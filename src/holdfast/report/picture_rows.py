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
    count = len(next(iter(rows.values())))
    inches = count * PICTURE
    with style():
        figure = new_figure(inches, len(strips) * (inches * height / width + 0.3) + 0.5)
        for place, (name, strip) in enumerate(strips.items(), start=1):
            axis = figure.add_subplot(len(strips), 1, place)
            axis.imshow(strip, interpolation="nearest")
            axis.set_title(name, loc="left")
            axis.set_axis_off()
        figure.suptitle(title, x=0.01, ha="left")
        return save(figure, path)


def _strip(pictures: Float[Tensor, "n channels height width"]) -> Float[np.ndarray, "strip_height strip_width 3"]:
    """Pictures side by side, in [0, 1]; one channel is grey, and of more than three the first three are shown."""
    colours = pictures[:, :1].expand(-1, 3, -1, -1) if pictures.shape[1] < 3 else pictures[:, :3]
    framed = nn.functional.pad((colours.detach().float().cpu() + 1) / 2, (GAP, GAP, GAP, GAP), value=0.6)
    side_by_side = framed.clamp(0, 1).permute(2, 0, 3, 1)
    return side_by_side.flatten(1, 2).numpy()
