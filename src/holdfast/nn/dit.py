"""A transformer over the steps of a chunk, modulated by generative times and observations (DiT).

    x ← x + g₁ ⊙ W attention((1 + γ₁) ⊙ norm x + β₁),    x ← x + g₂ ⊙ perceptron((1 + γ₂) ⊙ norm x + β₂)

(γ, β, g) of all layers are one linear map of silu [embedding of the times, embedding of the observations], initialised
to zero, so that each block starts as the identity: adaLN-zero of Peebles & Xie 2023 (arXiv 2212.09748, section 3.2).
If each step of the chunk has its own time, each token is modulated by its own: later steps can be noisier than earlier
ones (Høeg et al. 2024, arXiv 2406.04806; Chen et al. 2024, arXiv 2407.01392).
"""

from dataclasses import dataclass
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from .attention import Perceptron, TokenTimes, attend, check_tokens, first_weights
from .network import ChunkNetwork, InputChunks, NetworkOptions, OutputChunks, Ports, Times, check_embedding
from .partial_linear import part_of


@dataclass(frozen=True)
class Dit(NetworkOptions):
    """Options of a diffusion transformer (DiT).

    Published: 12 layers, 6 heads, width 384 for the smallest image model (DiT-S), without dropout.

    Attributes:
        layers: Transformer blocks.
        heads: Attention heads.
        width: Size of a token inside the network.
        embedding: Size of the sinusoidal embedding of a generative time.
    """

    layers: int = 3
    heads: int = 4
    width: int = 64
    embedding: int = 64

    def __post_init__(self) -> None:
        check_tokens(width=self.width, heads=self.heads, layers=self.layers)
        check_embedding(self.embedding)

    def build(self, ports: Ports) -> "DitNet":
        return DitNet(self, ports)


class _Block(nn.Module):
    """One modulated block."""

    def __init__(self, options: Dit) -> None:
        super().__init__()
        width = options.width
        self.heads = options.heads
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.project, self.contract = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.perceptron = Perceptron(width)

    def forward(self, tokens: Tensor, modulation: Tensor) -> Tensor:
        width = tokens.shape[-1]
        scale, shift, gate, inner_scale, inner_shift, inner_gate = modulation.chunk(6, dim=-1)
        projected = cast(Tensor, self.project((1 + scale) * self.norm(tokens) + shift))
        attended = attend(projected[..., :width], projected[..., width:], heads=self.heads)
        tokens = tokens + gate * cast(Tensor, self.contract(attended))
        return tokens + inner_gate * cast(Tensor, self.perceptron((1 + inner_scale) * self.norm(tokens) + inner_shift))


class DitNet(ChunkNetwork):
    """A transformer over chunk steps, modulated by generative times and observations."""

    def __init__(self, options: Dit, ports: Ports) -> None:
        super().__init__(ports)
        width, n_conditions = options.width, ports.n_obs_steps * ports.n_observed
        self.options = options
        self.times = TokenTimes(ports, options.embedding)
        self.observe = nn.Sequential(nn.Linear(n_conditions, width), nn.SiLU(), nn.Linear(width, width))
        self.modulate = nn.Linear(self.times.size + width, (6 * options.layers + 2) * width)
        self.enter = nn.Linear(ports.n_in, width)
        self.positions = nn.Parameter(0.02 * torch.randn(ports.horizon, width))
        self.blocks = nn.ModuleList(_Block(options) for _ in range(options.layers))
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.head = nn.Linear(width, ports.n_out)
        first_weights(self.blocks, additions=2 * options.layers)
        nn.init.zeros_(self.modulate.weight)
        nn.init.zeros_(self.modulate.bias)

    def encode(self, observation: Float[Tensor, "b o d"]) -> Float[Tensor, "b memory"]:
        """The observations' part of the modulation of all layers, concatenated."""
        observed = nn.functional.silu(cast(Tensor, self.observe(observation.flatten(1))))
        return part_of(self.modulate, observed, start=self.times.size, bias=True)

    def forward(self, chunk: InputChunks, times: Times, memory: Float[Tensor, "b memory"]) -> OutputChunks:
        width, layers = self.options.width, self.options.layers
        embedded = nn.functional.silu(cast(Tensor, self.times(times)))
        by_times = part_of(self.modulate, embedded.flatten(0, 1), start=0).view(*embedded.shape[:2], -1)
        modulation = memory[:, None] + by_times
        *of_blocks, of_head = torch.split(modulation, [*[6 * width] * layers, 2 * width], dim=-1)
        tokens = cast(Tensor, self.enter(chunk)) + self.positions
        for block, part in zip(self.blocks, of_blocks, strict=True):
            tokens = cast(Tensor, block(tokens, part))
        scale, shift = of_head.chunk(2, dim=-1)
        return cast(Tensor, self.head((1 + scale) * self.norm(tokens) + shift))
