"""Value function of the state, by which actions are compared; it does not see the denoising."""

import itertools
from collections.abc import Sequence
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ...policy import PolicySpec


class Critic(nn.Module):
    """Expected discounted sum of the following rewards, V(s), of the normalised observation window without noise.

    Args:
        size: Numbers of a window.
        widths: Units of each hidden layer, with Mish between them.
    """

    def __init__(self, size: int, widths: Sequence[int]) -> None:
        super().__init__()
        layers = list[nn.Module]()
        for before, after in itertools.pairwise((size, *widths)):
            layers += [nn.Linear(before, after), nn.Mish()]
        self.layers = nn.Sequential(*layers, nn.Linear(widths[-1], 1))

    def forward(self, states: Float[Tensor, "*b d"]) -> Float[Tensor, "*b"]:
        """Value of each state."""
        return cast(Tensor, self.layers(states)).squeeze(-1)


def critic_size(spec: PolicySpec) -> int:
    """Numbers of a window as the critic of a policy sees it, rotations among them as six numbers."""
    return spec.n_obs_steps * spec.n_encoded


def initial_critic(size: int, widths: Sequence[int], *, seed: int) -> Critic:
    """A critic before training; PyTorch's global random generator is not changed."""
    before = torch.get_rng_state()
    torch.default_generator.manual_seed(seed)
    try:
        return Critic(size, widths)
    finally:
        torch.set_rng_state(before)
