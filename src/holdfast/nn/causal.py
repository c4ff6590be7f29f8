"""A causal transformer over token sequences that an observation window precedes.

    p(w₁ … w_l | o) = Π_i p(w_i | w_1 … w_{i-1}, o)

The observations are the first tokens of the sequence and see one another; each later token sees them and what came
before it. The tokens of the observations are passed once a plan: `encode` keeps their keys and values, to which
decoding adds one token after the other. After minGPT as Behavior Transformers use it (Shafiullah et al. 2022,
arXiv 2206.11251).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ..errors import RecipeError, ShapeError
from .attention import Block, check_tokens, first_weights

__all__ = ["Cache", "CausalTransformer", "Gpt"]


@dataclass(frozen=True)
class Gpt:
    """Options of a causal transformer over tokens.

    Published: 4 layers, 4 heads, width 72 (block pushing); 6 layers, 6 heads, width 120 (Kitchen, VQ-BeT's Push-T).
    minGPT's dropout of 0.1 has no place here.

    Attributes:
        layers: Transformer blocks.
        heads: Attention heads.
        width: Numbers of a token inside the network.
    """

    layers: int = 4
    heads: int = 4
    width: int = 128

    def __post_init__(self) -> None:
        check_tokens(width=self.width, heads=self.heads, layers=self.layers)


@dataclass(frozen=True)
class Cache:
    """What decoding has seen so far.

    Attributes:
        keys_values: Keys and values of the tokens seen so far, one tensor a layer.
        hidden: The network's state that the next token's logits are read from.
    """

    keys_values: tuple[Float[Tensor, "b seen keys_values"], ...]
    hidden: Float[Tensor, "b width"]


class CausalTransformer(nn.Module):
    """Token sequence, observation window → the law of each token given those before it.

    Teacher forcing, `network(ids, memory)`, and decoding one token after the other, `start` and `step`, give the same
    logits.

    Args:
        options: Size.
        vocabulary: Tokens that there are.
        length: Tokens of the longest sequence.
        n_obs_steps: Observations in a window.
        n_observed: Numbers of an observation.
    """

    def __init__(self, options: Gpt, *, vocabulary: int, length: int, n_obs_steps: int, n_observed: int) -> None:
        super().__init__()
        if min(vocabulary, length, n_obs_steps, n_observed) < 1:
            raise RecipeError(
                "expected vocabulary, length, n_obs_steps and n_observed of at least 1, got "
                f"{vocabulary}, {length}, {n_obs_steps} and {n_observed}."
            )
        self.options, self.length, self.n_obs_steps = options, length, n_obs_steps
        self.observe = nn.Linear(n_observed, options.width)
        self.embed = nn.Embedding(vocabulary, options.width)
        # the last token of a sequence is predicted, but never entered
        self.positions = nn.Parameter(0.02 * torch.randn(n_obs_steps + length - 1, options.width))
        self.blocks = nn.ModuleList(Block(options.width, options.heads) for _ in range(options.layers))
        self.norm = nn.LayerNorm(options.width)
        self.head = nn.Linear(options.width, vocabulary)
        for module in (self.embed, self.blocks, self.head):
            first_weights(module, additions=2 * options.layers)

    def encode(self, observation: Float[Tensor, "b o d"]) -> Float[Tensor, "b o memory"]:
        """State, keys and values of the observations' tokens, side by side: computed once, used by every call."""
        tokens = cast(Tensor, self.observe(observation)) + self.positions[: self.n_obs_steps]
        hidden, keys_values = self._passed(tokens, [None] * len(self.blocks), causal=False)
        return torch.cat([hidden, *keys_values], dim=-1)

    def forward(self, ids: Int[Tensor, "b l"], memory: Float[Tensor, "b o memory"]) -> Float[Tensor, "b l vocabulary"]:
        """Logits of each token of a sequence given the tokens before it (teacher forcing)."""
        return self.logits(self.hidden(ids, memory))

    def hidden(self, ids: Int[Tensor, "b l"], memory: Float[Tensor, "b o memory"]) -> Float[Tensor, "b l width"]:
        """The states that the logits are read from, for heads beside them.

        Raises:
            ShapeError: The sequence is empty or longer than `length`.
        """
        if not 1 <= ids.shape[1] <= self.length:
            raise ShapeError(f"expected sequences of 1 to {self.length} tokens, got {ids.shape[1]}.")
        cache = self._observed(memory)
        later, _ = self._passed(self._entered(ids[:, :-1], first=0), cache.keys_values, causal=True)
        return torch.cat([cache.hidden[:, None], later], dim=1)

    def logits(self, hidden: Float[Tensor, "*b width"]) -> Float[Tensor, "*b vocabulary"]:
        """Logits that states stand for."""
        return cast(Tensor, self.head(hidden))

    def start(self, memory: Float[Tensor, "b o memory"]) -> tuple[Float[Tensor, "b vocabulary"], Cache]:
        """Logits of the first token, and what `step` continues from."""
        cache = self._observed(memory)
        return self.logits(cache.hidden), cache

    def step(self, ids: Int[Tensor, "b"], cache: Cache) -> tuple[Float[Tensor, "b vocabulary"], Cache]:
        """Logits of the token that follows `ids`, and what the next step continues from.

        Raises:
            ShapeError: `ids` are the last tokens of a sequence of `length`, which none follows.
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
        """The tokens' states; each layer's keys and values, those of the past included."""
        kept: list[Tensor] = []
        for block, past in zip(self.blocks, pasts, strict=True):
            tokens, seen = cast(Block, block)(tokens, past, causal=causal)
            kept.append(seen)
        return cast(Tensor, self.norm(tokens)), kept
