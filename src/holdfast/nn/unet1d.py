"""A convolutional U-Net along the steps of a chunk, modulated by generative times and observations.

    block:  x ↦ conv₂((1 + γ) ⊙ conv₁(x) + β) + shortcut(x),    conv = mish ∘ group norm ∘ convolution
    γ, β = linear map of mish [embedding of the times, observations]

Two blocks per level on the way down (half as many steps, more channels), two at the bottom, and two per level on the
way up, with skip connections. After Diffuser (Janner et al. 2022, arXiv 2205.09991) and Diffusion Policy (Chi et al.
2023, arXiv 2303.04137), whose modulation is FiLM (Perez et al. 2018). They scale by γ, not 1 + γ.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..errors import RecipeError
from .convolve import Convolution, Upsampling
from .modulations import Modulations
from .network import ChunkNetwork, InputChunks, NetworkOptions, OutputChunks, Ports, Times, check_embedding
from .partial_linear import TimeEmbedding


@dataclass(frozen=True)
class UNet1d(NetworkOptions):
    """Options of a convolutional U-Net.

    Published: channels (256, 512, 1024), embedding 256 (Diffusion Policy, low-dimensional tasks).

    Attributes:
        channels: Channels of each level; each level except the last halves the number of steps.
        kernel: Kernel size of the convolutions; odd.
        groups: Groups of the group normalisation.
        embedding: Size of the sinusoidal embedding of a generative time.
    """

    channels: tuple[int, ...] = (32, 64)
    kernel: int = 5
    groups: int = 8
    embedding: int = 64

    def __post_init__(self) -> None:
        check_embedding(self.embedding)
        if self.kernel < 1 or self.kernel % 2 == 0:
            raise RecipeError(f"expected an odd kernel, got {self.kernel}.")
        if self.groups < 1 or not self.channels or any(n < 1 or n % self.groups for n in self.channels):
            raise RecipeError(
                f"expected at least one level, with channels divisible by {self.groups} groups, got {self.channels}."
            )

    def build(self, ports: Ports) -> "UNet1dNet":
        return UNet1dNet(self, ports)


class _Convolution(nn.Module):
    """mish ∘ group norm ∘ convolution."""

    def __init__(self, options: UNet1d, n_in: int, n_out: int) -> None:
        super().__init__()
        self.convolve = Convolution(n_in, n_out, options.kernel)
        self.norm = nn.GroupNorm(options.groups, n_out)

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.mish(cast(Tensor, self.norm(self.convolve(x))))


class _Block(nn.Module):
    """One modulated residual block; `modulations` yields its concatenated scale and shift."""

    def __init__(self, options: UNet1d, n_in: int, n_out: int) -> None:
        super().__init__()
        self.n_modulations = 2 * n_out
        self.first, self.second = _Convolution(options, n_in, n_out), _Convolution(options, n_out, n_out)
        self.shortcut = nn.Identity() if n_in == n_out else Convolution(n_in, n_out, 1)

    def forward(self, x: Tensor, modulations: Iterator[Tensor]) -> Tensor:
        scale, shift = next(modulations)[..., None].chunk(2, dim=1)
        inner = (1 + scale) * cast(Tensor, self.first(x)) + shift
        return cast(Tensor, self.second(inner)) + cast(Tensor, self.shortcut(x))


class _Level(nn.Module):
    """Two blocks."""

    def __init__(self, options: UNet1d, n_in: int, n_out: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList((_Block(options, n_in, n_out), _Block(options, n_out, n_out)))

    def forward(self, x: Tensor, modulations: Iterator[Tensor]) -> Tensor:
        for block in self.blocks:
            x = cast(Tensor, block(x, modulations))
        return x


class UNet1dNet(ChunkNetwork):
    """A convolutional U-Net along the steps of a chunk of any length."""

    def __init__(self, options: UNet1d, ports: Ports) -> None:
        super().__init__(ports)
        self.options = options
        top, bottom = options.channels[0], options.channels[-1]
        steps = list(itertools.pairwise(options.channels))
        downs = [(ports.n_in, top), *steps]
        self.down = nn.ModuleList(_Level(options, a, b) for a, b in downs)
        self.shrink = nn.ModuleList(Convolution(a, a, 3, stride=2) for a, _ in steps)
        self.bottom = _Level(options, bottom, bottom)
        # no skip connection from the top level, as published
        self.up = nn.ModuleList(_Level(options, 2 * b, a) for a, b in reversed(steps))
        self.grow = nn.ModuleList(Upsampling(a) for a, _ in reversed(steps))
        self.last = _Convolution(options, top, top)
        self.head = Convolution(top, ports.n_out, 1)
        self.embed = TimeEmbedding(ports.n_times, options.embedding, nn.Mish())
        self.sizes = [part.n_modulations for part in self.modules() if isinstance(part, _Block)]
        self.film = Modulations(self.embed.size, ports.n_obs_steps * ports.n_observed, sum(self.sizes))

    def encode(self, observation: Float[Tensor, "b o d"]) -> Float[Tensor, "b memory"]:
        """The observations' part of the modulation of all blocks, concatenated."""
        return self.film.of_observations(nn.functional.mish(observation.flatten(1)))

    def forward(self, chunk: InputChunks, times: Times, memory: Float[Tensor, "b memory"]) -> OutputChunks:
        embedded = nn.functional.mish(cast(Tensor, self.embed(times)))
        modulations = iter(torch.split(memory + self.film.of_times(embedded), self.sizes, dim=-1))
        x = self._lengthened(chunk).mT
        skips: list[Tensor] = []
        for index, level in enumerate(self.down):
            x = cast(Tensor, self.shrink[index - 1](x) if index else x)
            x = cast(Tensor, level(x, modulations))
            skips.append(x)
        x = cast(Tensor, self.bottom(x, modulations))
        for level, grow in zip(self.up, self.grow, strict=True):
            x = cast(Tensor, grow(level(torch.cat([x, skips.pop()], dim=1), modulations)))
        return cast(Tensor, self.head(self.last(x))).mT[:, : self.ports.horizon]

    def _lengthened(self, chunk: Tensor) -> Tensor:
        """The chunk with its last step repeated until every level can halve the number of steps."""
        missing = -chunk.shape[1] % 2 ** len(self.shrink)
        return torch.cat([chunk, chunk[:, -1:].expand(-1, missing, -1)], dim=1)
