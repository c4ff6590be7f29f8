"""An LSTM over the observation window and then over the steps of the chunk.

    c_t, h_t = LSTM(observation t)                            t = 1 … o, once per plan
    c_j, h_j = LSTM([chunk step j, embedding of its times])   j = 1 … n, at every call;      output_j = W h_j

Each step sees the observations and the steps before it, in a state of fixed size: the recurrent network of Chen et al.
2024 (arXiv 2407.01392), section 3.2, with the gates of Hochreiter & Schmidhuber 1997.
"""

from dataclasses import dataclass
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..errors import at_least
from .attention import TokenTimes
from .lstm import LstmLayer
from .network import ChunkNetwork, InputChunks, NetworkOptions, OutputChunks, Ports, Times, check_embedding


@dataclass(frozen=True)
class Recurrent(NetworkOptions):
    """Options of a network that is recurrent over observations and chunk steps.

    Attributes:
        layers: Number of recurrent layers.
        width: Units per layer.
        embedding: Size of the sinusoidal embedding of a generative time.
    """

    layers: int = 2
    width: int = 256
    embedding: int = 64

    def __post_init__(self) -> None:
        check_embedding(self.embedding)
        at_least(1, layers=self.layers, width=self.width)

    def build(self, ports: Ports) -> "RecurrentNet":
        return RecurrentNet(self, ports)


class RecurrentNet(ChunkNetwork):
    """An LSTM over observations, then over chunk steps."""

    def __init__(self, options: Recurrent, ports: Ports) -> None:
        super().__init__(ports)
        width = options.width
        self.options = options
        self.times = TokenTimes(ports, options.embedding)
        self.observe = nn.Linear(ports.n_observed, width)
        self.enter = nn.Linear(ports.n_in + self.times.size, width)
        self.layers = nn.ModuleList(LstmLayer(width, width) for _ in range(options.layers))
        self.head = nn.Linear(width, ports.n_out)

    def encode(self, observation: Float[Tensor, "b o d"]) -> Float[Tensor, "b memory"]:
        """Cells and states of all layers after the last observation, concatenated."""
        states, ends = cast(Tensor, self.observe(observation)), list[Tensor]()
        for layer in self.layers:
            states, cell = cast(LstmLayer, layer).continued(states, None)
            ends += [cell, states[:, -1]]
        return torch.cat(ends, dim=-1)

    def forward(self, chunk: InputChunks, times: Times, memory: Float[Tensor, "b memory"]) -> OutputChunks:
        embedded = cast(Tensor, self.times(times)).expand(-1, chunk.shape[1], -1)
        states = cast(Tensor, self.enter(torch.cat([chunk, embedded], dim=-1)))
        for layer, part in zip(self.layers, memory.chunk(self.options.layers, dim=-1), strict=True):
            cell, state = part.chunk(2, dim=-1)
            states, _ = cast(LstmLayer, layer).continued(states, (cell, state))
        return cast(Tensor, self.head(states))
