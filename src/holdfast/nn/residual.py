"""A residual multilayer perceptron whose blocks are modulated by a condition.

    y = x + W₂ silu(W₁ ((1 + γ(c)) ⊙ norm(x) + …) + β(c)),      c = [embedding of the times, condition]

Pre-norm residual blocks (He et al. 2016, arXiv 1603.05027; Xiong et al. 2020, arXiv 2002.04745), modulated as in FiLM
(Perez et al. 2018). Each block starts as the identity. For precise chunks, depth without vanishing gradients is worth
more than the width of a plain network.
"""

from dataclasses import dataclass
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..errors import at_least
from .network import ChunkNetwork, InputChunks, NetworkOptions, OutputChunks, Ports, Times, check_embedding
from .partial_linear import TimeEmbedding, part_of


@dataclass(frozen=True)
class ResidualMlp(NetworkOptions):
    """Options of a residual MLP.

    Attributes:
        width: Units of the residual stream.
        blocks: Number of residual blocks.
        expansion: Units inside a block, in multiples of the width.
        embedding: Size of the sinusoidal embedding of a generative time.
    """

    width: int = 512
    blocks: int = 3
    expansion: int = 2
    embedding: int = 64

    def __post_init__(self) -> None:
        check_embedding(self.embedding)
        at_least(1, width=self.width, blocks=self.blocks, expansion=self.expansion)

    def build(self, ports: Ports) -> "ResidualMlpNet":
        return ResidualMlpNet(self, ports)


class _Block(nn.Module):
    """One residual block; its last layer is initialised to zero, so that it starts as the identity."""

    def __init__(self, options: ResidualMlp, *, n_conditions: int) -> None:
        super().__init__()
        inner = options.expansion * options.width
        self.norm = nn.LayerNorm(options.width, elementwise_affine=False)
        self.film = nn.Linear(n_conditions, options.width + inner)
        self.expand = nn.Linear(options.width, inner, bias=False)
        self.contract = nn.Linear(inner, options.width)
        nn.init.zeros_(self.contract.weight)
        nn.init.zeros_(self.contract.bias)

    def forward(self, hidden: Tensor, modulation: Tensor) -> Tensor:
        scale, shift = modulation[..., : hidden.shape[-1]], modulation[..., hidden.shape[-1] :]
        inner = nn.functional.silu(cast(Tensor, self.expand(self.norm(hidden) * (1 + scale))) + shift)
        return hidden + cast(Tensor, self.contract(inner))


class ResidualMlpNet(ChunkNetwork):
    """A residual MLP of flattened chunks."""

    def __init__(self, options: ResidualMlp, ports: Ports) -> None:
        super().__init__(ports)
        self.options = options
        n_codes, n_conditions = ports.horizon * ports.n_in, ports.n_obs_steps * ports.n_observed
        self.embed = TimeEmbedding(ports.n_times, options.embedding, nn.SiLU())
        self.enter = nn.Linear(n_codes + n_conditions, options.width)
        modulating = self.embed.size + n_conditions
        self.blocks = nn.ModuleList(_Block(options, n_conditions=modulating) for _ in range(options.blocks))
        self.norm = nn.LayerNorm(options.width)
        self.head = nn.Linear(options.width, ports.horizon * ports.n_out)

    def encode(self, observation: Float[Tensor, "b o d"]) -> Float[Tensor, "b memory"]:
        """The condition's contributions to the first layer and to each block's modulation, concatenated."""
        condition = observation.flatten(1)
        parts = [part_of(self.enter, condition, start=self.enter.in_features - condition.shape[1], bias=True)]
        for block in self.blocks:
            parts.append(part_of(cast(_Block, block).film, condition, start=self.embed.size, bias=True))
        return torch.cat(parts, dim=-1)

    def forward(self, chunk: InputChunks, times: Times, memory: Float[Tensor, "b memory"]) -> OutputChunks:
        blocks = [cast(_Block, block) for block in self.blocks]
        sizes = [self.enter.out_features, *(block.film.out_features for block in blocks)]
        entered, *conditioned = torch.split(memory, sizes, dim=-1)
        embedded = self.embed(times)
        hidden = entered + part_of(self.enter, chunk.flatten(1), start=0)
        for block, of_condition in zip(blocks, conditioned, strict=True):
            hidden = block(hidden, of_condition + part_of(block.film, embedded, start=0))
        return cast(Tensor, self.head(self.norm(hidden))).view(-1, self.ports.horizon, self.ports.n_out)
