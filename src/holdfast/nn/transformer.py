"""A transformer whose tokens are the steps of a chunk, with cross-attention to the observations.

    memory tokens = observations;     chunk tokens: self-attention, attention to the memory, perceptron

Vaswani et al. 2017 (arXiv 1706.03762), pre-norm; as a denoiser of chunks: Chi et al. 2023 (arXiv 2303.04137), where
the noise level is a memory token. Here the generative times are inputs of each chunk token, so that the keys and values
of the memory are computed once per plan, for all layers.
"""

from dataclasses import dataclass
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..errors import at_least
from .attention import Perceptron, TokenTimes, TransformerBlock, attend, check_tokens, first_weights
from .network import ChunkNetwork, InputChunks, NetworkOptions, OutputChunks, Ports, Times, check_embedding


@dataclass(frozen=True)
class Transformer(NetworkOptions):
    """Options of a transformer from observations to chunks.

    Published: 8 layers, 4 heads, width 256, causal, no encoder layers (Diffusion Policy, low-dimensional tasks); its
    attention dropout of 0.3 is omitted.

    Attributes:
        layers: Number of decoder blocks, over the chunk.
        heads: Attention heads.
        width: Size of a token inside the network.
        encoder_layers: Number of encoder blocks, over the observations.
        embedding: Size of the sinusoidal embedding of a generative time.
        causal: A step of the chunk attends to earlier steps only.
    """

    layers: int = 2
    heads: int = 4
    width: int = 64
    encoder_layers: int = 1
    embedding: int = 64
    causal: bool = False

    def __post_init__(self) -> None:
        check_tokens(width=self.width, heads=self.heads, layers=self.layers)
        check_embedding(self.embedding)
        at_least(0, encoder_layers=self.encoder_layers)

    def build(self, ports: Ports) -> "TransformerNet":
        return TransformerNet(self, ports)


class _DecoderBlock(nn.Module):
    """Self-attention, cross-attention to the memory and perceptron, each a residual."""

    def __init__(self, options: Transformer) -> None:
        super().__init__()
        width = options.width
        self.options = options
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(3))
        self.project, self.contract = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.ask, self.memory_contract = nn.Linear(width, width), nn.Linear(width, width)
        self.perceptron = Perceptron(width)

    def forward(self, tokens: Tensor, memory: Tensor) -> Tensor:
        width, heads = self.options.width, self.options.heads
        projected = cast(Tensor, self.project(self.norms[0](tokens)))
        attended = attend(projected[..., :width], projected[..., width:], heads=heads, causal=self.options.causal)
        tokens = tokens + cast(Tensor, self.contract(attended))
        remembered = attend(cast(Tensor, self.ask(self.norms[1](tokens))), memory, heads=heads)
        tokens = tokens + cast(Tensor, self.memory_contract(remembered))
        return tokens + cast(Tensor, self.perceptron(self.norms[2](tokens)))


class TransformerNet(ChunkNetwork):
    """A transformer from observation tokens to chunk tokens."""

    def __init__(self, options: Transformer, ports: Ports) -> None:
        super().__init__(ports)
        width = options.width
        self.options = options
        self.observe = nn.Linear(ports.n_observed, width)
        self.observe_positions = nn.Parameter(0.02 * torch.randn(ports.n_obs_steps, width))
        self.encoder = nn.ModuleList(TransformerBlock(width, options.heads) for _ in range(options.encoder_layers))
        self.encoder_norm = nn.LayerNorm(width)
        self.remember = nn.Linear(width, options.layers * 2 * width)
        self.times = TokenTimes(ports, options.embedding)
        self.enter = nn.Linear(ports.n_in + self.times.size, width)
        self.positions = nn.Parameter(0.02 * torch.randn(ports.horizon, width))
        self.decoder = nn.ModuleList(_DecoderBlock(options) for _ in range(options.layers))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, ports.n_out)
        first_weights(self.encoder, additions=2 * options.encoder_layers)
        for part in (self.remember, self.decoder, self.head):
            first_weights(part, additions=3 * options.layers)

    def encode(self, observation: Float[Tensor, "b o d"]) -> Float[Tensor, "b o memory"]:
        """The observations' keys and values for all decoder layers, concatenated."""
        tokens = cast(Tensor, self.observe(observation)) + self.observe_positions
        for block in self.encoder:
            tokens, _ = cast(TransformerBlock, block)(tokens)
        return cast(Tensor, self.remember(self.encoder_norm(tokens)))

    def forward(self, chunk: InputChunks, times: Times, memory: Float[Tensor, "b o memory"]) -> OutputChunks:
        embedded = cast(Tensor, self.times(times)).expand(-1, chunk.shape[1], -1)
        tokens = cast(Tensor, self.enter(torch.cat([chunk, embedded], dim=-1))) + self.positions
        for block, part in zip(self.decoder, memory.chunk(self.options.layers, dim=-1), strict=True):
            tokens = cast(Tensor, block(tokens, part))
        return cast(Tensor, self.head(self.norm(tokens)))
