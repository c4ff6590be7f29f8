"""A causal transformer over token sequences that are preceded by an observation window.

    p(w₁ … w_l | o) = Π_i p(w_i | w_1 … w_{i-1}, o)

The observations are the first tokens of the sequence and attend to one another; each later token attends to them and
to its predecessors. `encode` computes the keys and values of the observations once per plan, and decoding appends one
token after the other. After minGPT as used in Behavior Transformers (Shafiullah et al. 2022, arXiv 2206.11251).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ..errors import ShapeError, at_least
from .attention import TransformerBlock, check_tokens, first_weights


@dataclass(frozen=True)
class Gpt:
    """Options of a causal transformer over tokens.

    Published: 4 layers, 4 heads, width 72 (block pushing); 6 layers, 6 heads, width 120 (Kitchen, VQ-BeT's Push-T).
    minGPT's dropout of 0.1 is omitted.

    Attributes:
        layers: Transformer blocks.
        heads: Attention heads.
        width: Size of a token inside the network.
    """

    layers: int = 4
    heads: int = 4
    width: int = 128

    def __post_init__(self) -> None:
        check_tokens(width=self.width, heads=self.heads, layers=self.layers)


@dataclass(frozen=True)
class Cache:
    """State of incremental decoding: keys and values of each layer, and the hidden state of the last token."""

    keys_values: tuple[Float[Tensor, "b seen keys_values"], ...]
    hidden: Float[Tensor, "b width"]


class CausalTransformer(nn.Module):
    """Token sequence, observation window → distribution of each token given its predecessors.

    Teacher forcing, `network(ids, memory)`, and incremental decoding, `start` and `step`, give the same logits.

    Args:
        options: Options of the network.
        vocabulary: Number of tokens.
        length: Length of the longest sequence.
        n_obs_steps: Observations in a window.
        n_observed: Size of an observation.
    """

    def __init__(self, options: Gpt, *, vocabulary: int, length: int, n_obs_steps: int, n_observed: int) -> None:
        super().__init__()
        at_least(1, vocabulary=vocabulary, length=length, n_obs_steps=n_obs_steps, n_observed=n_observed)
        self.options, self.length, self.n_obs_steps = options, length, n_obs_steps
        self.observe = nn.Linear(n_observed, options.width)
        self.embed = nn.Embedding(vocabulary, options.width)
        # the last token of a sequence is predicted, but never an input
        self.positions = nn.Parameter(0.02 * torch.randn(n_obs_steps + length - 1, options.width))
        self.blocks = nn.ModuleList(TransformerBlock(options.width, options.heads) for _ in range(options.layers))
        self.norm = nn.LayerNorm(options.width)
        self.head = nn.Linear(options.width, vocabulary)
        for module in (self.embed, self.blocks, self.head):
            first_weights(module, additions=2 * options.layers)

    def encode(self, observation: Float[Tensor, "b o d"]) -> Float[Tensor, "b o memory"]:
        """Hidden state, keys and values of the observations' tokens, concatenated; computed once per plan."""
        tokens = cast(Tensor, self.observe(observation)) + self.positions[: self.n_obs_steps]
        hidden, keys_values = self._passed(tokens, [None] * len(self.blocks), causal=False)
        return torch.cat([hidden, *keys_values], dim=-1)

    def forward(self, ids: Int[Tensor, "b l"], memory: Float[Tensor, "b o memory"]) -> Float[Tensor, "b l vocabulary"]:
        """Logits of each token of a sequence given the tokens before it (teacher forcing)."""
        return self.logits(self.hidden(ids, memory))

    def hidden(self, ids: Int[Tensor, "b l"], memory: Float[Tensor, "b o memory"]) -> Float[Tensor, "b l width"]:
        """The hidden states from which the logits are computed, for additional heads.

        Raises:
            ShapeError: The sequence is empty or longer than `length`.
        """
        if not 1 <= ids.shape[1] <= self.length:
            raise ShapeError(f"expected sequences of 1 to {self.length} tokens, got {ids.shape[1]}.")
        cache = self._observed(memory)
        later, _ = self._passed(self._entered(ids[:, :-1], first=0), cache.keys_values, causal=True)
        return torch.cat([cache.hidden[:, None], later], dim=1)

    def logits(self, hidden: Float[Tensor, "*b width"]) -> Float[Tensor, "*b vocabulary"]:
        """Logits of hidden states."""
        return cast(Tensor, self.head(hidden))

    def start(self, memory: Float[Tensor, "b o memory"]) -> tuple[Float[Tensor, "b vocabulary"], Cache]:
        """Logits of the first token, and the cache for `step`."""
        cache = self._observed(memory)
        return self.logits(cache.hidden), cache

    def step(self, ids: Int[Tensor, "b"], cache: Cache) -> tuple[Float[Tensor, "b vocabulary"], Cache]:
        """Logits of the token that follows `ids`, and the cache for the next step.

        Raises:
            ShapeError: `ids` complete a sequence of `length` tokens.
        """
        entered = cache.keys_values[0].shape[1] - self.n_obs_steps
        if entered + 1 >= self.length:
            raise ShapeError(
                f"expected at most {self.length - 1} steps: a sequence of {self.length} tokens is complete."
            )
        token = self._entered(ids[:, None], first=entered)
        hidden, keys_values = self._passed(token, cache.keys_values, causal=True)
        cache = Cache(keys_values=tuple(keys_values), hidden=hidden[:, 0])
        return self.logits(cache.hidden), cache

    def _observed(self, memory: Tensor) -> Cache:
        width = self.options.width
        hidden, *keys_values = torch.split(memory, [width, *[2 * width] * self.options.layers], dim=-1)
        return Cache(keys_values=tuple(keys_values), hidden=hidden[:, -1])

    def _entered(self, ids: Tensor, *, first: int) -> Tensor:
        first += self.n_obs_steps
        return cast(Tensor, self.embed(ids)) + self.positions[first : first + ids.shape[1]]

    def _passed(self, tokens: Tensor, pasts: Iterable[Tensor | None], *, causal: bool) -> tuple[Tensor, list[Tensor]]:
        """Hidden states of the tokens, and each layer's keys and values including the past."""
        keys_values: list[Tensor] = []
        for block, past in zip(self.blocks, pasts, strict=True):
            tokens, current = cast(TransformerBlock, block)(tokens, past, causal=causal)
            keys_values.append(current)
        return cast(Tensor, self.norm(tokens)), keys_values
