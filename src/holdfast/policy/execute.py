"""Receding-horizon execution: plan a chunk, apply its primitive controllers to the current state, plan again.

step            t    t+1  t+2  t+3  t+4
observation     o────┐                       window = the last n_obs_steps observations, o newest
chunk (h = 4)   κ₀   κ₁   κ₂   κ₃            κ₀ corresponds to o
executed        κ₀(x_t)  κ₁(x_t+1)           n_action_steps = 2, each at the state of its step
next plan                 κ₀   κ₁   κ₂   κ₃
"""

import copy
from collections import deque
from collections.abc import Generator
from contextlib import contextmanager

import torch
from jaxtyping import Float
from torch import Tensor

from ..errors import RecipeError, ShapeError
from ..seeding import stream
from ..types import Observation, PrimitiveControllers
from .base import Plans, Restarts


class ChunkExecutor:
    """Executor of anything that plans composite actions, for a batch of episodes stepped together.

    Args:
        plans: Planner of composite actions.
        n_obs_steps: Number of observations in a window; at the start of an episode, the first one is repeated.
        n_action_steps: Number of steps executed before the next plan.
        action_low: Lower limits `[m]` of the action, or `None`.
        action_high: Upper limits `[m]` of the action, or `None`.
        seed: Random seed of the policy.
        device: Device of the random generator: that of the model.
    """

    def __init__(
        self,
        plans: Plans,
        *,
        n_obs_steps: int = 1,
        n_action_steps: int = 1,
        action_low: Tensor | None = None,
        action_high: Tensor | None = None,
        seed: int = 0,
        device: torch.device | str = "cpu",
    ) -> None:
        self.plans = plans
        self.n_action_steps = n_action_steps
        self.action_low = action_low
        self.action_high = action_high
        self.device = device
        self.window: deque[Observation] = deque(maxlen=n_obs_steps)
        self.reset(seed)

    def reset(self, seed: int | None = None) -> None:
        """Start a new episode; a seed restarts the policy's randomness, `None` continues it."""
        if seed is not None:
            self.rng = stream(seed, "policy", device=self.device)
        if isinstance(self.plans, Restarts):
            self.plans.restart()
        self.window.clear()
        self.chunk: PrimitiveControllers | None = None
        self.step = 0

    def act(self, observation: Observation, state: Float[Tensor, "b n"]) -> Float[Tensor, "b m"]:
        """Next action of each episode; plans when `n_action_steps` of the last chunk are executed."""
        self.observe(observation)
        if self.chunk is None or self.step == self.n_action_steps:
            self.chunk, self.step = self.plan(), 0
            self._check(self.chunk)
        action = self.chunk.at(self.step)(state)
        self.step += 1
        return self.limit(action)

    def observe(self, observation: Observation) -> None:
        """Append an observation to the window."""
        shape, before = observation.vector.shape, self.window[-1].vector.shape if self.window else None
        if before is not None and before != shape:
            raise ShapeError(
                f"expected observations of shape {tuple(before)} as before, got {tuple(shape)}. "
                "Call reset() before an episode of another batch size."
            )
        self.window.append(observation)

    def plan(self) -> PrimitiveControllers:
        """A fresh composite action `[b, h]` from the current window."""
        return self.plans.plan(self.seen(), rng=self.rng)

    def seen(self) -> Observation:
        """The window `[b, o, ·]`; at the start of an episode, its first observation is repeated."""
        seen = list(self.window)
        missing = (self.window.maxlen or 1) - len(seen)
        return Observation.stack([seen[0]] * missing + seen)

    @contextmanager
    def aside(self) -> Generator[None, None, None]:
        """Context whose observations and plans do not change the window, the randomness or the last plan."""
        past, randomness, plans = list(self.window), self.rng.get_state(), copy.copy(self.plans)
        try:
            yield
        finally:
            self.window.clear()
            self.window.extend(past)
            self.rng.set_state(randomness)
            self.plans = plans

    def limit(self, action: Float[Tensor, "*b m"]) -> Float[Tensor, "*b m"]:
        """Action, clipped to the limits."""
        if self.action_low is None and self.action_high is None:
            return action
        low = None if self.action_low is None else self.action_low.to(action)
        high = None if self.action_high is None else self.action_high.to(action)
        return torch.clamp(action, min=low, max=high)

    def _check(self, chunk: PrimitiveControllers) -> None:
        horizon = chunk.actions.shape[-2]
        if horizon < self.n_action_steps:
            raise RecipeError(
                f"chunk horizon {horizon} is shorter than n_action_steps {self.n_action_steps}. "
                f"Lower n_action_steps, or train with horizon >= {self.n_action_steps}."
            )
