"""Policies under other conditions: sensor noise, scaled feedback gains, and one perturbed action.

Each class wraps a policy and is itself one. Nothing is retrained.
"""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from ..envs import Actor
from ..errors import RecipeError
from ..policy import Plans, Policy
from ..policy.base import Restarts
from ..seeding import stream
from ..types import Observation, Prefix, PrimitiveControllers


@dataclass
class NoisyObservation:
    """A policy with Gaussian sensor noise, drawn at every step, in addition to noise that the policy adds.

    If the observation is the state, feedback receives the same noise; otherwise it receives the true state.

    Attributes:
        policy: Policy that receives the noisy observation.
        std: Standard deviation of the noise for each observation coordinate, in its units.
    """

    policy: Actor
    std: Float[Tensor, " d"]

    def reset(self, seed: int | None = None) -> None:
        """Reset the policy; a seed restarts the noise."""
        self.policy.reset(seed)
        self.rng = stream(0 if seed is None else seed, "observation noise")

    def act(self, observation: Observation, state: Float[Tensor, "b n"]) -> Float[Tensor, "b m"]:
        """Action for the noisy observation."""
        seen = observation.vector
        noisy = seen + self.std.to(seen) * torch.randn(seen.shape, generator=self.rng, dtype=torch.float64).to(seen)
        own = observation.state.shape[-1]
        shown, rest = noisy[..., :own], noisy[..., own:]
        environment = None if observation.environment_state is None else rest
        same = state.shape == observation.state.shape and bool((state == observation.state).all())
        heard = replace(observation, state=shown, environment_state=environment)
        return self.policy.act(heard, shown.to(state) if same else state)


@dataclass
class PerturbedAction:
    """A policy with one perturbed action.

    Attributes:
        policy: Policy.
        step: Control step of the perturbation.
        offset: Perturbation, added to the action.
    """

    policy: Actor
    step: int
    offset: Float[Tensor, " m"]
    taken: int = 0

    def reset(self, seed: int | None = None) -> None:
        """Reset the policy."""
        self.policy.reset(seed)
        self.taken = 0

    def act(self, observation: Observation, state: Float[Tensor, "b n"]) -> Float[Tensor, "b m"]:
        """Action, perturbed at one step."""
        action = self.policy.act(observation, state)
        self.taken += 1
        return action + self.offset.to(action) if self.taken == self.step + 1 else action


@dataclass
class ScaledGains:
    """Plans with scaled gains: factor 0 runs them in open loop, 1 leaves them unchanged.

    Attributes:
        plans: Plans of the policy.
        factor: Factor of the gains.
    """

    plans: Plans
    factor: float

    def restart(self) -> None:
        """Start an episode."""
        if isinstance(self.plans, Restarts):
            self.plans.restart()

    def plan(self, window: Observation, *, rng: torch.Generator, prefix: Prefix | None = None) -> PrimitiveControllers:
        """Composite actions with scaled gains."""
        made = self.plans.plan(window, rng=rng, prefix=prefix)
        return replace(made, gains=self.factor * made.gains)


def with_gains(policy: Policy, factor: float) -> Policy:
    """The policy with all gains scaled.

    Raises:
        RecipeError: The factor is not finite.
    """
    if not abs(factor) < float("inf"):
        raise RecipeError(f"expected a finite factor for the gains, got {factor}.")
    made = Policy(policy.planner, execution=policy.spec.execution)
    made.executor.plans = ScaledGains(made.executor.plans, factor)
    return made
