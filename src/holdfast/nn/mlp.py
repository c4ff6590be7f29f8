"""A multilayer perceptron whose layers are modulated by a condition (FiLM).

    y = γ(c) ⊙ act(W x + b) + β(c),      c = [embedding of the level, condition]

Perez et al. 2018, "FiLM: Visual Reasoning with a General Conditioning Layer", eq. 1–2. The input of the first layer
is the noisy chunk beside the condition, as in Block et al. 2023 (arXiv 2307.14619, the quadrotor experiment).
"""

import itertools
import math
from dataclasses import dataclass
from typing import Literal, cast, get_args

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ..errors import RecipeError, UnknownNameError

__all__ = ["FilmMlp", "FilmMlpNet", "sinusoidal"]


Activation = Literal["relu", "mish"]


@dataclass(frozen=True)
class FilmMlp:
    """Options of a FiLM-conditioned MLP.

    Attributes:
        widths: Units of each hidden layer.
        embedding: Size of the sinusoidal embedding of the noise level.
        activation: "relu" as published, or the smooth "mish".
        bounded: End with tanh, for targets in [-1, 1].
        linear_skip: Add a linear map of the condition to the output. Reference states and actions near a goal are
            almost linear in the observed state; what is left to the layers is small, and so is their error.
        scalar_film_bias: Published defect of the original quadrotor experiment: β(c) is one number a layer instead of
            one a unit. Only for reproducing published figures; it costs the raw-action baseline dearly.

    """

    widths: tuple[int, ...] = (256, 128, 128, 64)
    embedding: int = 64
    activation: Activation = "relu"
    bounded: bool = True
    linear_skip: bool = False
    scalar_film_bias: bool = False

    def __post_init__(self) -> None:
        if self.embedding < 4 or self.embedding % 2:
            raise RecipeError(f"expected an even embedding of at least 4, got {self.embedding}.")
        if not self.widths or min(self.widths) < 1:
            raise RecipeError(f"expected at least one hidden layer of at least one unit, got {self.widths}.")


def sinusoidal(level: Int[Tensor, " b"], size: int) -> Float[Tensor, "b size"]:
    """Sines and cosines of a noise level at geometric frequencies (Vaswani et al. 2017, section 3.5)."""
    half = size // 2
    frequencies = torch.exp(-math.log(10_000) * torch.arange(half, device=level.device) / (half - 1))
    angles = level[:, None].float() * frequencies
    return torch.cat([angles.sin(), angles.cos()], dim=-1)


def _activation(name: Activation) -> nn.Module:
    match name:
        case "relu":
            return nn.ReLU()
        case "mish":
            return nn.Mish()
        case _:
            raise UnknownNameError("activation", name, get_args(Activation))


class FilmMlpNet(nn.Module):
    """(noisy code, level, condition) → a vector of the code's size."""

    def __init__(self, options: FilmMlp, *, n_codes: int, n_conditions: int) -> None:
        super().__init__()
        self.options = options
        self.activation = _activation(options.activation)
        size = options.embedding
        self.embed = nn.Sequential(nn.Linear(size, 4 * size), nn.Mish(), nn.Linear(4 * size, size))
        inputs = [n_codes + n_conditions, *options.widths]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in itertools.pairwise(inputs))
        extra = [1 if options.scalar_film_bias else width for width in options.widths]
        self.films = nn.ModuleList(
            nn.Linear(size + n_conditions, width + bias) for width, bias in zip(options.widths, extra, strict=True)
        )
        self.head = nn.Linear(options.widths[-1], n_codes)
        self.skip = nn.Linear(n_conditions, n_codes, bias=False) if options.linear_skip else None
        if self.skip is not None:
            nn.init.zeros_(self.skip.weight)

    def forward(
        self, code: Float[Tensor, "b w"], level: Int[Tensor, " b"], condition: Float[Tensor, "b c"]
    ) -> Float[Tensor, "b w"]:
        """The network's raw prediction for noisy codes at integer noise levels."""
        embedded = cast(Tensor, self.embed(sinusoidal(level, self.options.embedding).to(code)))
        film_input = torch.cat([embedded, condition], dim=-1)
        hidden = torch.cat([code, condition], dim=-1)
        for layer, film, width in zip(self.layers, self.films, self.options.widths, strict=True):
            modulation = cast(Tensor, film(film_input))
            scale, shift = modulation[:, :width], modulation[:, width:]
            hidden = (1 + scale) * self.activation(cast(Tensor, layer(hidden))) + shift
        out = cast(Tensor, self.head(hidden))
        if self.skip is not None:
            out = out + cast(Tensor, self.skip(condition))
        return out.tanh() if self.options.bounded else out
