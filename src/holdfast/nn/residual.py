"""A residual multilayer perceptron whose blocks are modulated by a condition.

    y = x + W₂ silu(W₁ ((1 + γ(c)) ⊙ norm(x) + …) + β(c)),      c = [embedding of the level, condition]

Residual blocks with normalisation first (He et al. 2016, arXiv 1603.05027; Xiong et al. 2020, arXiv 2002.04745),
modulated as in FiLM (Perez et al. 2018). Each block starts as the identity. Where a chunk must be precise, depth
without vanishing gradients is worth more than the width of a plain network.
"""

from dataclasses import dataclass
from typing import cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ..errors import RecipeError
from .mlp import sinusoidal

__all__ = ["ResidualMlp", "ResidualMlpNet"]


@dataclass(frozen=True)
class ResidualMlp:
    """Options of a residual MLP.

    Attributes:
        width: Units of the residual stream.
        blocks: Residual blocks.
        expansion: Units inside a block, in multiples of the width.
        embedding: Size of the sinusoidal embedding of the noise level.
    """

    width: int = 512
    blocks: int = 3
    expansion: int = 2
    embedding: int = 64

    def __post_init__(self) -> None:
        if self.embedding < 4 or self.embedding % 2:
            raise RecipeError(f"expected an even embedding of at least 4, got {self.embedding}.")
        if min(self.width, self.blocks, self.expansion) < 1:
            raise RecipeError(
                f"expected width, blocks and expansion of at least 1, got {self.width}, {self.blocks} and "
                f"{self.expansion}."
            )


class _Block(nn.Module):
    """One residual block; the last layer starts at zero, so that the block starts as the identity."""

    def __init__(self, options: ResidualMlp, *, n_conditions: int) -> None:
        super().__init__()
        inner = options.expansion * options.width
        self.norm = nn.LayerNorm(options.width, elementwise_affine=False)
        self.film = nn.Linear(n_conditions, options.width + inner)
        self.expand = nn.Linear(options.width, inner, bias=False)
        self.contract = nn.Linear(inner, options.width)
        nn.init.zeros_(self.contract.weight)
        nn.init.zeros_(self.contract.bias)

    def forward(self, hidden: Tensor, condition: Tensor) -> Tensor:
        modulation = cast(Tensor, self.film(condition))
        scale, shift = modulation[..., : hidden.shape[-1]], modulation[..., hidden.shape[-1] :]
        inner = nn.functional.silu(cast(Tensor, self.expand(self.norm(hidden) * (1 + scale))) + shift)
        return hidden + cast(Tensor, self.contract(inner))


class ResidualMlpNet(nn.Module):
    """(noisy code, level, condition) → a vector of the code's size."""

    def __init__(self, options: ResidualMlp, *, n_codes: int, n_conditions: int) -> None:
        super().__init__()
        self.options = options
        size = options.embedding
        self.embed = nn.Sequential(nn.Linear(size, 4 * size), nn.SiLU(), nn.Linear(4 * size, size))
        self.enter = nn.Linear(n_codes + n_conditions, options.width)
        self.blocks = nn.ModuleList(_Block(options, n_conditions=size + n_conditions) for _ in range(options.blocks))
        self.norm = nn.LayerNorm(options.width)
        self.head = nn.Linear(options.width, n_codes)

    def forward(
        self, code: Float[Tensor, "b w"], level: Int[Tensor, " b"], condition: Float[Tensor, "b c"]
    ) -> Float[Tensor, "b w"]:
        """The network's raw prediction for noisy codes at integer noise levels."""
        embedded = cast(Tensor, self.embed(sinusoidal(level, self.options.embedding).to(code)))
        modulating = torch.cat([embedded, condition], dim=-1)
        hidden = cast(Tensor, self.enter(torch.cat([code, condition], dim=-1)))
        for block in self.blocks:
            hidden = cast(Tensor, block(hidden, modulating))
        return cast(Tensor, self.head(self.norm(hidden)))
