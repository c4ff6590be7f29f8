"""A multilayer perceptron whose hidden layers are modulated by a condition (FiLM).

    h_{i+1} = (1 + γ_i(c)) ⊙ act(W_i h_i + b_i) + β_i(c)

c = [embedding of the generative times, condition]; γ_i and β_i are a linear map of c, each of the layer's width. The
condition is also an input of the first layer. Perez et al. 2018 (arXiv 1709.07871); for chunks of primitive
controllers: Block et al. 2023 (arXiv 2307.14619), appendix on experiments.
"""

import itertools
from dataclasses import dataclass, replace
from typing import Literal, cast, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..errors import RecipeError, UnknownNameError
from .network import ChunkNetwork, InputChunks, NetworkOptions, OutputChunks, Ports, Times, check_embedding
from .partial_linear import TimeEmbedding, part_of

Activation = Literal["relu", "mish"]


@dataclass(frozen=True)
class FilmMlp(NetworkOptions):
    """Options of a FiLM-conditioned MLP.

    Attributes:
        widths: Number of units of each hidden layer.
        embedding: Size of the sinusoidal embedding of a generative time.
        activation: "relu" as published, or the smooth "mish".
        bounded: End with tanh, for targets in [-1, 1].
        linear_skip: Add a linear map of the condition to the output. Near a goal, reference states and actions are
            almost linear in the observed state, which leaves a small residual to the layers.
        scalar_film_bias: Published defect of the original quadrotor experiment: β(c) is one number per layer instead
            of one per unit. Only for reproducing published figures; it harms the raw-action baseline.
    """

    widths: tuple[int, ...] = (256, 128, 128, 64)
    embedding: int = 64
    activation: Activation = "relu"
    bounded: bool = True
    linear_skip: bool = False
    scalar_film_bias: bool = False

    def __post_init__(self) -> None:
        check_embedding(self.embedding)
        if not self.widths or min(self.widths) < 1:
            raise RecipeError(f"expected at least one hidden layer of at least one unit, got {self.widths}.")

    def build(self, ports: Ports) -> "FilmMlpNet":
        return FilmMlpNet(replace(self, bounded=self.bounded and not ports.any_range), ports)


def _activation(name: Activation) -> nn.Module:
    match name:
        case "relu":
            return nn.ReLU()
        case "mish":
            return nn.Mish()
        case _:
            raise UnknownNameError("activation", name, get_args(Activation))


class FilmMlpNet(ChunkNetwork):
    """A FiLM-conditioned MLP of flattened chunks."""

    def __init__(self, options: FilmMlp, ports: Ports) -> None:
        super().__init__(ports)
        self.options = options
        n_codes, n_conditions = ports.horizon * ports.n_in, ports.n_obs_steps * ports.n_observed
        outputs = ports.horizon * ports.n_out
        self.activation = _activation(options.activation)
        self.embed = TimeEmbedding(ports.n_times, options.embedding, nn.Mish())
        inputs = [n_codes + n_conditions, *options.widths]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in itertools.pairwise(inputs))
        extra = [1 if options.scalar_film_bias else width for width in options.widths]
        modulating = self.embed.size + n_conditions
        self.films = nn.ModuleList(
            nn.Linear(modulating, width + bias) for width, bias in zip(options.widths, extra, strict=True)
        )
        self.head = nn.Linear(options.widths[-1], outputs)
        self.skip = nn.Linear(n_conditions, outputs, bias=False) if options.linear_skip else None
        if self.skip is not None:
            nn.init.zeros_(self.skip.weight)

    def encode(self, observation: Float[Tensor, "b o d"]) -> Float[Tensor, "b memory"]:
        """The condition's contributions to the first layer, to each modulation and to the output, concatenated."""
        condition = observation.flatten(1)
        first = cast(nn.Linear, self.layers[0])
        parts = [part_of(first, condition, start=first.in_features - condition.shape[1], bias=True)]
        for film in self.films:
            parts.append(part_of(cast(nn.Linear, film), condition, start=self.embed.size, bias=True))
        if self.skip is not None:
            parts.append(cast(Tensor, self.skip(condition)))
        return torch.cat(parts, dim=-1)

    def forward(self, chunk: InputChunks, times: Times, memory: Float[Tensor, "b memory"]) -> OutputChunks:
        first = cast(nn.Linear, self.layers[0])
        sizes = [first.out_features, *(cast(nn.Linear, film).out_features for film in self.films)]
        entered, *conditioned, skipped = torch.split(memory, [*sizes, memory.shape[1] - sum(sizes)], dim=-1)
        embedded = self.embed(times)
        hidden = entered + part_of(first, chunk.flatten(1), start=0)
        for index, (film, width) in enumerate(zip(self.films, self.options.widths, strict=True)):
            if index:
                hidden = cast(Tensor, self.layers[index](hidden))
            modulation = conditioned[index] + part_of(cast(nn.Linear, film), embedded, start=0)
            scale, shift = modulation[:, :width], modulation[:, width:]
            hidden = (1 + scale) * self.activation(hidden) + shift
        out = cast(Tensor, self.head(hidden))
        if self.skip is not None:
            out = out + skipped
        out = out.tanh() if self.options.bounded else out
        return out.view(-1, self.ports.horizon, self.ports.n_out)
