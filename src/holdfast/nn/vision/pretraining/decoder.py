"""A decoder from a vector to a picture: a small grid, doubled four times."""

from itertools import pairwise
from typing import cast

from jaxtyping import Float
from torch import Tensor, nn

from ..encoder import Pixels

WIDTHS = (64, 64, 32, 16)
"""Channels of the grid, and after each doubling but the last."""
HIDDEN = 256


class PictureDecoder(nn.Module):
    """Vectors `[b, z]` → pictures `[b, channels, height, width]`.

    A perceptron gives maps of 1/16 of the picture's sides. Three times they are doubled (nearest neighbour) and
    convolved, and at last each cell becomes four pixels (Shi et al. 2016, arXiv 1609.05158); what is more than the
    picture is cut off.
    """

    def __init__(self, latent: int, channels: int, size: tuple[int, int]) -> None:
        super().__init__()
        self.size = size
        grid = [-(-side // 2 ** len(WIDTHS)) for side in size]
        self.first = nn.Sequential(
            nn.Linear(latent, HIDDEN),
            nn.ReLU(),
            nn.Linear(HIDDEN, WIDTHS[0] * grid[0] * grid[1]),
            nn.Unflatten(1, (WIDTHS[0], *grid)),
        )
        self.layers = nn.ModuleList(nn.Conv2d(count, width, 3, padding=1) for count, width in pairwise(WIDTHS))
        self.last = nn.Sequential(nn.Conv2d(WIDTHS[-1], 4 * channels, 3, padding=1), nn.PixelShuffle(2))

    def forward(self, latent: Float[Tensor, "b z"]) -> Pixels:
        """The decoded pictures."""
        maps = cast(Tensor, self.first(latent))
        for layer in self.layers:
            maps = cast(Tensor, layer(nn.functional.interpolate(maps.relu(), scale_factor=2)))
        return cast(Tensor, self.last(maps.relu()))[..., : self.size[0], : self.size[1]]
