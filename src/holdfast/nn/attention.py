"""Attention, and the transformer block that the networks of tokens are built from.

    attention(Q, K, V) = softmax(Q Kᵀ / √d) V,      in several heads of d numbers each

Vaswani et al. 2017 (arXiv 1706.03762), eq. 1. Written out, because PyTorch's fused kernels support neither the
forward-mode derivative that MeanFlow needs nor stacked weights (`torch.func.vmap`).

No dropout: a network's randomness would have to be an argument. Initial weights as in GPT-2 (Radford et al. 2019, 2.3):
normal with standard deviation 0.02, smaller for layers that add to the residual stream.
"""

import math
from collections.abc import Iterable
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..errors import RecipeError, at_least
from .network import Ports, Times
from .partial_linear import TimeEmbedding

_STD = 0.02


def attend(
    queries: Float[Tensor, "b q w"], keys_values: Float[Tensor, "b k 2*w"], *, heads: int, causal: bool = False
) -> Float[Tensor, "b q w"]:
    """Multi-head attention; if causal, the queries belong to the last `q` of the `k` tokens and see no later one."""
    keys, values = keys_values.chunk(2, dim=-1)
    queries, keys, values = (_in_heads(part, heads) for part in (queries, keys, values))
    scores = (queries / math.sqrt(queries.shape[-1])) @ keys.mT
    if causal:
        n_queries, n_keys = scores.shape[-2:]
        visible = torch.ones(n_queries, n_keys, dtype=torch.bool, device=scores.device).tril(n_keys - n_queries)
        scores = scores.masked_fill(~visible, -math.inf)
    return (scores.softmax(dim=-1) @ values).transpose(1, 2).flatten(2)


def _in_heads(vectors: Float[Tensor, "b l w"], heads: int) -> Float[Tensor, "b heads l d"]:
    batch, length, width = vectors.shape
    return vectors.view(batch, length, heads, width // heads).transpose(1, 2)


class Perceptron(nn.Module):
    """W₂ gelu(W₁ x), with four times the width inside."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.expand = nn.Linear(width, 4 * width)
        self.contract = nn.Linear(4 * width, width)

    def forward(self, tokens: Float[Tensor, "b l w"]) -> Float[Tensor, "b l w"]:
        """The same map applied to every token."""
        return cast(Tensor, self.contract(nn.functional.gelu(cast(Tensor, self.expand(tokens)))))


class TransformerBlock(nn.Module):
    """A pre-norm transformer block (Xiong et al. 2020, arXiv 2002.04745).

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
        """The tokens after the block, and the keys and values of the past and of these tokens."""
        width = tokens.shape[-1]
        projected = cast(Tensor, self.project(self.norm_attention(tokens)))
        queries, keys_values = projected[..., :width], projected[..., width:]
        if past is not None:
            keys_values = torch.cat([past, keys_values], dim=1)
        tokens = tokens + cast(Tensor, self.contract(attend(queries, keys_values, heads=self.heads, causal=causal)))
        return tokens + cast(Tensor, self.perceptron(self.norm_perceptron(tokens))), keys_values


class TokenTimes(nn.Module):
    """Embedding of generative times for the tokens of a chunk.

    With one or more times per step of the chunk, step after step, each token gets its own (Chen et al. 2024, arXiv
    2407.01392); otherwise all tokens get all times. So does a chunk of two steps, whose two times may be the start and
    end of an interval.
    """

    def __init__(self, ports: Ports, embedding: int) -> None:
        super().__init__()
        self.own = ports.horizon > 2 and ports.n_times > 0 and ports.n_times % ports.horizon == 0
        self.embed = TimeEmbedding(ports.n_times // ports.horizon if self.own else ports.n_times, embedding, nn.SiLU())
        self.size, self.horizon = self.embed.size, ports.horizon

    def forward(self, times: Times) -> Float[Tensor, "b tokens size"]:
        """The embedding of each token's time, or one for all tokens."""
        if self.own:
            by_token = times.reshape(times.shape[0], self.horizon, -1)
            return cast(Tensor, self.embed(by_token.flatten(0, 1))).view(*by_token.shape[:2], self.size)
        return cast(Tensor, self.embed(times))[:, None]


def first_weights(module: nn.Module, *, additions: int) -> None:
    """Draw GPT-2's initial weights; those of the `additions` consecutive layers `contract` are smaller."""
    for name, part in cast(Iterable[tuple[str, nn.Module]], module.named_modules()):
        if isinstance(part, nn.Linear | nn.Embedding):
            shrink = math.sqrt(additions) if name.endswith("contract") else 1.0
            nn.init.normal_(part.weight, std=_STD / shrink)
        if isinstance(part, nn.Linear):
            nn.init.zeros_(part.bias)


def check_tokens(*, width: int, heads: int, layers: int) -> None:
    """Raise a `RecipeError` unless heads divide the width and all numbers are at least 1."""
    at_least(1, width=width, heads=heads, layers=layers)
    if width % heads:
        raise RecipeError(f"expected a width divisible by {heads} heads, got {width}.")
