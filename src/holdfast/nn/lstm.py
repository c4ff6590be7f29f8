"""An LSTM over the observation window, and a hidden layer from its last state to the chunk.

    i, f, g, o = W x_t + R h_{t-1} + b,    c_t = σ(f) c_{t-1} + σ(i) tanh g,    h_t = σ(o) tanh c_t

Hochreiter & Schmidhuber 1997; for behavior cloning: Mandlekar et al. 2021 (arXiv 2108.03298), where the head follows
h_t directly. Here a hidden layer in between joins the state with the chunk and the generative times. The recurrence is
written out, because PyTorch's LSTM does not support stacked weights (`torch.func.vmap`).
"""

import math
from dataclasses import dataclass
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..errors import at_least
from .network import ChunkNetwork, InputChunks, NetworkOptions, OutputChunks, Ports, Times, check_embedding
from .partial_linear import TimeEmbedding, part_of


@dataclass(frozen=True)
class Lstm(NetworkOptions):
    """Options of a recurrent network.

    Published: 2 layers of 400 units over windows of 10 observations, 1000 units with images (robomimic's BC-RNN).

    Attributes:
        layers: Number of recurrent layers.
        width: Units per layer, and of the hidden layer after the last.
        embedding: Size of the sinusoidal embedding of a generative time.
    """

    layers: int = 2
    width: int = 400
    embedding: int = 64

    def __post_init__(self) -> None:
        check_embedding(self.embedding)
        at_least(1, layers=self.layers, width=self.width)

    def build(self, ports: Ports) -> "LstmNet":
        return LstmNet(self, ports)


class LstmLayer(nn.Module):
    """One recurrent layer; order of gates and initial weights are PyTorch's."""

    def __init__(self, n_inputs: int, width: int) -> None:
        super().__init__()
        self.enter = nn.Linear(n_inputs, 4 * width)
        self.recur = nn.Linear(width, 4 * width, bias=False)
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -1 / math.sqrt(width), 1 / math.sqrt(width))

    def forward(self, inputs: Float[Tensor, "b t n"]) -> Float[Tensor, "b t width"]:
        """States after each input, from zero."""
        return self.continued(inputs, None)[0]

    def continued(
        self, inputs: Float[Tensor, "b t n"], before: tuple[Tensor, Tensor] | None
    ) -> tuple[Float[Tensor, "b t width"], Float[Tensor, "b width"]]:
        """States after each input, and the last cell; from a cell and a state, or from zero."""
        entered = cast(Tensor, self.enter(inputs))
        zero = entered.new_zeros(entered.shape[0], self.recur.in_features)
        cell, state = (zero, zero) if before is None else before
        states: list[Tensor] = []
        for step in entered.unbind(1):
            write, keep, new, read = (step + cast(Tensor, self.recur(state))).chunk(4, dim=-1)
            cell = keep.sigmoid() * cell + write.sigmoid() * new.tanh()
            state = read.sigmoid() * cell.tanh()
            states.append(state)
        return torch.stack(states, dim=1), cell


class LstmNet(ChunkNetwork):
    """An LSTM over the observations, computed once per plan, and a perceptron from its state to the chunk."""

    def __init__(self, options: Lstm, ports: Ports) -> None:
        super().__init__(ports)
        self.options = options
        inputs = [ports.n_observed, *[options.width] * (options.layers - 1)]
        self.layers = nn.ModuleList(LstmLayer(n, options.width) for n in inputs)
        self.embed = TimeEmbedding(ports.n_times, options.embedding, nn.SiLU())
        self.join = nn.Linear(ports.horizon * ports.n_in + self.embed.size + options.width, options.width)
        self.head = nn.Linear(options.width, ports.horizon * ports.n_out)

    def encode(self, observation: Float[Tensor, "b o d"]) -> Float[Tensor, "b width"]:
        """The last state's contribution to the hidden layer."""
        states = observation
        for layer in self.layers:
            states = cast(Tensor, layer(states))
        return part_of(self.join, states[:, -1], start=self.join.in_features - self.options.width, bias=True)

    def forward(self, chunk: InputChunks, times: Times, memory: Float[Tensor, "b width"]) -> OutputChunks:
        codes = chunk.flatten(1)
        embedded = part_of(self.join, cast(Tensor, self.embed(times)), start=codes.shape[1])
        hidden = nn.functional.silu(memory + part_of(self.join, codes, start=0) + embedded)
        return cast(Tensor, self.head(hidden)).view(-1, self.ports.horizon, self.ports.n_out)
