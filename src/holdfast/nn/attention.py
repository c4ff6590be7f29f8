"""Attention between tokens, and the transformer block that the networks of tokens are made of.

    attention(Q, K, V) = softmax(Q Kᵀ / √d) V,      in several heads of d numbers each

Vaswani et al. 2017 (arXiv 1706.03762), eq. 1. It is written out: PyTorch's fused kernels know neither the forward-mode
derivative that MeanFlow needs nor variants of the weights side by side (`torch.func.vmap`).

No dropout: a network's randomness would have to be an argument. Weights start as in GPT-2 (Radford et al. 2019, 2.3):
normal of standard deviation 0.02, smaller where a layer adds to the residual stream.
"""

import math
from collections.abc import Iterable
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..errors import RecipeError
from .network import Ports
from .partial_linear import TimeEmbedding

__all__ = ["Block", "Perceptron", "TokenTimes", "attend", "check_tokens", "first_weights"]

_STD = 0.02


def attend(
    queries: Float[Tensor, "b q w"], keys_values: Float[Tensor, "b k 2*w"], *, heads: int, causal: bool = False
) -> Float[Tensor, "b q w"]:
    """What each query gathers from the keys' values.

    Args:
        queries: One vector a token that asks.
        keys_values: Keys and values of the tokens that answer, side by side.
        heads: Heads that the width is cut into.
        causal: The queries belong to the last `q` of the `k` tokens, and none sees a later one.
    """
    keys, values = keys_values.chunk(2, dim=-1)
    asked, keys, values = (_in_heads(part, heads) for part in (queries, keys, values))
    scores = (asked / math.sqrt(asked.shape[-1])) @ keys.mT
    if causal:
        n_queries, n_keys = scores.shape[-2:]
        seen = torch.ones(n_queries, n_keys, dtype=torch.bool, device=scores.device).tril(n_keys - n_queries)
        scores = scores.masked_fill(~seen, -math.inf)
    return (scores.softmax(dim=-1) @ values).transpose(1, 2).flatten(2)


def _in_heads(vectors: Float[Tensor, "b l w"], heads: int) -> Float[Tensor, "b heads l d"]:
    batch, length, width = vectors.shape
    return vectors.view(batch, length, heads, width // heads).transpose(1, 2)


class Perceptron(nn.Module):
    """W₂ gelu(W₁ x), four times as wide inside."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.expand = nn.Linear(width, 4 * width)
        self.contract = nn.Linear(4 * width, width)

    def forward(self, tokens: Float[Tensor, "b l w"]) -> Float[Tensor, "b l w"]:
        """The same map of every token."""
        return cast(Tensor, self.contract(nn.functional.gelu(cast(Tensor, self.expand(tokens)))))


class Block(nn.Module):
    """A transformer block, normalised first (Xiong et al. 2020, arXiv 2002.04745).

    x ← x + W attention(norm x),    x ← x + perceptron(norm x)
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm_attention, self.norm_perceptron = nn.LayerNorm(width), nn.LayerNorm(width)
        self.project = nn.Linear(width, 3 * width)
        self.contract = nn.Linear(width, width)
        self.perceptron = Perceptron(width)

    def forward(
        self, tokens: Float[Tensor, "b l w"], past: Float[Tensor, "b p 2*w"] | None = None, *, causal: bool = False
    ) -> tuple[Float[Tensor, "b l w"], Float[Tensor, "b k 2*w"]]:
        """The tokens after the block; keys and values of the past and of these tokens."""
        width = tokens.shape[-1]
        projected = cast(Tensor, self.project(self.norm_attention(tokens)))
        queries, seen = projected[..., :width], projected[..., width:]
        if past is not None:
            seen = torch.cat([past, seen], dim=1)
        tokens = tokens + cast(Tensor, self.contract(attend(queries, seen, heads=self.heads, causal=causal)))
        return tokens + cast(Tensor, self.perceptron(self.norm_perceptron(tokens))), seen


class TokenTimes(nn.Module):
    """Generative times → what each token of a chunk is told of them.

    With a time for each step of the chunk, a token is told its own (Chen et al. 2024, arXiv 2407.01392); otherwise all
    tokens are told all times. A chunk of two steps with two times counts among the latter: the two may be start and end
    of a jump.
    """

    def __init__(self, ports: Ports, embedding: int) -> None:
        super().__init__()
        self.own = ports.n_times == ports.horizon > 2
        self.embed = TimeEmbedding(1 if self.own else ports.n_times, embedding, nn.SiLU())
        self.size = self.embed.size

    def forward(self, times: Float[Tensor, "b n_times"]) -> Float[Tensor, "b told size"]:
        """The embedding of each token's time, or one for all tokens."""
        if self.own:
            return cast(Tensor, self.embed(times.reshape(-1, 1))).view(*times.shape, self.size)
        return cast(Tensor, self.embed(times))[:, None]


def first_weights(module: nn.Module, *, additions: int) -> None:
    """GPT-2's first weights for the linear layers and embeddings of a module.

    Args:
        module: Whose parameters are drawn anew; layers called `contract` add to the residual stream.
        additions: How many such layers follow one another: each starts smaller by its square root.
    """
    for name, part in cast(Iterable[tuple[str, nn.Module]], module.named_modules()):
        if isinstance(part, nn.Linear | nn.Embedding):
            shrink = math.sqrt(additions) if name.endswith("contract") else 1.0
            nn.init.normal_(part.weight, std=_STD / shrink)
        if isinstance(part, nn.Linear):
            nn.init.zeros_(part.bias)


def check_tokens(*, width: int, heads: int, layers: int) -> None:
    """Heads share the width evenly and everything counted is at least 1, or a `RecipeError` says so."""
    if min(width, heads, layers) < 1:
        raise RecipeError(f"expected width, heads and layers of at least 1, got {width}, {heads} and {layers}.")
    if width % heads:
        raise RecipeError(f"expected a width that {heads} heads share evenly, got {width}.")
