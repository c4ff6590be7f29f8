"""Data loading, training and planning of Diffusion Policy and LeRobot, re-created for comparison in `peers.py`.

    python benchmarks/peers_loop.py

The code is written from a description of their sources; none of it is copied. Diffusion Policy
(`workspace/train_diffusion_unet_lowdim_workspace.py`, `policy/diffusion_unet_lowdim_policy.py`, `common/sampler.py`,
`model/diffusion/ema_model.py`): an item consists of slices of arrays, padded at the ends of an episode, and a
`DataLoader` stacks them. The batch is normalised, noised by the package diffusers and masked. AdamW, its schedule and a
moving average follow, parameter by parameter; the loss is read at every update. LeRobot 0.6
(`datasets/dataset_reader.py`, `policies/diffusion/modeling_diffusion.py`, `scripts/lerobot_train.py`): an item is
looked up in a table; there is no mask and no average, but gradients are clipped. In both, a plan calls, for each of 100
levels, the network and one step of diffusers.

Progress bars, logs and the package accelerate are omitted, in their favour. The script makes two updates of each with
small networks and prints their losses.
"""

import argparse
import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, cast

import numpy as np
import pyarrow
import torch
from diffusers.optimization import get_scheduler
from diffusers.schedulers.scheduling_ddpm import DDPMScheduler
from peers_unet import DIFFUSION_POLICY, LEROBOT, Peer, PeerUnet
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from windows import ItemByItem

from holdfast.seeding import stream
from holdfast.types import Episodes, Observation

__all__ = ["Loop", "pusht_like"]

N_OBS, N_ACTION_STEPS, LEVELS = 2, 8, 100
KEYPOINTS, POSITION, ACTION = 18, 2, 2


def pusht_like(episodes: int = 200, steps: int = 125) -> Episodes:
    """Noise with the shapes of Push-T; the values do not affect the time."""
    rng = stream(0, "benchmark", "peers")
    rows = episodes * steps
    position = torch.rand(rows, POSITION, generator=rng) * 512
    return Episodes(
        actions=torch.rand(rows, ACTION, generator=rng) * 512,
        states=position,
        lengths=torch.full((episodes,), steps),
        observations=Observation(state=position, environment_state=torch.rand(rows, KEYPOINTS, generator=rng) * 512),
        dt=0.1,
    )


class Slices(Dataset[dict[str, Tensor]]):
    """Diffusion Policy's items: a slice of each array, its first and last rows repeated beyond an episode's ends."""

    def __init__(self, episodes: Episodes, horizon: int) -> None:
        observed = episodes.observed
        assert observed.environment_state is not None
        self.arrays = {
            "keypoint": observed.environment_state.view(-1, KEYPOINTS // 2, 2).numpy(),
            "state": observed.state.numpy(),
            "action": episodes.actions.numpy(),
        }
        self.horizon = horizon
        places = list[tuple[int, int, int, int]]()
        for start, length in zip(episodes.starts.tolist(), episodes.lengths.tolist(), strict=True):
            for first in range(1 - N_OBS, length - horizon + N_ACTION_STEPS):
                low, high = max(first, 0), min(first + horizon, length)
                places.append((start + low, start + high, low - first, high - first))
        self.places = np.array(places)

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        low, high, begin, end = self.places[index]
        parts = dict[str, Any]()
        for name, array in self.arrays.items():
            rows = array[low:high]
            if begin > 0 or end < self.horizon:
                padded = np.zeros((self.horizon, *array.shape[1:]), dtype=array.dtype)
                padded[:begin], padded[begin:end], padded[end:] = rows[0], rows, rows[-1]
                rows = padded
            parts[name] = rows
        observed = np.concatenate([parts["keypoint"].reshape(self.horizon, -1), parts["state"]], axis=-1)
        return {"observation": torch.from_numpy(observed), "action": torch.from_numpy(parts["action"])}


class Rows(Dataset[dict[str, Tensor]]):
    """LeRobot's items: a row of a table and its neighbours, each converted to a tensor."""

    def __init__(self, episodes: Episodes, horizon: int) -> None:
        names = ("observation.state", "observation.environment_state", "action")
        observed = episodes.observed
        assert observed.environment_state is not None
        values = (observed.state, observed.environment_state, episodes.actions)
        columns = {name: list(value.numpy()) for name, value in zip(names, values, strict=True)}
        numbers = np.arange(len(episodes)).repeat(episodes.lengths.numpy())
        table = pyarrow.table({**columns, "episode_index": numbers, "index": np.arange(len(numbers))})
        self.items = ItemByItem(table, episodes.lengths)
        before = range(1 - N_OBS, 1)
        self.items.offsets = {names[0]: before, names[1]: before, names[2]: range(1 - N_OBS, 1 - N_OBS + horizon)}
        self.count = len(numbers)

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return self.items[index]


@dataclass(frozen=True)
class Loop:
    """Training and planning of one peer.

    Attributes:
        peer: The peer's setting.
        network: Network for training and planning.
        episodes: Training data.
        device: Device of the weights and batches.
    """

    peer: Peer
    network: PeerUnet
    episodes: Episodes
    device: str = "cpu"

    @cached_property
    def optimiser(self) -> torch.optim.Adam:
        """Optimiser that updates parameter by parameter, PyTorch's default on a processor; `AdamW` is an `Adam`."""
        build = torch.optim.AdamW if self.peer.optimiser == "adamw" else torch.optim.Adam
        return build(self.network.parameters(), lr=1e-4, betas=(0.95, 0.999), eps=1e-8, weight_decay=1e-6)

    @cached_property
    def rates(self) -> torch.optim.lr_scheduler.LambdaLR:
        """Learning rate with warm-up and half a cosine, computed at every update."""
        return get_scheduler("cosine", optimizer=self.optimiser, num_warmup_steps=500, num_training_steps=100_000)

    @cached_property
    def average(self) -> "Average | None":
        """Moving average of the weights."""
        return Average(self.network) if self.peer.average else None

    def losses(self, workers: int) -> Iterator[float]:
        """Make one update per `next`; several such iterators may alternate and share one state."""
        peer, network, noiser = self.peer, self.network.train(), scheduler()
        optimiser, rates, average = self.optimiser, self.rates, self.average
        for batch in self.batches(workers):
            loss = self.loss({name: part.to(self.device, non_blocking=True) for name, part in batch.items()}, noiser)
            loss.backward()
            norm = nn.utils.clip_grad_norm_(network.parameters(), peer.clip) if peer.clip else None
            optimiser.step()
            optimiser.zero_grad()
            rates.step()
            if average is not None:
                average.step(network)
            if norm is not None:
                norm.item()
            yield loss.item()

    def batches(self, workers: int) -> Iterator[Mapping[str, Tensor]]:
        """Batches of their `DataLoader`, epoch after epoch."""
        sliced = self.peer.sliced
        items = (Slices if sliced else Rows)(self.episodes, self.peer.horizon)
        loader = DataLoader(
            items,
            batch_size=self.peer.batch,
            shuffle=True,
            num_workers=workers,
            prefetch_factor=4 if workers and not sliced else None,
            pin_memory=self.device != "cpu",
            persistent_workers=workers > 0 and not sliced,
        )
        while True:
            yield from loader

    def loss(self, batch: Mapping[str, Tensor], noiser: DDPMScheduler) -> Tensor:
        """Mean squared error of the predicted noise."""
        scales = self.scales
        action = scales["action"].normalised(batch["action"])
        observed = scales["observation"].normalised(observed_of(batch))[:, :N_OBS].flatten(1)
        noise = torch.randn(action.shape, device=action.device)
        level = torch.randint(0, LEVELS, (len(action),), device=action.device).long()
        noisy = noiser.add_noise(action, noise, cast(Any, level))
        if not self.peer.sliced:
            return nn.functional.mse_loss(self.network(noisy, level, observed), noise, reduction="none").mean()
        known = nothing_known(action)
        noisy[known] = action[known]
        error = nn.functional.mse_loss(self.network(noisy, level, observed), noise, reduction="none")
        return (error * (~known).type(error.dtype)).flatten(1).mean(1).mean()

    @torch.no_grad()
    def plan(self, observed: Tensor, steps: int = LEVELS) -> Tensor:
        """Actions `[b, 8, m]` for observation windows `[b, 2, d]`."""
        steppable, scales = scheduler(), self.scales
        seen = scales["observation"].normalised(observed.to(self.device)).flatten(1)
        noisy = torch.randn(len(seen), self.peer.horizon, ACTION, device=self.device)
        clean, known = torch.zeros_like(noisy), torch.zeros_like(noisy, dtype=torch.bool)
        steppable.set_timesteps(steps)
        for level in steppable.timesteps:
            if self.peer.sliced:
                noisy[known] = clean[known]
            output = self.network(noisy, level[None].to(self.device).expand(len(noisy)), seen)
            noisy = cast(Any, steppable.step(output, cast(Any, level), noisy)).prev_sample
        return scales["action"].physical(noisy)[:, N_OBS - 1 :][:, :N_ACTION_STEPS]

    @property
    def scales(self) -> Mapping[str, "Scale"]:
        """Data ↔ [-1, 1]."""
        return {"observation": Scale(KEYPOINTS + POSITION, self.device), "action": Scale(ACTION, self.device)}


class Scale:
    """Numbers from 0 to 512 ↔ [-1, 1]."""

    def __init__(self, width: int, device: str) -> None:
        self.scale, self.offset = (torch.full((width,), number, device=device) for number in (2 / 512, -1.0))

    def normalised(self, values: Tensor) -> Tensor:
        return (values.reshape(-1, len(self.scale)) * self.scale + self.offset).reshape(values.shape)

    def physical(self, values: Tensor) -> Tensor:
        return ((values.reshape(-1, len(self.scale)) - self.offset) / self.scale).reshape(values.shape)


def observed_of(batch: Mapping[str, Tensor]) -> Tensor:
    """All low-dimensional observations, concatenated."""
    if "observation" in batch:
        return batch["observation"]
    return torch.cat([batch["observation.state"], batch["observation.environment_state"]], dim=-1)


def nothing_known(action: Tensor) -> Tensor:
    """Diffusion Policy's mask of the given part of a chunk: computed at every update, and empty."""
    of_action = torch.zeros(action.shape, dtype=torch.bool, device=action.device)
    of_action[...] = True
    steps = torch.arange(action.shape[1], device=action.device)[None].expand(action.shape[:2])
    seen = (steps < torch.full((len(action), 1), N_OBS, device=action.device))[..., None].expand(action.shape)
    return seen & ~of_action


def scheduler() -> DDPMScheduler:
    """Noise levels of both peers."""
    return DDPMScheduler(
        num_train_timesteps=LEVELS, beta_schedule="squaredcos_cap_v2", clip_sample=True, prediction_type="epsilon"
    )


class Average:
    """Moving average of a network's weights, updated parameter by parameter."""

    def __init__(self, network: nn.Module) -> None:
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        self.updates = 0

    @torch.no_grad()
    def step(self, network: nn.Module) -> None:
        """Update the average with the current weights."""
        age = max(0, self.updates - 1)
        decay = min(1 - (1 + age) ** -0.75, 0.9999) if age else 0.0
        for live, kept in zip(network.modules(), self.network.modules(), strict=True):
            pairs = zip(live.parameters(recurse=False), kept.parameters(recurse=False), strict=True)
            for value, mean in pairs:
                mean.mul_(decay)
                mean.add_(value.data.to(dtype=mean.dtype), alpha=1 - decay)
        self.updates += 1


def main() -> None:
    """Print the losses of two updates, and the shape of a plan, of each peer."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    episodes = pusht_like(4)
    for peer in (DIFFUSION_POLICY, LEROBOT):
        small = replace(peer, channels=(16, 32, 64), batch=8)
        loop = Loop(small, PeerUnet(small.options, ACTION, N_OBS * (KEYPOINTS + POSITION)), episodes)
        updates = loop.losses(workers=0)
        found = [next(updates) for _ in range(2)]
        action = loop.plan(episodes.observed.vector[None, :N_OBS], steps=2)
        print(f"{peer.name}: losses {found[0]:.3f}, {found[1]:.3f}; actions {tuple(action.shape)}")


if __name__ == "__main__":
    main()
