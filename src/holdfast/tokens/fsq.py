"""One token per block of steps: a small latent whose numbers are rounded to a few levels (FSQ).

    z_k = E(steps up to the end of block k, k),    q_k = round(½ (L − 1) tanh z_k),    decoded = D(q_0, …, q_{K−1})

Finite scalar quantisation (Mentzer, Minnen, Agustsson and Tschannen 2023, arXiv 2309.15505, section 3) has no codebook,
and so no unused entries. For chunks: QueST (Mete, Xue, Wilcox, Chen and Garg 2024, arXiv 2407.15840), where a token
depends on its own steps and those before, so that chunks with equal first steps have equal first tokens. Here both
networks are perceptrons instead of convolutions and transformers.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import accumulate
from operator import mul

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..errors import RecipeError, at_least, positive
from ..seeding import stream
from .base import Tokenizer, TokenizerOptions, Tokens, of_equal_length
from .perceptron import globally_seeded, layers_of, perceptron, quantisers, run_perceptron, train_on, weights_of

WIDENED = 1e-3
"""Relative margin of the outermost levels, so that tanh can reach them."""


@dataclass(frozen=True)
class Fsq(TokenizerOptions):
    """One token per block of steps: finite scalar quantisation of a small latent (QueST; Mete et al. 2024).

    Attributes:
        levels: Number of levels of each number of the latent; their product is the vocabulary.
        stride: Steps per token.
        hidden: Units of the hidden layers of encoder and decoder.
        updates: Number of updates.
        batch_size: Chunks per update.
        learning_rate: Learning rate of Adam.
    """

    levels: tuple[int, ...] = (8, 5, 5, 5)
    stride: int = 4
    hidden: int = 128
    updates: int = 2000
    batch_size: int = 128
    learning_rate: float = 1e-3

    def __post_init__(self) -> None:
        if not self.levels or min(self.levels) < 3:
            raise RecipeError(f"expected at least one number with at least 3 levels, got levels {self.levels}.")
        at_least(1, stride=self.stride, hidden=self.hidden, updates=self.updates, batch_size=self.batch_size)
        positive(learning_rate=self.learning_rate)

    @property
    def n_updates(self) -> int:
        return self.updates

    def fit(self, chunks: Float[Tensor, "n h w"], *, seed: int, on_step: Callable[[int], None]) -> dict[str, Tensor]:
        """Networks that reconstruct chunks through the rounding, by mean absolute error, in float32.

        Raises:
            MissingExtraError: The package `vector_quantize_pytorch` is not installed.
        """
        rng, horizon, numbers = stream(seed, "tokens", "fsq"), chunks.shape[1], chunks[0].numel()
        blocks = math.ceil(horizon / self.stride)
        with globally_seeded(rng, chunks.device):
            encoder = perceptron(numbers + blocks, self.hidden, self.hidden, len(self.levels)).to(chunks.device)
            latent = blocks * len(self.levels)
            decoder = perceptron(latent, self.hidden, self.hidden, numbers).to(chunks.device)
        rounding = quantisers().FSQ(levels=list(self.levels)).to(chunks.device)

        def loss(batch: Float[Tensor, "b h w"]) -> Float[Tensor, ""]:
            rounded, _ = rounding(encoder(_so_far(batch, blocks, self.stride)))
            return (decoder(rounded.flatten(1)) - batch.flatten(1)).abs().mean()

        parameters = [*encoder.parameters(), *decoder.parameters()]
        train_on(chunks.float(), loss, parameters, self, rng=rng, on_step=on_step)
        return weights_of({"encoder": encoder, "decoder": decoder}, chunks.dtype)

    def layout(self, horizon: int, width: int) -> dict[str, tuple[int, ...]]:
        numbers, inner, blocks = horizon * width, (self.hidden, self.hidden), math.ceil(horizon / self.stride)
        return {
            **layers_of("encoder", numbers + blocks, *inner, len(self.levels)),
            **layers_of("decoder", blocks * len(self.levels), *inner, numbers),
        }

    def restore(self, tables: Mapping[str, Tensor], *, horizon: int, width: int, dt: float | None) -> Tokenizer:
        return FsqTokenizer(options=self, horizon=horizon, width=width, dt=dt, tables=tables)


@dataclass(frozen=True, kw_only=True, eq=False)
class FsqTokenizer(Tokenizer):
    """Finite scalar quantisation; token `k` is block `k` of the steps, given those before.

    Tables: the weights of the networks, `encoder.…` and `decoder.…`.
    """

    options: Fsq

    @property
    def vocabulary(self) -> int:
        return math.prod(self.options.levels)

    @property
    def length(self) -> int:
        return math.ceil(self.horizon / self.options.stride)

    @torch.no_grad()
    def _encode(self, chunks: Float[Tensor, "b h w"]) -> Tokens:
        seen = _so_far(chunks, self.length, self.options.stride)
        latents = run_perceptron(self.tables, "encoder", seen.flatten(0, 1))
        levels = torch.tensor(self.options.levels, device=latents.device)
        half = (levels - 1) * (1 + WIDENED) / 2
        # an even number of levels has no middle level
        offset = torch.where(levels % 2 == 0, 0.5, 0.0)
        bounded = (latents + (offset / half).atanh().to(latents)).tanh() * half.to(latents) - offset.to(latents)
        places = bounded.round().long() + levels // 2
        return of_equal_length((places * self._bases.to(places.device)).sum(-1).view(len(chunks), self.length))

    def _decode(self, ids: Int[Tensor, " tokens"], count: int | torch.SymInt) -> Float[Tensor, "b h w"]:
        levels = torch.tensor(self.options.levels, device=ids.device)
        places = ids[:, None] // self._bases.to(ids.device) % levels
        latents = (places - levels // 2).to(self.dtype) / (levels // 2).to(self.dtype)
        decoded = run_perceptron(self.tables, "decoder", latents.view(count, self.length * len(levels)))
        return decoded.view(count, self.horizon, self.width)

    @property
    def _bases(self) -> Int[Tensor, " levels"]:
        """Place value of each number of the latent in a token."""
        return torch.tensor([1, *accumulate(self.options.levels[:-1], mul)])


def _so_far(chunks: Float[Tensor, "b h w"], blocks: int, stride: int) -> Float[Tensor, "b blocks d"]:
    """For each block, the steps up to its end followed by zeros, and a one-hot index of the block."""
    place = torch.arange(blocks, device=chunks.device)
    begun = torch.arange(chunks.shape[1], device=chunks.device) < stride * (place[:, None] + 1)
    seen = (chunks[:, None] * begun[..., None]).flatten(2)
    return torch.cat([seen, torch.eye(blocks).to(chunks).expand(len(chunks), -1, -1)], dim=-1)
