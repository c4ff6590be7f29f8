"""A policy as it would be run elsewhere: later, with other sensors, with weaker feedback, with one slip.

Each wraps a policy and is one. None trains anything.
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

__all__ = ["Kicked", "NoisyObservation", "ScaledGains", "with_gains"]


@dataclass
class NoisyObservation:
    """Sensors with Gaussian noise, fresh at every step, beside whatever noise the policy adds itself.

    Where the state is what is observed, feedback sees the same noise; elsewhere it sees the true state.

    Attributes:
        policy: Sees the noise.
        std: Of the noise of each coordinate of the observation, in its units.
    """

    policy: Actor
    std: Float[Tensor, " d"]

    def reset(self, seed: int | None = None) -> None:
        """Forget the past; a seed restarts the noise."""
        self.policy.reset(seed)
        self.rng = stream(0 if seed is None else seed, "observation noise")

    def act(self, observation: Observation, state: Float[Tensor, "b n"]) -> Float[Tensor, "b m"]:
        """The policy's action on what the sensors say."""
        seen = observation.vector
        noisy = seen + self.std.to(seen) * torch.randn(seen.shape, generator=self.rng, dtype=torch.float64).to(seen)
        own = observation.state.shape[-1]
        shown, rest = noisy[..., :own], noisy[..., own:]
        environment = None if observation.environment_state is None else rest
        same = state.shape == observation.state.shape and bool((state == observation.state).all())
        heard = replace(observation, state=shown, environment_state=environment)
        return self.policy.act(heard, shown.to(state) if same else state)


@dataclass
class Kicked:
    """One action is off, once: what becomes of an error.

    Attributes:
        policy: Chooses actions.
        step: Control step of the slip.
        offset: Added to the action.
    """

    policy: Actor
    step: int
    offset: Float[Tensor, " m"]
    taken: int = 0

    def reset(self, seed: int | None = None) -> None:
        """Forget the past."""
        self.policy.reset(seed)
        self.taken = 0

    def act(self, observation: Observation, state: Float[Tensor, "b n"]) -> Float[Tensor, "b m"]:
        """The policy's action, off at one step."""
        action = self.policy.act(observation, state)
        self.taken += 1
        return action + self.offset.to(action) if self.taken == self.step + 1 else action


@dataclass
class ScaledGains:
    """Plans whose gains are multiplied: 0 runs them open loop, 1 leaves them.

    Attributes:
        plans: Made by the policy.
        factor: Of the gains.
    """

    plans: Plans
    factor: float

    def restart(self) -> None:
        """Begin an episode."""
        if isinstance(self.plans, Restarts):
            self.plans.restart()

    def plan(self, window: Observation, *, rng: torch.Generator, prefix: Prefix | None = None) -> PrimitiveControllers:
        """Composite actions with other gains."""
        made = self.plans.plan(window, rng=rng, prefix=prefix)
        return replace(made, gains=self.factor * made.gains)


def with_gains(policy: Policy, factor: float) -> Policy:
    """The policy with all gains multiplied.

    Raises:
        RecipeError: A factor that is no number.
    """
    if not abs(factor) < float("inf"):
        raise RecipeError(f"expected a finite factor of the gains, got {factor}.")
    made = Policy(policy.planner, execution=policy.spec.execution)
    made.executor.plans = ScaledGains(made.executor.plans, factor)
    return made
