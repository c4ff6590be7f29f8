"""Policies whose observations or actions are altered, to test a cause by undoing it. Each wraps a policy and is one."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from ....envs import Actor
from ....seeding import stream
from ....types import Observation


@dataclass
class ChangedObservation:
    """A policy that receives a function of the observation vector.

    If the observation is the state, the feedback of primitive controllers receives the same; otherwise it receives the
    true state.

    Attributes:
        policy: Policy that receives the changed observation.
        change: Maps observation vectors `[b, d]` to what the policy receives, of the same shape.
    """

    policy: Actor
    change: Callable[[Float[Tensor, "b d"]], Float[Tensor, "b d"]]

    def reset(self, seed: int | None = None) -> None:
        """Begin a batch of episodes."""
        self.policy.reset(seed)

    def act(self, observation: Observation, state: Float[Tensor, "b n"]) -> Float[Tensor, "b m"]:
        """Action for the changed observation."""
        heard = observation.with_vector(self.change(observation.vector))
        same = state.shape == observation.state.shape and bool((state == observation.state).all())
        return self.policy.act(heard, heard.state.to(state) if same else state)


@dataclass
class LateObservation:
    """A policy that receives the observation of `steps` control steps ago; the first one until then."""

    policy: Actor
    steps: int
    past: deque[tuple[Observation, Tensor]] = field(default_factory=lambda: deque[tuple[Observation, Tensor]]())

    def reset(self, seed: int | None = None) -> None:
        """Begin a batch of episodes."""
        self.policy.reset(seed)
        self.past.clear()

    def act(self, observation: Observation, state: Float[Tensor, "b n"]) -> Float[Tensor, "b m"]:
        """Action for the late observation."""
        self.past.append((observation, state))
        if len(self.past) > self.steps + 1:
            self.past.popleft()
        return self.policy.act(*self.past[0])


@dataclass
class LatePhase:
    """A policy of another rate: it acts once in `every` control steps, and its action is held in between."""

    policy: Actor
    every: int
    step: int = 0
    held: Tensor | None = None

    def reset(self, seed: int | None = None) -> None:
        """Begin a batch of episodes."""
        self.policy.reset(seed)
        self.step, self.held = 0, None

    def act(self, observation: Observation, state: Float[Tensor, "b n"]) -> Float[Tensor, "b m"]:
        """The action of the last step at which the policy was asked."""
        if self.held is None or self.step % self.every == 0:
            self.held = self.policy.act(observation, state)
        self.step += 1
        return self.held


@dataclass
class EarlyPhase:
    """A policy of another rate: it acts `times` times within each control step, and the last action is executed."""

    policy: Actor
    times: int

    def reset(self, seed: int | None = None) -> None:
        """Begin a batch of episodes."""
        self.policy.reset(seed)

    def act(self, observation: Observation, state: Float[Tensor, "b n"]) -> Float[Tensor, "b m"]:
        """The last of the actions."""
        actions = [self.policy.act(observation, state) for _ in range(self.times)]
        return actions[-1]


@dataclass
class ChangedAction:
    """A policy whose actions pass through a function.

    Attributes:
        policy: Policy.
        change: Maps actions `[b, m]` to those executed.
    """

    policy: Actor
    change: Callable[[Float[Tensor, "b m"]], Float[Tensor, "b m"]]

    def reset(self, seed: int | None = None) -> None:
        """Begin a batch of episodes."""
        self.policy.reset(seed)

    def act(self, observation: Observation, state: Float[Tensor, "b n"]) -> Float[Tensor, "b m"]:
        """The changed action."""
        return self.change(self.policy.act(observation, state))


@dataclass
class Excited:
    """A policy with Gaussian noise on its actions, which shows how the environment responds to actions.

    Attributes:
        policy: Policy.
        std: Standard deviation for each action coordinate.
    """

    policy: Actor
    std: Float[Tensor, " m"]

    def reset(self, seed: int | None = None) -> None:
        """Begin a batch of episodes; a seed restarts the noise."""
        self.policy.reset(seed)
        self.rng = stream(0 if seed is None else seed, "excited actions")

    def act(self, observation: Observation, state: Float[Tensor, "b n"]) -> Float[Tensor, "b m"]:
        """The action with noise."""
        action = self.policy.act(observation, state)
        noise = torch.randn(action.shape, generator=self.rng, dtype=torch.float64)
        return action + (self.std.to(noise) * noise).to(action)
