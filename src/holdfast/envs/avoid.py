"""Obstacle avoidance of D3IL (Jia et al. 2024, arXiv 2402.14606), all episodes in one tensor program.

A rod passes three rows of cylinders towards a finish line. The observation is the desired and the actual position
(`observation.state`), the action the change of the desired position. The desired position is the sum of past actions,
so the policy observes its own past commands. An evaluation reports not only whether the finish is reached, but also the
entropy of the 24 ways (`extra["mode"]`) in which it is reached.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ..control.systems.avoid import Avoid
from ..control.systems.avoid_course import (
    AVOID_FINISH,
    AVOID_MODES,
    AVOID_ROD,
    AVOID_START,
    clearance,
    gaps_passed,
    mode_of_gaps,
)
from ..errors import RecipeError
from ..seeding import stream
from ..types import Observation
from .batched import BatchedEnvironment, Episode


@dataclass
class AvoidCourse(Episode):
    """Episodes with the gaps that each has passed and whether it has touched a cylinder."""

    gaps: Int[Tensor, "b 3"]
    collided: Bool[Tensor, " b"]


class AvoidEnvironment(BatchedEnvironment[AvoidCourse]):
    """Episodes of D3IL's obstacle avoidance, stepped together.

    An episode is solved when the actual y passes 0.35 m, and fails when the rod touches a cylinder on its way or an
    action is not finite. Actions are not clipped, as in D3IL.

    Extra: `mode` (0 to 23 once all rows are passed; NaN until then and for episodes that failed) and `collided`.

    Args:
        count: Number of episodes stepped together.
        spread: Half-width of the square about the start in which episodes begin [m]; in D3IL all begin at one point.
        steps: Time limit in control steps.

    >>> env = AvoidEnvironment(2)
    >>> env.reset([0, 1]).observation.state[0]
    tensor([ 0.5250, -0.2800,  0.5250, -0.2800], dtype=torch.float64)
    """

    n_modes = AVOID_MODES

    def __init__(self, count: int, *, spread: float = 0.0, steps: int = 250) -> None:
        super().__init__(count)
        if steps < 1 or not 0 <= spread < math.inf:
            raise RecipeError(f"expected steps >= 1 and a finite spread >= 0, got steps {steps}, spread {spread}.")
        self.system = Avoid()
        self.name, self.dt, self.n_actions = self.system.name, self.system.dt, self.system.n_actions
        self.names, self.steps = self.system.names, steps
        self._spread = spread

    def _initial(self, seeds: Sequence[int]) -> Float[Tensor, "b n"]:
        start = torch.stack([_start(seed, self._spread) for seed in seeds])
        return torch.cat([start, start, torch.zeros_like(start)], dim=-1)

    def _begin(self, states: Float[Tensor, "b n"]) -> AvoidCourse:
        begun = vars(Episode.at(states))
        return AvoidCourse(**begun, gaps=torch.full((len(states), 3), -1), collided=begun["success"])

    def _advance(self, before: AvoidCourse, actions: Float[Tensor, "b m"], moves: Bool[Tensor, " b"]) -> AvoidCourse:
        state = torch.where(moves[:, None], self.system.step(before.state, actions), before.state)
        position = state[:, 2:4]
        touched = moves & (clearance(before.state[:, 2:4], position) < AVOID_ROD)
        solved = moves & ~touched & (position[:, 1] > AVOID_FINISH)
        return replace(
            before,
            state=state,
            terminated=touched | solved,
            success=solved,
            gaps=torch.where(before.gaps < 0, gaps_passed(position), before.gaps),
            collided=before.collided | touched,
        )

    def following(
        self, observation: Observation, state: Float[Tensor, "b n"], action: Float[Tensor, "b m"]
    ) -> tuple[Observation, Float[Tensor, "b n"]]:
        """Observation and feedback state after an action."""
        after = self.system.step(state, action.to(state))
        return Observation(state=after[:, :4]), after

    def _observe(self, now: AvoidCourse) -> tuple[Observation, Float[Tensor, "b n"]]:
        return Observation(state=now.state[:, :4]), now.state

    def _measure(self, now: AvoidCourse) -> Mapping[str, Float[Tensor, " b"]]:
        over = now.terminated | torch.tensor(now.steps >= self.steps)
        mode = mode_of_gaps(now.gaps).masked_fill(over & ~now.success, math.nan)
        return {"mode": mode, "collided": now.collided.double()}


def _start(seed: int, spread: float) -> Float[Tensor, " 2"]:
    unit = torch.rand(2, dtype=torch.float64, generator=stream(seed, "avoid", "start"))
    return torch.tensor(AVOID_START, dtype=torch.float64) + spread * (2 * unit - 1)
