"""Obstacle avoidance of D3IL (Jia et al. 2024, arXiv 2402.14606), all episodes in one tensor program.

A rod passes three rows of cylinders towards a finish line. A policy sees the desired and the actual position as
`observation.state` and says how the desired position is to change. The desired position is the sum of what the policy
said, so the policy sees its own past commands. What an evaluation asks is not only whether the finish is reached, but
in how many of the 24 ways: `extra["mode"]`, whose entropy `evaluate` reports.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

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
from .batched import InStep
from .environment import Seen

__all__ = ["AvoidEnvironment", "avoid"]


@dataclass
class _Running:
    """What goes on changing: one entry an episode."""

    state: Float[Tensor, "b n"]
    gaps: Int[Tensor, "b 3"]
    over: Bool[Tensor, " b"]
    success: Bool[Tensor, " b"]
    collided: Bool[Tensor, " b"]
    taken: int


class AvoidEnvironment(InStep[_Running]):
    """`count` episodes of obstacle avoidance. An `Environment`; made by `avoid`.

    An episode is solved when the actual y passes 0.35 m, fails when the rod touches a cylinder on its way or an action
    is not finite, and is over after `steps` steps. Actions are not clipped, as in D3IL. The reward is 1 in the step
    that solves the episode, otherwise 0.

    Extra: `mode` (0 to 23 once all rows are passed; NaN until then and for episodes that failed) and `collided`.

    Attributes:
        n_modes: Ways to the finish.
        system: The dynamics, of which the primitive controllers' state is the state.
    """

    n_modes = AVOID_MODES

    def __init__(self, count: int, *, spread: float = 0.0, steps: int = 250) -> None:
        super().__init__(count)
        if steps < 1 or not 0 <= spread < math.inf:
            raise RecipeError(f"expected steps >= 1 and a finite spread >= 0, got steps {steps}, spread {spread}.")
        self.system = Avoid()
        self._spread, self._steps = spread, steps

    @property
    def name(self) -> str:
        """The name under which data sets and recipes know it."""
        return self.system.name

    @property
    def dt(self) -> float:
        """Seconds a control step [s]."""
        return self.system.dt

    @property
    def steps(self) -> int:
        """Control steps after which an episode is over at the latest."""
        return self._steps

    @property
    def n_actions(self) -> int:
        """Coordinates of an action: x and y."""
        return self.system.n_actions

    @property
    def names(self) -> Mapping[str, tuple[str, ...]]:
        """What the coordinates are called, by quantity."""
        return self.system.names

    def _begin(self, seeds: Sequence[int]) -> _Running:
        """All at rest at the start."""
        start = torch.stack([_start(seed, self._spread) for seed in seeds])
        none = torch.zeros(len(seeds), dtype=torch.bool)
        return _Running(
            state=torch.cat([start, start, torch.zeros_like(start)], dim=-1),
            gaps=torch.full((len(seeds), 3), -1),
            over=none,
            success=none,
            collided=none,
            taken=0,
        )

    def _advance(self, before: _Running, actions: Float[Tensor, "b m"]) -> _Running:
        moves = ~before.over & actions.isfinite().all(dim=-1)
        following = self.system.step(before.state, actions.nan_to_num(0.0, 0.0, 0.0))
        state = torch.where(moves[:, None], following, before.state)
        position = state[:, 2:4]
        touched = moves & (clearance(before.state[:, 2:4], position) < AVOID_ROD)
        solved = moves & ~touched & (position[:, 1] > AVOID_FINISH)
        taken = before.taken + 1
        return _Running(
            state=state,
            gaps=torch.where(before.gaps < 0, gaps_passed(position), before.gaps),
            over=~moves | touched | solved | (taken >= self._steps),
            success=before.success | solved,
            collided=before.collided | touched,
            taken=taken,
        )

    def _seen(self, running: _Running) -> Seen:
        return Seen(observation=Observation(state=running.state[:, :4]), state=running.state)

    def _measured(self, running: _Running) -> Mapping[str, Float[Tensor, " b"]]:
        mode = mode_of_gaps(running.gaps).masked_fill(running.over & ~running.success, math.nan)
        return {"mode": mode, "collided": running.collided.double()}


def avoid(count: int, *, spread: float = 0.0, steps: int = 250) -> AvoidEnvironment:
    """`count` episodes of D3IL's obstacle avoidance.

    Args:
        count: How many episodes run together.
        spread: Half-width of the square about the start in which episodes begin [m]; D3IL begins all at one point.
        steps: Control steps after which an episode is over.

    Raises:
        RecipeError: A number that is out of range.

    >>> env = avoid(2)
    >>> env.reset([0, 1]).observation.state[0]
    tensor([ 0.5250, -0.2800,  0.5250, -0.2800], dtype=torch.float64)
    >>> step = env.step(torch.tensor([[0.0, 0.0125], [0.0, 0.0125]]))
    >>> step.over, step.extra["mode"]
    (tensor([False, False]), tensor([nan, nan], dtype=torch.float64))
    """
    return AvoidEnvironment(count, spread=spread, steps=steps)


def _start(seed: int, spread: float) -> Float[Tensor, " 2"]:
    unit = torch.rand(2, dtype=torch.float64, generator=stream(seed, "avoid", "start"))
    return torch.tensor(AVOID_START, dtype=torch.float64) + spread * (2 * unit - 1)
