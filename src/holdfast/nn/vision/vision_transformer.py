"""The vision transformer of pre-trained towers (Dosovitskiy et al. 2021, arXiv 2010.11929).

    tokens = [class token, patches · W + b] + positions
    tokens ← tokens + s₁ · attention(norm(tokens)),     tokens ← tokens + s₂ · mlp(norm(tokens))

DINOv2 has scales s of each branch (Touvron et al. 2021, arXiv 2103.17239), CLIP a normalisation before the first block,
SigLIP no class token but attention of one learned query over the tokens.
"""

from dataclasses import dataclass
from typing import Literal, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

Activation = Literal["gelu", "quick_gelu", "gelu_tanh"]
Tokens = Float[Tensor, "b n width"]


@dataclass(frozen=True)
class TowerSizes:
    """Sizes and parts of a tower.

    Attributes:
        patch: Height and width of a patch [px].
        width: Numbers of a token.
        layers: Number of blocks.
        heads: Number of attention heads.
        hidden: Numbers between the two layers of an MLP.
        activation: Between these layers; "quick_gelu" is x · sigmoid(1.702 x).
        eps: Added to the variance in normalisations.
        scaled: Branches have learned scales.
        class_token: A learned token stands first and gives the features; otherwise a learned query collects them.
        patch_bias: The projection of patches has a bias.
        first_norm: Tokens are normalised before the first block.
    """

    patch: int
    width: int
    layers: int
    heads: int
    hidden: int
    activation: Activation
    eps: float
    scaled: bool = False
    class_token: bool = True
    patch_bias: bool = True
    first_norm: bool = False


class VisionTransformer(nn.Module):
    """Normalised pixels `[b, 3, height, width]` → features `[b, width]`."""

    def __init__(self, sizes: TowerSizes, size: tuple[int, int]) -> None:
        super().__init__()
        width, count = sizes.width, (size[0] // sizes.patch) * (size[1] // sizes.patch)
        self.patches = nn.Conv2d(3, width, sizes.patch, sizes.patch, bias=sizes.patch_bias)
        self.token = nn.Parameter(torch.randn(width) * 0.02) if sizes.class_token else None
        self.positions = nn.Parameter(torch.randn(count + sizes.class_token, width) * 0.02)
        self.first_norm = nn.LayerNorm(width, sizes.eps) if sizes.first_norm else nn.Identity()
        self.blocks = nn.ModuleList(Block(sizes) for _ in range(sizes.layers))
        self.norm = nn.LayerNorm(width, sizes.eps)
        self.collected = None if sizes.class_token else Collected(sizes)

    def forward(self, pixels: Float[Tensor, "b 3 height width"]) -> Float[Tensor, "b f"]:
        """Features of each picture."""
        tokens = cast(Tensor, self.patches(pixels)).flatten(2).mT
        if self.token is not None:
            # shape[0] rather than len, which would make the number of pictures a constant of an exported graph
            token = self.token.expand(tokens.shape[0], 1, -1).to(tokens)
            tokens = torch.cat([token, tokens], dim=1)
        tokens = cast(Tensor, self.first_norm(tokens + self.positions))
        for block in self.blocks:
            tokens = cast(Tensor, block(tokens))
        if self.collected is None:
            return cast(Tensor, self.norm(tokens[:, 0]))
        return cast(Tensor, self.collected(self.norm(tokens)))


class Block(nn.Module):
    """Attention and an MLP, each beside an identity."""

    def __init__(self, sizes: TowerSizes) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(sizes.width, sizes.eps), nn.LayerNorm(sizes.width, sizes.eps)
        self.attention, self.mlp = Attention(sizes), Mlp(sizes)
        self.scale1 = nn.Parameter(torch.ones(sizes.width)) if sizes.scaled else None
        self.scale2 = nn.Parameter(torch.ones(sizes.width)) if sizes.scaled else None

    def forward(self, tokens: Tokens) -> Tokens:
        """The tokens after the block."""
        normed = self.norm1(tokens)
        tokens = tokens + _scaled(self.attention(normed, normed), self.scale1)
        return tokens + _scaled(self.mlp(self.norm2(tokens)), self.scale2)


class Attention(nn.Module):
    """Scaled dot-product attention of several heads (Vaswani et al. 2017, arXiv 1706.03762, eq. 1)."""

    def __init__(self, sizes: TowerSizes) -> None:
        super().__init__()
        self.heads = sizes.heads
        self.query, self.key, self.value, self.out = (nn.Linear(sizes.width, sizes.width) for _ in range(4))

    def forward(self, asking: Float[Tensor, "b q width"], asked: Tokens) -> Float[Tensor, "b q width"]:
        """What the asking tokens collect of the asked ones."""
        query, key, value = self.query(asking), self.key(asked), self.value(asked)
        parts = [part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in (query, key, value)]
        found = nn.functional.scaled_dot_product_attention(*parts)
        return cast(Tensor, self.out(found.transpose(1, 2).flatten(2)))


class Mlp(nn.Module):
    """Two linear layers with an activation between them."""

    def __init__(self, sizes: TowerSizes) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(sizes.width, sizes.hidden), nn.Linear(sizes.hidden, sizes.width)
        self.activation = sizes.activation

    def forward(self, tokens: Tokens) -> Tokens:
        """The output of the second layer."""
        inner = cast(Tensor, self.first(tokens))
        if self.activation == "quick_gelu":
            inner = inner * torch.sigmoid(1.702 * inner)
        else:
            inner = nn.functional.gelu(inner, approximate="tanh" if self.activation == "gelu_tanh" else "none")
        return cast(Tensor, self.second(inner))


class Collected(nn.Module):
    """Features that one learned query collects of all tokens (Zhai et al. 2022, arXiv 2106.04560)."""

    def __init__(self, sizes: TowerSizes) -> None:
        super().__init__()
        self.probe = nn.Parameter(torch.randn(sizes.width) * 0.02)
        self.attention, self.norm, self.mlp = Attention(sizes), nn.LayerNorm(sizes.width, sizes.eps), Mlp(sizes)

    def forward(self, tokens: Tokens) -> Float[Tensor, "b f"]:
        """The collected features."""
        found = self.attention(self.probe.expand(tokens.shape[0], 1, -1).to(tokens), tokens)
        return cast(Tensor, found + self.mlp(self.norm(found)))[:, 0]


def _scaled(branch: Tensor, scale: Tensor | None) -> Tensor:
    return branch if scale is None else branch * scale


def regridded(
    positions: Float[Tensor, "n f"], size: tuple[int, int], patch: int, *, class_token: bool
) -> Float[Tensor, "m f"]:
    """Embeddings of the positions in a square grid, interpolated (bicubic) for the grid of pictures of a size."""
    grid = size[0] // patch, size[1] // patch
    if len(positions) == grid[0] * grid[1] + class_token:
        return positions
    token, places = positions[: int(class_token)], positions[int(class_token) :]
    side = round(len(places) ** 0.5)
    maps = places.view(1, side, side, -1).permute(0, 3, 1, 2)
    found = nn.functional.interpolate(maps, size=grid, mode="bicubic", align_corners=False)
    return torch.cat([token, found[0].flatten(1).mT])
