"""A small vision transformer: patches as tokens, and their mean as features.

Dosovitskiy et al. 2021 (arXiv 2010.11929), with learned positions, and the mean of the tokens in place of a class
token (Beyer et al. 2022, arXiv 2205.01580).
"""

from dataclasses import dataclass
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ...errors import RecipeError, at_least
from ..attention import TransformerBlock, check_tokens, first_weights
from .encoder import EncoderOptions, Features, PictureEncoder, Pixels


@dataclass(frozen=True)
class SmallVit(EncoderOptions):
    """Options of a small vision transformer.

    Attributes:
        patch: Height and width of a patch in pixels, which divide those of the picture.
        width: Numbers of a token.
        layers: Number of transformer blocks.
        heads: Number of attention heads.
        features: Number of features.
    """

    patch: int = 12
    width: int = 128
    layers: int = 4
    heads: int = 4
    features: int = 64

    def __post_init__(self) -> None:
        check_tokens(width=self.width, heads=self.heads, layers=self.layers)
        at_least(1, patch=self.patch, features=self.features)

    @property
    def n_features(self) -> int:
        return self.features

    def build(self, channels: int, size: tuple[int, int]) -> "SmallVitNet":
        if size[0] % self.patch or size[1] % self.patch:
            raise RecipeError(
                f"pictures of {size[0]} × {size[1]} pixels are not divided into patches of {self.patch} × {self.patch} "
                "pixels. Choose another crop of the pictures, or another patch."
            )
        return SmallVitNet(self, channels, size)


class SmallVitNet(PictureEncoder):
    """A small vision transformer."""

    def __init__(self, options: SmallVit, channels: int, size: tuple[int, int]) -> None:
        super().__init__()
        count = (size[0] // options.patch) * (size[1] // options.patch)
        self.patches = nn.Conv2d(channels, options.width, options.patch, options.patch)
        self.positions = nn.Parameter(torch.empty(count, options.width))
        self.blocks = nn.ModuleList(TransformerBlock(options.width, options.heads) for _ in range(options.layers))
        self.norm = nn.LayerNorm(options.width)
        self.head = nn.Linear(options.width, options.features)
        first_weights(self, additions=2 * options.layers)
        nn.init.normal_(self.positions, std=0.02)

    def forward(self, pictures: Pixels) -> Features:
        return cast(Tensor, self.head(self.transformed(self.tokens(pictures)).mean(dim=1)))

    def tokens(self, pictures: Pixels) -> Float[Tensor, "b n w"]:
        """A token for each patch, row by row, with its position."""
        return cast(Tensor, self.patches(pictures)).flatten(2).mT + self.positions

    def transformed(self, tokens: Float[Tensor, "b n w"]) -> Float[Tensor, "b n w"]:
        """The tokens after all blocks, of any of the patches, normalised."""
        for block in self.blocks:
            tokens, _ = cast(TransformerBlock, block)(tokens)
        return cast(Tensor, self.norm(tokens))
