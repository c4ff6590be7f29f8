"""A control system as an environment, with its expert, its derivatives and its law of initial states within reach."""

from dataclasses import replace
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor

from ..control import MpcExpert, System, Task
from ..errors import RecipeError, ShapeError
from ..seeding import stream
from ..types import Observation
from .environment import Environment, Starts, Step, is_states


class SystemEnvironment(Environment):
    """Any number of episodes of a fully observed system `x' = f(x, u)`.

    The reward is `exp(−cost(x, u))` for a `Task` and 0 for a plain `System`. An episode whose state leaves
    [-limit, limit] or is not finite is lost: it stands still at its last state, so that it cannot affect the others.

    Args:
        system: Dynamics; a `Task` also has a cost, a time limit and a law of initial states.
        steps: Time limit in control steps. Default: the task's own.
        limit: Largest absolute value of a state coordinate.

    Raises:
        RecipeError: A plain system without `steps`.
    """

    fixed_length = True
    restorable = True

    def __init__(self, system: System, *, steps: int | None = None, limit: float = 1e3) -> None:
        if steps is None and not isinstance(system, Task):
            raise RecipeError(f"{system.name} has no time limit of its own. Give steps=….")
        self.system = system
        self.name, self.dt, self.n_actions = system.name, system.dt, system.n_actions
        self.steps = steps if steps is not None else self.task.steps
        self.names = {"state": tuple(system.state_names), "action": tuple(system.action_names)}
        self.limit = limit

    @property
    def task(self) -> Task:
        """The system as a task."""
        if isinstance(self.system, Task):
            return self.system
        raise RecipeError(f"{self.name} is a system without a task: it has no cost, no initial states and no expert.")

    @cached_property
    def expert(self) -> MpcExpert:
        """The model-predictive expert of the task."""
        return MpcExpert(self.task)

    def initial_states(self, count: int, *, seed: int) -> Float[Tensor, "b n"]:
        """Independent initial states for evaluation."""
        return self.task.initial_states(count, rng=stream(seed, "evaluate", self.name))

    def reset(self, starts: Starts) -> Step:
        """Begin at the given states, or at one initial state per seed."""
        if isinstance(starts, Tensor) and is_states(starts):
            states = starts.clone()
        else:
            states = torch.cat([self.initial_states(1, seed=int(seed)) for seed in starts])
        if states.dim() != 2 or states.shape[1] != self.system.n_states:
            raise ShapeError(
                f"{self.name} has {self.system.n_states} state coordinates, got states {list(states.shape)}."
            )
        self._time = 0
        self._lost = torch.zeros(len(states), dtype=torch.bool, device=states.device)
        self._state = states
        return Step.first(Observation(state=states), states)

    def step(self, actions: Float[Tensor, "b m"]) -> Step:
        """Advance all episodes by one control step."""
        before = self._state
        following = self.system.step(before, actions.to(before))
        reward = before.new_zeros(len(before))
        if isinstance(self.system, Task):
            reward = torch.exp(-self.system.cost(before, actions.to(before)))
        self._time += 1
        return replace(self._read(following), reward=reward.masked_fill(self._lost, 0.0))

    def following(
        self, observation: Observation, state: Float[Tensor, "b n"], action: Float[Tensor, "b m"]
    ) -> tuple[Observation, Float[Tensor, "b n"]]:
        """Observation and feedback state after an action, without disturbance."""
        after = self.system.step(state, action.to(state))
        return Observation(state=after), after

    def get_state(self) -> Float[Tensor, "b n"]:
        """The states."""
        return self._state

    def set_state(self, states: Float[Tensor, "b n"]) -> Step:
        """Move running episodes to other states; lost ones stay lost."""
        return self._read(states)

    def _read(self, following: Float[Tensor, "b n"]) -> Step:
        # `not <=` rather than `>`, so that NaN counts as outside
        self._lost = self._lost | ~(following.abs() <= self.limit).all(dim=-1)
        self._state = torch.where(self._lost[:, None], self._state, following)
        step = Step.first(Observation(state=self._state), self._state)
        return replace(step, truncated=torch.full_like(self._lost, self._time >= self.steps), lost=self._lost)
