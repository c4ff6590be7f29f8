"""One token for every few steps: a small latent, each number rounded to one of a few levels.

    z_k = E(steps up to the end of block k, k),    q_k = round(½ (L − 1) tanh z_k),    decoded = D(q_0, …, q_{K−1})

Finite scalar quantisation (Mentzer, Minnen, Agustsson and Tschannen 2023, arXiv 2309.15505, section 3) has no codebook
that could go unused. Its use for chunks is QueST's (Mete, Xue, Wilcox, Chen and Garg 2024, arXiv 2407.15840): a token
depends on its own steps and those before, so codes of the same beginning begin alike. Here both networks are
perceptrons, not convolutions and transformers.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from .base import Tokenizer, Tokens, of_equal_length
from .options import Fsq
from .perceptron import globally_seeded, perceptron, run_perceptron, train_on, weights_of
from .quantisers import finite_scalar

__all__ = ["FsqTokenizer", "fit_fsq"]

WIDENED = 1e-3
"""Share by which the outermost levels are widened, so that tanh can reach them."""


@dataclass(frozen=True, kw_only=True, eq=False)
class FsqTokenizer(Tokenizer):
    """Finite scalar quantisation; token `k` tells of block `k` of the steps, given those before.

    Attributes:
        weights: `encoder.…`, `decoder.…`.
    """

    options: Fsq
    weights: Mapping[str, Tensor]

    @property
    def vocabulary(self) -> int:
        """How many tokens there are: the product of the levels."""
        return math.prod(self.options.levels)

    @property
    def length(self) -> int:
        """Tokens of a chunk: one a block, the last of which may be shorter."""
        return math.ceil(self.horizon / self.options.stride)

    @property
    def tables(self) -> Mapping[str, Tensor]:
        """The networks."""
        return self.weights

    @torch.no_grad()
    def _encode(self, chunks: Float[Tensor, "b h w"]) -> Tokens:
        seen = _so_far(chunks, self.length, self.options.stride)
        latents = run_perceptron(self.weights, "encoder", seen.flatten(0, 1))
        levels = torch.tensor(self.options.levels, device=latents.device)
        half = (levels - 1) * (1 + WIDENED) / 2
        # an even number of levels has none in the middle
        offset = torch.where(levels % 2 == 0, 0.5, 0.0)
        bounded = (latents + (offset / half).atanh().to(latents)).tanh() * half.to(latents) - offset.to(latents)
        places = bounded.round().long() + levels // 2
        return of_equal_length((places * self._bases.to(places.device)).sum(-1).view(len(chunks), self.length))

    def _decode(self, ids: Int[Tensor, " tokens"], count: int) -> Float[Tensor, "b h w"]:
        levels = torch.tensor(self.options.levels, device=ids.device)
        places = ids[:, None] // self._bases.to(ids.device) % levels
        latents = (places - levels // 2).to(self.dtype) / (levels // 2).to(self.dtype)
        decoded = run_perceptron(self.weights, "decoder", latents.view(count, self.length * len(levels)))
        return decoded.view(count, self.horizon, self.width)

    @property
    def _bases(self) -> Int[Tensor, " levels"]:
        """What one level up adds to a token."""
        return torch.tensor([1, *self.options.levels[:-1]]).cumprod(0)


def fit_fsq(
    options: Fsq,
    chunks: Float[Tensor, "n h w"],
    dt: float | None,
    *,
    rng: torch.Generator,
    on_step: Callable[[int], None] = lambda done: None,
) -> FsqTokenizer:
    """Networks that carry chunks through the rounding, by mean absolute error, kept in the dtype of the chunks.

    Raises:
        MissingExtraError: The package `vector_quantize_pytorch` is not installed.
    """
    steps, width = chunks.shape[1:]
    blocks, numbers = math.ceil(steps / options.stride), steps * width
    with globally_seeded(rng, chunks.device):
        encoder = perceptron(numbers + blocks, options.hidden, options.hidden, len(options.levels)).to(chunks.device)
        latent = blocks * len(options.levels)
        decoder = perceptron(latent, options.hidden, options.hidden, numbers).to(chunks.device)
    rounding = finite_scalar(list(options.levels)).to(chunks.device)

    def loss(batch: Float[Tensor, "b h w"]) -> Float[Tensor, ""]:
        rounded, _ = rounding(encoder(_so_far(batch, blocks, options.stride)))
        return (decoder(rounded.flatten(1)) - batch.flatten(1)).abs().mean()

    train_on(
        chunks.float(),
        loss,
        [*encoder.parameters(), *decoder.parameters()],
        options,
        rng=rng,
        on_step=on_step,
    )
    weights = weights_of({"encoder": encoder, "decoder": decoder}, chunks.dtype)
    return FsqTokenizer(options=options, horizon=steps, width=width, dt=dt, weights=weights)


def _so_far(chunks: Float[Tensor, "b h w"], blocks: int, stride: int) -> Float[Tensor, "b blocks d"]:
    """For each block, the steps up to its end, zeros after them, and which block it is."""
    place = torch.arange(blocks, device=chunks.device)
    begun = torch.arange(chunks.shape[1], device=chunks.device) < stride * (place[:, None] + 1)
    seen = (chunks[:, None] * begun[..., None]).flatten(2)
    return torch.cat([seen, torch.eye(blocks).to(chunks).expand(len(chunks), -1, -1)], dim=-1)
