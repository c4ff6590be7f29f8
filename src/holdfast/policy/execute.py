"""Receding-horizon execution: plan a chunk, run its primitive controllers on the current state, plan again.

step            t    t+1  t+2  t+3  t+4
observation     o────┐                       window = the last n_obs_steps observations, o newest
chunk (h = 4)   κ₀   κ₁   κ₂   κ₃            κ₀ answers o
executed        κ₀(x_t)  κ₁(x_t+1)           n_action_steps = 2, each on the state of its own step
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

__all__ = ["ChunkExecutor"]


class ChunkExecutor:
    """Runs anything that plans composite actions, for one or many episodes in step.

    Args:
        plans: Makes composite actions from observation windows.
        n_obs_steps: Observations in a window; before that many were seen, the first is repeated.
        n_action_steps: Steps executed before the next plan.
        action_low: Smallest action `[m]`, or `None`.
        action_high: Largest action `[m]`, or `None`.
        seed: Of the policy's own randomness.
        device: Where that randomness is drawn: the device of the plan's model.
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
        """Forget the past; call it before every episode. A seed restarts the noise, none lets it go on."""
        if seed is not None:
            self.rng = stream(seed, "policy", device=self.device)
        if isinstance(self.plans, Restarts):
            self.plans.restart()
        self.window.clear()
        self.chunk: PrimitiveControllers | None = None
        self.step = 0

    def act(self, observation: Observation, state: Float[Tensor, "b n"]) -> Float[Tensor, "b m"]:
        """The next action of each episode: plans when the last chunk is used up."""
        self.observe(observation)
        if self.chunk is None or self.step == self.n_action_steps:
            self.chunk, self.step = self.plan(), 0
            self._check(self.chunk)
        action = self.chunk.at(self.step)(state)
        self.step += 1
        return self.limit(action)

    def observe(self, observation: Observation) -> None:
        """Add an observation to the window."""
        shape, before = observation.vector.shape, self.window[-1].vector.shape if self.window else None
        if before is not None and before != shape:
            raise ShapeError(
                f"expected observations of shape {tuple(before)} as before, got {tuple(shape)}. "
                "Call reset() before an episode of another batch size."
            )
        self.window.append(observation)

    def plan(self) -> PrimitiveControllers:
        """A fresh composite action `[b, h]` from the current window."""
        seen = list(self.window)
        missing = (self.window.maxlen or 1) - len(seen)
        return self.plans.plan(Observation.stack([seen[0]] * missing + seen), rng=self.rng)

    @contextmanager
    def aside(self) -> Generator[None, None, None]:
        """What is observed and planned inside leaves the window, the randomness and the last plan as they were."""
        past, randomness, plans = list(self.window), self.rng.get_state(), copy.copy(self.plans)
        try:
            yield
        finally:
            self.window.clear()
            self.window.extend(past)
            self.rng.set_state(randomness)
            self.plans = plans

    def limit(self, action: Float[Tensor, "*b m"]) -> Float[Tensor, "*b m"]:
        """The action within the limits."""
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
