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

from ...control.systems.avoid import Avoid
from ...control.systems.avoid_course import (
    AVOID_FINISH,
    AVOID_MODES,
    AVOID_ROD,
    AVOID_START,
    clearance,
    gaps_passed,
    mode_of_gaps,
)
from ...errors import RecipeError, ShapeError
from ...seeding import stream
from ...types import Observation
from ..environment import Seen, Step

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


class AvoidEnvironment:
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
        if count < 1 or steps < 1 or not 0 <= spread < math.inf:
            raise RecipeError(
                f"expected count >= 1, steps >= 1 and a finite spread >= 0, got count {count}, steps {steps}, "
                f"spread {spread}."
            )
        self.system = Avoid()
        self._count, self._spread, self._steps = count, spread, steps
        self._running: _Running | None = None

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

    def reset(self, seeds: Sequence[int]) -> Seen:
        """Begin one episode for each seed, at rest at the start; the same seed begins the same episode.

        Raises:
            ShapeError: Another number of seeds than of episodes.
        """
        if len(seeds) != self._count:
            raise ShapeError(f"expected {self._count} seeds, one an episode, got {len(seeds)}.")
        start = torch.stack([_start(seed, self._spread) for seed in seeds])
        none = torch.zeros(self._count, dtype=torch.bool)
        self._running = _Running(
            state=torch.cat([start, start, torch.zeros_like(start)], dim=-1),
            gaps=torch.full((self._count, 3), -1),
            over=none,
            success=none,
            collided=none,
            taken=0,
        )
        return self._seen(self._running)

    @torch.no_grad()
    def step(self, actions: Float[Tensor, "b m"]) -> Step:
        """One control step of all episodes.

        Raises:
            ShapeError: Before `reset`, or actions of another shape than one (x, y) an episode.
        """
        if self._running is None:
            raise ShapeError("expected `reset` before the first `step`.")
        if actions.shape != (self._count, self.n_actions):
            raise ShapeError(f"expected actions of shape {[self._count, 2]}, (x, y) each, got {list(actions.shape)}.")
        before = self._running
        self._running = after = self._advance(before, actions.detach().to(before.state))
        solved_now = after.success & ~before.success
        failed = after.over & ~after.success
        mode = mode_of_gaps(after.gaps).masked_fill(failed, math.nan)
        return Step(
            seen=self._seen(after),
            reward=solved_now.double(),
            over=after.over,
            success=after.success,
            extra={"mode": mode, "collided": after.collided.double()},
        )

    def difference(self, x: Float[Tensor, "*b n"], y: Float[Tensor, "*b n"]) -> Float[Tensor, "*b n"]:
        """`x − y` of states."""
        return self.system.difference(x, y)

    def close(self) -> None:
        """Nothing is held."""

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
