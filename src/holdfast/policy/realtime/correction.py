"""A trained correction of planned actions: its recipe, its network, and what it computes.

    r(o, u, k) = h ⊙ net(ō, ū, sin 2πk/H, cos 2πk/H),      ō, ū: observation and action scaled to [−1, 1], h half of the
                                                           range of each action coordinate, k the index in the chunk

The last layer begins at zero, so that nothing is corrected before training.
"""

import math
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ...data import MinMax
from ...errors import RecipeError, at_least, positive
from ...types import Observation
from ..base import PolicySpec
from ..planner import Planner

LARGEST = 2**20
"""Largest whole number in a stored recipe or size."""
MOST_PLANS = 16384
"""Largest number of plans that are made unless more are asked for."""
DEEPEST = 16
"""Largest number of hidden layers."""


@dataclass(frozen=True, kw_only=True)
class CorrectionRecipe:
    """What a correction is trained with.

    Attributes:
        widths: Units of each hidden layer.
        plans: Number of plans that are corrected, made once at the start for demonstrated observations. Default: see
            `planned`.
        steps: Number of updates.
        batch_size: Control steps per update.
        learning_rate: Learning rate of AdamW, with a cosine decay to zero.
        weight_decay: AdamW's decoupled weight decay.
        seed: Random seed of the plans, the initial weights and the batches.
    """

    widths: tuple[int, ...] = (256, 256)
    plans: int | None = None
    steps: int = 3000
    batch_size: int = 512
    learning_rate: float = 1e-3
    weight_decay: float = 1e-4
    seed: int = 0

    def __post_init__(self) -> None:
        plans = 1 if self.plans is None else self.plans
        at_least(1, plans=plans, steps=self.steps, batch_size=self.batch_size)
        positive(learning_rate=self.learning_rate)
        if not 1 <= len(self.widths) <= DEEPEST or not all(1 <= width <= LARGEST for width in self.widths):
            raise RecipeError(
                f"expected 1 to {DEEPEST} hidden layers of 1 to {LARGEST} units, got {len(self.widths)} of at most "
                f"{max(self.widths, default=0)}."
            )
        if max(plans, self.batch_size) > LARGEST or not 0 <= self.weight_decay < math.inf:
            raise RecipeError(
                f"expected plans and batch_size of at most {LARGEST} and weight_decay of 0 or above, got {plans}, "
                f"{self.batch_size} and {self.weight_decay}."
            )

    def planned(self, horizon: int) -> "CorrectionRecipe":
        """The recipe with its number of plans: the given one, or as many as the updates can use.

            plans = min(⌈steps · batch_size / H⌉, 16384)

        so that each control step of a plan is drawn about once, and a short training makes few plans.

        Args:
            horizon: Steps H of a plan.

        >>> CorrectionRecipe(steps=40, batch_size=32).planned(16).plans, CorrectionRecipe().planned(16).plans
        (80, 16384)
        """
        if self.plans is not None:
            return self
        return replace(self, plans=min(math.ceil(self.steps * self.batch_size / horizon), MOST_PLANS))


@dataclass(frozen=True, kw_only=True)
class CorrectionSizes:
    """Sizes of the policy that a correction belongs to: numbers of an observation and of an action, and the horizon."""

    n_observed: int
    n_actions: int
    horizon: int

    def __post_init__(self) -> None:
        sizes = vars(self)
        at_least(1, **sizes)
        if max(sizes.values()) > LARGEST:
            raise RecipeError(f"expected sizes of at most {LARGEST}, got {max(sizes.values())}.")

    @staticmethod
    def of(spec: PolicySpec) -> "CorrectionSizes":
        """The sizes of a policy."""
        return CorrectionSizes(n_observed=spec.n_observed, n_actions=spec.n_actions, horizon=spec.horizon)

    def __str__(self) -> str:
        return (
            f"observations of {self.n_observed} numbers, actions of {self.n_actions} and chunks of {self.horizon} steps"
        )


class CorrectionNet(nn.Module):
    """A multilayer perceptron with silu, whose last layer begins at zero."""

    def __init__(self, sizes: CorrectionSizes, widths: tuple[int, ...]) -> None:
        super().__init__()
        numbers = (sizes.n_observed + sizes.n_actions + 2, *widths, sizes.n_actions)
        self.layers = nn.ModuleList(nn.Linear(into, out) for into, out in pairwise(numbers))
        last = cast(nn.Linear, self.layers[-1])
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)

    def forward(self, inputs: Float[Tensor, "b d"]) -> Float[Tensor, "b m"]:
        """Corrections in halves of the action's range."""
        hidden = inputs
        for number, layer in enumerate(self.layers):
            hidden = cast(Tensor, layer(nn.functional.silu(hidden) if number else hidden))
        return hidden


@dataclass(frozen=True, eq=False)
class Correction:
    """A learned correction of planned actions, with the scales of its policy.

    Attributes:
        net: Network.
        sizes: Sizes of the policy.
        observation_scale: Scale of observations.
        action_scale: Scale of actions.
    """

    net: CorrectionNet
    sizes: CorrectionSizes
    observation_scale: MinMax
    action_scale: MinMax

    @staticmethod
    def of(planner: Planner, net: CorrectionNet) -> "Correction":
        """A network with the scales of a policy."""
        count, scale = planner.spec.n_actions, planner.code_scale
        action_scale = MinMax(low=scale.low[:count].cpu(), high=scale.high[:count].cpu())
        return Correction(net, CorrectionSizes.of(planner.spec), planner.observation_scale.to("cpu"), action_scale)

    def inputs(
        self, observation: Float[Tensor, "b d"], action: Float[Tensor, "b m"], phase: Float[Tensor, " b"]
    ) -> Float[Tensor, "b i"]:
        """Inputs of the network for observations and planned actions in the data's units."""
        angle = 2 * math.pi * phase[:, None].to(action)
        scaled = self.observation_scale.normalize(observation).to(action), self.action_scale.normalize(action)
        return torch.cat([*scaled, angle.sin(), angle.cos()], dim=-1).float()

    @torch.no_grad()
    def correction(
        self, observation: Observation, action: Float[Tensor, "b m"], phase: Float[Tensor, " b"]
    ) -> Float[Tensor, "b m"]:
        """What to add to each planned action; see `Corrects`."""
        found = self.net(self.inputs(observation.vector, action, phase))
        return self.action_scale.half.to(action) * found.to(action)
