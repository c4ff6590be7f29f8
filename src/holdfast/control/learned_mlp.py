"""Learned global dynamics: an ensemble of small residual networks, linearised by automatic differentiation."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..errors import RecipeError
from ..types import Episodes
from .exploration import excited_transitions
from .transition_sets import coordinate_names, spread_of


class Ensemble(nn.Module):
    """Networks of equal shape, evaluated together; the output is their mean.

    h_{i+1} = silu(h_i W_i + b_i),   y = h_L W_L + b_L
    """

    def __init__(self, sizes: tuple[int, ...], members: int, *, rng: torch.Generator) -> None:
        super().__init__()
        pairs = list(pairwise(sizes))
        self.weights = nn.ParameterList([_uniform(rng, members, into, out, bound=into**-0.5) for into, out in pairs])
        self.biases = nn.ParameterList([_uniform(rng, members, 1, out, bound=into**-0.5) for into, out in pairs])

    def predict_each(self, inputs: Float[Tensor, "*e b d"]) -> Float[Tensor, "e b k"]:
        """Output of every member, for separate or shared inputs."""
        hidden = inputs
        for index, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            hidden = hidden @ weight + bias
            hidden = nn.functional.silu(hidden) if index + 1 < len(self.weights) else hidden
        return hidden

    def forward(self, inputs: Float[Tensor, "*b d"]) -> Float[Tensor, "*b k"]:
        """Mean output of the members."""
        return self.predict_each(inputs.reshape(-1, inputs.shape[-1])).mean(0).reshape(*inputs.shape[:-1], -1)


@dataclass(frozen=True, eq=False)
class MlpDynamics:
    """Dynamics modelled by networks: `x' = x + s_Δ · net((x, u) standardised) + mean Δ`.

    Attributes:
        net: Ensemble of networks.
        centre: Mean of each coordinate of state and action.
        scale: Standard deviation of each coordinate of state and action.
        change_centre: Mean of each coordinate of the state change.
        change_scale: Standard deviation of each coordinate of the state change.
        dt: Duration of a control step [s].
        state_names: Names of the state coordinates.
        action_names: Names of the action coordinates.
        name: Name in error messages and reports.
    """

    net: Ensemble
    centre: Float[Tensor, " d"]
    scale: Float[Tensor, " d"]
    change_centre: Float[Tensor, " n"]
    change_scale: Float[Tensor, " n"]
    dt: float
    state_names: tuple[str, ...]
    action_names: tuple[str, ...]
    name: str = "learned"

    @property
    def n_states(self) -> int:
        return len(self.state_names)

    @property
    def n_actions(self) -> int:
        return len(self.action_names)

    def step(self, state: Float[Tensor, "*b n"], action: Float[Tensor, "*b m"]) -> Float[Tensor, "*b n"]:
        """State after one control step, computed in the dtype of the networks."""
        inputs = (torch.cat([state, action], -1).to(self.centre) - self.centre) / self.scale
        return state + (self.net(inputs) * self.change_scale + self.change_centre).to(state)


def fit_mlp(
    episodes: Episodes,
    *,
    rng: torch.Generator,
    widths: tuple[int, ...] = (128, 128),
    members: int = 3,
    updates: int = 3000,
    batch_size: int = 256,
    learning_rate: float = 2e-3,
    weight_decay: float = 1e-4,
    least_excitation: float = 1e-3,
    progress: Callable[[int], None] = lambda done: None,
) -> MlpDynamics:
    """Fit an ensemble of residual networks by AdamW with a cosine schedule; each member draws its own batches.

    Args:
        episodes: Demonstrations and exploration episodes (`explore`), joined.
        rng: Random generator for initial weights and batches.
        widths: Widths of the hidden layers.
        members: Number of networks.
        updates: Number of training steps.
        batch_size: Batch size.
        learning_rate: Initial learning rate.
        weight_decay: Weight decay; pulls slopes towards zero where there are no data.
        least_excitation: See `check_excitation`; 0 accepts any data.
        progress: Called after each update with the number of completed updates.

    Raises:
        DataError: Actions are a function of the state, or there are too few steps to check this.
        RecipeError: An argument is out of range.
    """
    if min((*widths, members, updates, batch_size)) < 1 or learning_rate <= 0:
        raise RecipeError("expected positive widths, members, updates, batch_size and learning_rate.")
    steps = excited_transitions(episodes, least=least_excitation)
    centre, scale = steps.inputs.mean(0), spread_of(steps.inputs)
    change_centre, change_scale = steps.changes.mean(0), spread_of(steps.changes)
    net = Ensemble((len(centre), *widths, len(change_centre)), members, rng=rng)
    data = (steps.inputs - centre) / scale, (steps.changes - change_centre) / change_scale
    optimiser = torch.optim.AdamW(net.parameters(), lr=learning_rate, weight_decay=weight_decay)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, updates)
    for done in range(1, updates + 1):
        rows = torch.randint(len(data[0]), (members, min(batch_size, len(data[0]))), generator=rng)
        _update(net, optimiser, data[0][rows].float(), data[1][rows].float())
        schedule.step()
        progress(done)
    scales = (centre, scale, change_centre, change_scale)
    # trained in float32, linearised and simulated in float64
    return MlpDynamics(net.double().requires_grad_(False), *scales, episodes.dt or 1.0, *coordinate_names(episodes))


def _update(net: Ensemble, optimiser: torch.optim.Optimizer, inputs: Tensor, targets: Tensor) -> None:
    """One training step of all members, each on its own batch."""
    loss = (net.predict_each(inputs) - targets).square().mean((1, 2)).sum()
    optimiser.zero_grad()
    cast(Any, loss).backward()
    cast(Any, optimiser).step()


def _uniform(rng: torch.Generator, *shape: int, bound: float) -> nn.Parameter:
    return nn.Parameter(bound * (2 * torch.rand(*shape, generator=rng) - 1))
