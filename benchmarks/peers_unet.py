"""The conditional U-Net of Diffusion Policy and LeRobot, re-created, and its equality with `holdfast.nn.UNet1d`.

    python benchmarks/peers_unet.py

The code is written from a description of their sources; none of it is copied. Diffusion Policy (Chi et al. 2023, arXiv
2303.04137; real-stanford/diffusion_policy, `model/diffusion/conditional_unet1d.py`) and LeRobot 0.6
(`policies/diffusion/modeling_diffusion.py`) have the same layers: two blocks per level, each with its own layer that
computes a scale and a shift from [embedded step, observations]; a stride of 2 between levels; and no skip connection
from the top level. Every call embeds the step and the observations anew.

`UNet1dNet` computes the same, with another arrangement of parameters: its modulations are one layer, and its scale is
1 + γ where theirs is γ. The script copies the weights and prints the number of parameters and the difference of the
outputs.
"""

import argparse
import itertools
import math
from dataclasses import dataclass
from typing import Literal, cast

import torch
from torch import Tensor, nn

from holdfast.nn import Ports, UNet1d
from holdfast.nn.unet1d import UNet1dNet

__all__ = ["DIFFUSION_POLICY", "LEROBOT", "Peer", "PeerUnet", "copied", "network_of"]


@dataclass(frozen=True, kw_only=True)
class Peer:
    """Published setting of a peer for low-dimensional tasks.

    Attributes:
        name: Name of the peer.
        channels: Channels of each level.
        embedding: Size of the embedded step.
        horizon: Steps of a chunk.
        batch: Batch size.
        workers: Worker processes of its `DataLoader`.
        clip: Largest norm of the gradient; `None` without clipping.
        average: Whether it keeps a moving average of its weights.
        sliced: Whether its items are slices of arrays and its losses masked, or its items looked up in a table.
        optimiser: PyTorch's optimiser, with its default implementation.
    """

    name: str
    channels: tuple[int, ...]
    embedding: int
    horizon: int
    batch: int
    workers: int
    clip: float | None
    average: bool
    sliced: bool
    optimiser: Literal["adam", "adamw"]

    @property
    def options(self) -> UNet1d:
        """The same network of Holdfast."""
        return UNet1d(channels=self.channels, kernel=5, groups=8, embedding=self.embedding)


# config/train_diffusion_unet_lowdim_workspace.yaml
DIFFUSION_POLICY = Peer(
    name="Diffusion Policy",
    channels=(256, 512, 1024),
    embedding=256,
    horizon=16,
    batch=256,
    workers=1,
    clip=None,
    average=True,
    sliced=True,
    optimiser="adamw",
)
# policies/diffusion/configuration_diffusion.py and configs/train.py of 0.6.2; its Push-T command asks for batches of 64
LEROBOT = Peer(
    name="LeRobot",
    channels=(512, 1024, 2048),
    embedding=128,
    horizon=64,
    batch=8,
    workers=4,
    clip=10.0,
    average=False,
    sliced=False,
    optimiser="adam",
)


def convolved(n_in: int, n_out: int, options: UNet1d) -> nn.Sequential:
    """Convolution, group norm and mish."""
    return nn.Sequential(
        nn.Conv1d(n_in, n_out, options.kernel, padding=options.kernel // 2),
        nn.GroupNorm(options.groups, n_out),
        nn.Mish(),
    )


class Modulated(nn.Module):
    """Residual block with its own layer for the condition."""

    def __init__(self, n_in: int, n_out: int, condition: int, options: UNet1d) -> None:
        super().__init__()
        self.first, self.second = convolved(n_in, n_out, options), convolved(n_out, n_out, options)
        self.film = nn.Sequential(nn.Mish(), nn.Linear(condition, 2 * n_out))
        self.shortcut = nn.Identity() if n_in == n_out else nn.Conv1d(n_in, n_out, 1)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        scale, shift = cast(Tensor, self.film(condition))[..., None].chunk(2, dim=1)
        inner = scale * cast(Tensor, self.first(x)) + shift
        return cast(Tensor, self.second(inner)) + cast(Tensor, self.shortcut(x))


class Steps(nn.Module):
    """Sinusoidal embedding of noise levels."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.frequencies = size // 2

    def forward(self, level: Tensor) -> Tensor:
        places = torch.arange(self.frequencies, device=level.device)
        angles = level[:, None] * torch.exp(places * -(math.log(10_000) / (self.frequencies - 1)))[None]
        return torch.cat([angles.sin(), angles.cos()], dim=-1)


class PeerUnet(nn.Module):
    """(noisy chunk `[b, h, m]`, levels `[b]`, concatenated observations `[b, o d]`) → predicted noise."""

    def __init__(self, options: UNet1d, n_actions: int, n_condition: int) -> None:
        super().__init__()
        size, channels = options.embedding, options.channels
        told = size + n_condition

        def pair(n_in: int, n_out: int) -> nn.ModuleList:
            return nn.ModuleList((Modulated(n_in, n_out, told, options), Modulated(n_out, n_out, told, options)))

        changes = list(itertools.pairwise(channels))
        self.embed = nn.Sequential(Steps(size), nn.Linear(size, 4 * size), nn.Mish(), nn.Linear(4 * size, size))
        self.down = nn.ModuleList(pair(a, b) for a, b in [(n_actions, channels[0]), *changes])
        self.shrink = nn.ModuleList(nn.Conv1d(a, a, 3, stride=2, padding=1) for a, _ in changes)
        self.middle = pair(channels[-1], channels[-1])
        self.up = nn.ModuleList(pair(2 * b, a) for a, b in reversed(changes))
        self.grow = nn.ModuleList(nn.ConvTranspose1d(a, a, 4, stride=2, padding=1) for a, _ in reversed(changes))
        self.last = nn.Sequential(convolved(channels[0], channels[0], options), nn.Conv1d(channels[0], n_actions, 1))

    def forward(self, noisy: Tensor, level: Tensor, observed: Tensor) -> Tensor:
        """Predicted noise; the condition is embedded at every call."""
        condition = torch.cat([cast(Tensor, self.embed(level)), observed], dim=-1)
        x, known = noisy.mT, list[Tensor]()
        for index, blocks in enumerate(self.down):
            x = cast(Tensor, self.shrink[index - 1](x) if index else x)
            x = _through(blocks, x, condition)
            known.append(x)
        x = _through(self.middle, x, condition)
        for blocks, grow in zip(self.up, self.grow, strict=True):
            x = _through(blocks, torch.cat([x, known.pop()], dim=1), condition)
            x = cast(Tensor, grow(x))
        return cast(Tensor, self.last(x)).mT


def _through(blocks: nn.Module, x: Tensor, condition: Tensor) -> Tensor:
    for block in blocks.children():
        x = cast(Tensor, block(x, condition))
    return x


def network_of(peer: Peer, *, n_actions: int, n_observed: int, n_obs_steps: int = 2) -> UNet1dNet:
    """Holdfast's network of a peer's size."""
    ports = Ports(
        horizon=peer.horizon,
        n_in=n_actions,
        n_out=n_actions,
        n_times=1,
        n_obs_steps=n_obs_steps,
        n_observed=n_observed,
    )
    network = peer.options.build(ports)
    assert isinstance(network, UNet1dNet)
    return network


@torch.no_grad()
def copied(ours: UNet1dNet) -> PeerUnet:
    """The peers' network with our weights: its blocks' modulations are parts of our one layer, and γ is 1 + γ."""
    ports = ours.ports
    theirs = PeerUnet(ours.options, ports.n_in, ports.n_obs_steps * ports.n_observed)
    parts = (("down", "down"), ("shrink", "shrink"), ("bottom", "middle"), ("up", "up"), ("grow", "grow"))
    for source, target in (*parts, ("last", "last.0"), ("head", "last.1"), ("embed", "embed")):
        _hand_over(ours.get_submodule(source), theirs.get_submodule(target))
    weights, biases = torch.split(ours.film.weight, ours.sizes), torch.split(ours.film.bias, ours.sizes)
    blocks = [part for part in theirs.modules() if isinstance(part, Modulated)]
    for block, weight, bias in zip(blocks, weights, biases, strict=True):
        layer = cast(nn.Linear, block.film[1])
        layer.weight.copy_(weight)
        layer.bias.copy_(bias)
        layer.bias[: len(bias) // 2] += 1
    return theirs


def _hand_over(source: nn.Module, target: nn.Module) -> None:
    """Parameters in the order in which both register them, without the target's modulations."""
    theirs = [value for name, value in target.named_parameters() if "film" not in name]
    for value, own in zip(source.parameters(), theirs, strict=True):
        own.copy_(value)


def count(network: nn.Module) -> int:
    """Number of parameters."""
    return sum(value.numel() for value in network.parameters())


@torch.no_grad()
def apart(ours: UNet1dNet, theirs: PeerUnet, batch: int = 4) -> float:
    """Largest difference of the two outputs, in units of their standard deviation."""
    ports, rng = ours.ports, torch.Generator().manual_seed(0)
    like = ours.film.weight
    chunk = torch.randn(batch, ports.horizon, ports.n_in, generator=rng).to(like)
    seen = torch.randn(batch, ports.n_obs_steps, ports.n_observed, generator=rng).to(like)
    level = torch.randint(100, (batch,), generator=rng)
    first = ours(chunk, level[:, None].to(like), ours.encode(seen))
    return float((first - theirs(chunk, level, seen.flatten(1))).abs().max() / first.std())


def main() -> None:
    """Print one line per peer."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    for peer in (DIFFUSION_POLICY, LEROBOT):
        ours = network_of(peer, n_actions=2, n_observed=20)
        theirs = copied(ours)
        words = f"{count(theirs):,} parameters there, {count(ours):,} here"
        print(f"{peer.name}: {words}; outputs differ by {apart(ours, theirs):.1e} of their std")


if __name__ == "__main__":
    main()
