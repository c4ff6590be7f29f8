"""Masked autoencoding: most patches are hidden, and drawn from the few that the encoder sees.

He et al. 2022 (arXiv 2111.06377): 75 % of the patches are hidden at random; the encoder sees the others alone, without
mask tokens; a light decoder sees the encoded tokens and, at the places of the hidden patches, one learned mask token,
with fixed positions; the loss is the mean squared error on the hidden patches, whose pixels are normalised by mean and
standard deviation of the patch.

The features of the vision transformer are a linear layer of the mean of its tokens, which this method does not train.
It is set to the leading principal components of the tokens' means on pictures of the training, scaled to variance 1.
"""

from dataclasses import dataclass
from typing import Any, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ....errors import RecipeError, at_least
from ...attention import TransformerBlock, check_tokens, first_weights
from ..encoder import PictureEncoder, Pixels, as_constants
from ..vision import Vision
from ..vit import SmallVit, SmallVitNet
from .method import Bytes, Draws, Method, PretrainingModel, Rows

EPS = 1e-6
"""Added to the variance of a patch [pixels from −1 to 1, squared]."""

Patches = Float[Tensor, "b n values"]


def patches_of(pixels: Pixels, patch: int) -> Patches:
    """Pixels of each patch, row by row; `picture_of` is the inverse."""
    return nn.functional.unfold(pixels, patch, stride=patch).mT


def picture_of(patches: Patches, patch: int, size: tuple[int, int]) -> Pixels:
    """The picture of its patches."""
    return nn.functional.fold(patches.mT, size, patch, stride=patch)


def hidden_patches(scores: Float[Tensor, "b n"], share: float) -> tuple[Int[Tensor, "b v"], Int[Tensor, "b h"]]:
    """Places of the visible and of the hidden patches: those of the smallest random scores are visible, in order.

    Args:
        scores: Independent uniform numbers.
        share: Share of the patches that are hidden; at least one is visible and one hidden.
    """
    count = scores.shape[1]
    visible = min(max(round(count * (1 - share)), 1), count - 1)
    order = scores.argsort(dim=1)
    return order[:, :visible].sort(dim=1).values, order[:, visible:].sort(dim=1).values


def normalised(patches: Patches) -> Patches:
    """Patches of mean 0 and standard deviation 1, over the pixels of each (He et al. 2022, section 3)."""
    variance, mean = torch.var_mean(patches, dim=-1, keepdim=True)
    return (patches - mean) / (variance + EPS).sqrt()


def grid_positions(grid: tuple[int, int], width: int) -> Float[Tensor, "n width"]:
    """Sines and cosines of rows and columns, as in Vaswani et al. 2017 (3.5), half of the numbers for each."""
    each = width // 4
    rates = 10_000 ** (-torch.arange(each) / each)
    axes = torch.meshgrid(*(torch.arange(side).float() for side in grid), indexing="ij")
    angles = [axis.reshape(-1, 1) * rates for axis in axes]
    return torch.cat([wave for angle in angles for wave in (angle.sin(), angle.cos())], dim=-1)


@dataclass(frozen=True, kw_only=True)
class MaskedAutoencoder(Method):
    """A masked autoencoder.

    Attributes:
        share: Share of the patches that are hidden.
        width: Numbers of a token in the decoder.
        layers: Blocks of the decoder.
        heads: Attention heads of the decoder.
    """

    share: float = 0.75
    width: int = 64
    layers: int = 2
    heads: int = 4

    def __post_init__(self) -> None:
        check_tokens(width=self.width, heads=self.heads, layers=self.layers)
        at_least(4, width=self.width)
        if self.width % 4:
            raise RecipeError(f"expected a width of the decoder divisible by 4, got {self.width}.")
        if not 0 < self.share < 1:
            raise RecipeError(f"expected a share of hidden patches between 0 and 1, got {self.share}.")

    def build(self, vision: Vision) -> "MaskedNet":
        if not isinstance(vision.encoder, SmallVit):
            raise RecipeError(
                f"masked autoencoding hides patches from a vision transformer; {type(vision.encoder).__name__} sees no "
                "patches. Add --encoder vit, or choose --method vae, ae or contrastive."
            )
        return MaskedNet(self, vision.encoder, vision)


class MaskedNet(PretrainingModel):
    """A vision transformer of the visible patches, and a decoder of all."""

    def __init__(self, options: MaskedAutoencoder, encoder: SmallVit, vision: Vision) -> None:
        super().__init__(vision)
        self.options, self.patch = options, encoder.patch
        self.grid = (self.view.encoded[0] // encoder.patch, self.view.encoded[1] // encoder.patch)
        if self.grid[0] * self.grid[1] < 2:
            raise RecipeError("masked autoencoding needs pictures of two or more patches. Choose a smaller patch.")
        as_constants(self.vit.head)  # not trained, but fitted at the end
        self.to_decoder = nn.Linear(encoder.width, options.width)
        self.mask_token = nn.Parameter(torch.randn(options.width) * 0.02)
        self.blocks = nn.ModuleList(TransformerBlock(options.width, options.heads) for _ in range(options.layers))
        self.norm = nn.LayerNorm(options.width)
        self.head = nn.Linear(options.width, encoder.patch**2 * self.view.channels)
        for part in (self.to_decoder, self.blocks, self.head):
            first_weights(part, additions=2 * options.layers)
        self.register_buffer("positions", grid_positions(self.grid, options.width), persistent=False)

    @property
    def vit(self) -> SmallVitNet:
        """The encoder."""
        return cast(SmallVitNet, self.encoder)

    def draw(self, count: int, *, rng: torch.Generator) -> Draws:
        scores = torch.rand(count, self.grid[0] * self.grid[1], generator=rng, device=rng.device)
        return {**super().draw(count, rng=rng), "scores": scores}

    def forward(self, pictures: Bytes, draws: Draws) -> Float[Tensor, ""]:
        pixels = self.crops(pictures, draws["places"])
        visible, hidden = hidden_patches(draws["scores"], self.options.share)
        targets = _taken(normalised(patches_of(pixels, self.patch)), hidden)
        return (_taken(self.decoded(pixels, visible, hidden), hidden).float() - targets).square().mean()

    def decoded(self, pixels: Pixels, visible: Int[Tensor, "b v"], hidden: Int[Tensor, "b h"]) -> Patches:
        """Normalised pixels of all patches, from the visible ones."""
        encoded = self.vit.transformed(_taken(self.vit.tokens(pixels), visible))
        known = cast(Tensor, self.to_decoder(encoded))
        masks = self.mask_token.to(known).expand(*hidden.shape, -1)
        places = torch.cat([visible, hidden], dim=1)
        # back to the order of the picture
        tokens = _taken(torch.cat([known, masks], dim=1), places.argsort(dim=1)) + cast(Tensor, self.positions)
        for block in self.blocks:
            tokens, _ = cast(TransformerBlock, block)(tokens)
        return cast(Tensor, self.head(self.norm(tokens)))

    def shown(self, pictures: Bytes, draws: Draws) -> Rows:
        pixels, patch, size = self.crops(pictures), self.patch, self.view.encoded
        visible, hidden = hidden_patches(draws["scores"], self.options.share)
        true = patches_of(pixels, patch)
        variance, mean = torch.var_mean(true, dim=-1, keepdim=True)
        drawn = self.decoded(pixels, visible, hidden) * (variance + EPS).sqrt() + mean
        place = hidden[..., None].expand(-1, -1, true.shape[-1])
        seen = true.scatter(1, place, torch.zeros_like(true))
        both = true.scatter(1, place, drawn.gather(1, place))
        rows = {"picture": true, "visible": seen, "hidden patches drawn": both}
        return {name: picture_of(row, patch, size) for name, row in rows.items()}

    @torch.no_grad()
    def ready_encoder(self, pictures: Bytes) -> PictureEncoder:
        vit = self.vit
        means = vit.transformed(vit.tokens(self.crops(pictures))).mean(dim=1).double()
        centre, centred = means.mean(dim=0), means - means.mean(dim=0)
        moments = centred.mT @ centred / len(means)
        values, vectors = cast("tuple[Tensor, Tensor]", cast(Any, torch.linalg).eigh(moments))
        chosen = _signed(vectors.flip(1)[:, : vit.head.out_features])
        scale = (values.flip(0)[: chosen.shape[1]].clamp(min=0) + EPS).rsqrt()
        weight = torch.zeros_like(vit.head.weight)
        weight[: chosen.shape[1]] = (chosen * scale).mT.to(weight)
        vit.head.weight.copy_(weight)
        vit.head.bias.copy_(-(weight.double() @ centre).to(weight))
        return vit


def _taken(tokens: Float[Tensor, "b n w"], places: Int[Tensor, "b m"]) -> Float[Tensor, "b m w"]:
    return tokens.gather(1, places[..., None].expand(-1, -1, tokens.shape[-1]))


def _signed(vectors: Float[Tensor, "w k"]) -> Float[Tensor, "w k"]:
    """Eigenvectors whose largest entry is positive, because their sign is not determined."""
    largest = vectors.gather(0, vectors.abs().argmax(dim=0, keepdim=True))
    return vectors * torch.where(largest < 0, -1.0, 1.0)
