"""A maze: a point goes through corridors to a goal at which the demonstrations do not aim.

The demonstrations wander from square to square, each time by a shortest way to another random one, which is not
observed. So a clone of them wanders too, and reaches the goal by chance. A model of the observations that follow can
plan: it is guided to the goal (`models.Goal`). Such undirected data are those of Maze2D (Fu et al. 2020, D4RL, arXiv
2004.07219), by which Diffuser and Diffusion Forcing are compared.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ..errors import RecipeError
from ..seeding import stream
from ..types import Episodes, Observation, Trajectory
from .batched import BatchedEnvironment, Episode
from .maze_course import MAZE_GOAL, Cell, beside_of, cells, moved, steps_between

MAZE_STEPS = 120
"""Control steps of an episode."""
STEP = 0.4
"""Longest step [m]."""
NEAR_GOAL = 0.5
"""Distance [m] within which the goal is reached."""
NAMES: Mapping[str, tuple[str, ...]] = {"action": ("dx", "dy"), "state": ("x", "y"), "observation.state": ("x", "y")}

_APART, _TURN, _JITTER = 2.0, 0.3, 0.02


class MazeEnvironment(BatchedEnvironment[Episode]):
    """`count` episodes in the maze. Simulator state and observation: position (x, y) [m]. Action: step (dx, dy) [m].

        p' = p + u,   ‖u‖ shortened to 0.4, stopped by walls

    An episode begins anywhere in a random square at least 2 m from the goal and lasts 120 steps; it is solved in the
    step that ends within 0.5 m of the goal.

    Extra: `distance` to the goal [m].
    """

    name = "maze"
    dt = 0.1
    steps = MAZE_STEPS
    n_actions = 2
    names = NAMES

    def __init__(self, count: int) -> None:
        super().__init__(count)
        bound = torch.full((2,), STEP, dtype=torch.float64)
        self.action_bounds = -bound, bound

    def _initial(self, seeds: Sequence[int]) -> Float[Tensor, "b n"]:
        return torch.cat([_start(stream(seed, "maze", "start")) for seed in seeds])

    def _begin(self, states: Float[Tensor, "b n"]) -> Episode:
        return Episode.at(states)

    def _advance(self, before: Episode, actions: Float[Tensor, "b m"], moves: Bool[Tensor, " b"]) -> Episode:
        position = torch.where(moves[:, None], moved(before.state, _shortened(actions)), before.state)
        solved = moves & (_to_goal(position) < NEAR_GOAL)
        return replace(before, state=position, terminated=solved, success=solved)

    def following(
        self, observation: Observation, state: Float[Tensor, "b n"], action: Float[Tensor, "b m"]
    ) -> tuple[Observation, Float[Tensor, "b n"]]:
        """Observation and feedback state after an action."""
        after = moved(state, _shortened(action.to(state)))
        return Observation(state=after), after

    def _observe(self, now: Episode) -> tuple[Observation, Float[Tensor, "b n"]]:
        return Observation(state=now.state), now.state

    def _measure(self, now: Episode) -> Mapping[str, Float[Tensor, " b"]]:
        return {"distance": _to_goal(now.state)}


def maze_demonstrations(count: int, *, rng: torch.Generator) -> Episodes:
    """Episodes of 120 steps that wander from one random square to another, each time by a random shortest way.

    >>> from holdfast.seeding import stream
    >>> maze_demonstrations(2, rng=stream(0, "demonstrate", "maze")).actions.shape
    torch.Size([240, 2])
    """
    if count < 1:
        raise RecipeError(f"expected at least 1 demonstration, got {count}.")
    flown = _wandering(count, rng)
    episodes = Episodes.of(flown, dt=MazeEnvironment.dt, system="maze")
    return replace(
        episodes, names=NAMES, meta={"expert": "scripted: shortest ways between random squares, which are not observed"}
    )


class _Wanderer:
    """The squares that lie ahead of one episode."""

    def __init__(self, between: Mapping[Cell, Mapping[Cell, int]], rng: torch.Generator) -> None:
        self.between, self.rng = between, rng
        self.here = _any(cells(), rng)
        self.ahead = list[Cell]()

    def target(self) -> tuple[float, float]:
        """Middle of the next square; a new way begins where the last one has ended."""
        if not self.ahead:
            self.ahead = self._way(_any(cells(), self.rng))
        x, y = self.ahead[0]
        return x + 0.5, y + 0.5

    def reached(self) -> None:
        """Turn to the square after the next one."""
        self.here = self.ahead.pop(0)

    def _way(self, goal: Cell) -> list[Cell]:
        """Squares of a random shortest way, without the first; the first alone where the way ends at once."""
        way, left = [self.here], self.between[goal]
        while way[-1] != goal:
            way.append(_any([one for one in beside_of(way[-1]) if left[one] < left[way[-1]]], self.rng))
        return way[1:] or [self.here]


def _wandering(count: int, rng: torch.Generator) -> Trajectory:
    between = steps_between()
    wanderers = [_Wanderer(between, rng) for _ in range(count)]
    position = torch.stack([_inside(one.here, rng) for one in wanderers])
    noise = _JITTER * torch.randn(MAZE_STEPS, count, 2, dtype=torch.float64, generator=rng)
    actions, states = list[Tensor](), [position]
    for step in range(MAZE_STEPS):
        target = torch.tensor([one.target() for one in wanderers], dtype=torch.float64)
        actions.append(_shortened(_shortened(target - position) + noise[step]))
        position = moved(position, actions[-1])
        states.append(position)
        near = (target - position).square().sum(-1).sqrt() < _TURN
        for one, turns in zip(wanderers, near, strict=True):
            if bool(turns):
                one.reached()
    return Trajectory(actions=torch.stack(actions, dim=1), states=torch.stack(states, dim=1))


def _start(rng: torch.Generator) -> Float[Tensor, "1 2"]:
    far = [cell for cell in cells() if math.dist((cell[0] + 0.5, cell[1] + 0.5), MAZE_GOAL) >= _APART]
    return _inside(_any(far, rng), rng)[None]


def _inside(cell: Cell, rng: torch.Generator) -> Float[Tensor, "2"]:
    """A position in the middle of a square."""
    corner = torch.tensor(cell, dtype=torch.float64)
    return corner + 0.25 + 0.5 * torch.rand(2, dtype=torch.float64, generator=rng)


def _any(some: Sequence[Cell], rng: torch.Generator) -> Cell:
    return some[int(torch.randint(len(some), (1,), generator=rng))]


def _shortened(step: Float[Tensor, "*b 2"]) -> Float[Tensor, "*b 2"]:
    length = step.square().sum(-1, keepdim=True).sqrt()
    return step * (STEP / length.clamp(min=STEP))


def _to_goal(position: Tensor) -> Float[Tensor, "*b"]:
    goal = position.new_tensor(MAZE_GOAL, dtype=torch.float64)
    return (position - goal).square().sum(-1).sqrt()
