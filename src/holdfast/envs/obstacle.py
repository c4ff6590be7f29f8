"""The left/right obstacle: a point mass must pass a disc straight ahead, and both sides are equally good.

    finish  ────────────────────  y = 1
                  ╭───╮
                  │   │           disc of radius 0.3 about the origin
                  ╰───╯
                    ↑
    start           ●             x within ±0.05, y = −1.2, moving at the demonstrators' speed

The demonstrations go straight ahead, then left or right at random, and nothing in the observation reveals the side:
until they turn, the law of the next chunk has two modes and its mean runs into the disc.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ..control.systems.obstacle import obstacle_system
from ..errors import RecipeError
from ..seeding import stream
from ..types import Episodes, Observation, Trajectory
from .batched import BatchedEnvironment, Episode

RADIUS = 0.3
FINISH = 1.0
_START_Y, _SPREAD = -1.2, 0.05
_SPEED = 0.6
# Heights at which the path to the side begins and ends, and its width: it clears the disc by 0.15 m.
_TURN, _ASIDE, _SIDE = -0.8, -0.1, 0.5
# The finish is passed after 37 steps; longer recordings let a chunk that crosses it be learned.
_RECORDED = 45


@dataclass
class _Pass(Episode):
    """Episodes with the side on which each has passed the disc (NaN before) and whether it has touched it."""

    side: Float[Tensor, " b"]
    collided: Bool[Tensor, " b"]


class ObstacleEnvironment(BatchedEnvironment[_Pass]):
    """`count` episodes of the left/right obstacle, stepped together.

    An episode is solved when y passes 1 m, and fails when its path crosses the disc or an action is not finite.
    Extra: `mode` (0 left, 1 right, NaN before the disc is passed) and `collided`.
    """

    n_modes = 2

    def __init__(self, count: int) -> None:
        super().__init__(count)
        self.system = obstacle_system()
        self.name, self.dt, self.steps = self.system.name, self.system.dt, self.system.steps
        self.n_actions = self.system.n_actions
        self.names = {"action": self.system.action_names, "state": self.system.state_names}

    def _initial(self, seeds: Sequence[int]) -> Float[Tensor, "b 4"]:
        draws = [torch.rand(1, dtype=torch.float64, generator=stream(seed, "obstacle", "start")) for seed in seeds]
        return _starts(torch.cat(draws))

    def _begin(self, states: Float[Tensor, "b 4"]) -> _Pass:
        begun = vars(Episode.at(states))
        return _Pass(**begun, side=torch.full_like(states[:, 0], torch.nan), collided=begun["success"])

    def _advance(self, before: _Pass, actions: Float[Tensor, "b 2"], moves: Bool[Tensor, " b"]) -> _Pass:
        state = torch.where(moves[:, None], self.system.step(before.state, actions), before.state)
        touched = moves & (_nearest(before.state[:, :2], state[:, :2]) < RADIUS)
        solved = moves & ~touched & (state[:, 1] > FINISH)
        passed = moves & (before.state[:, 1] < 0) & (state[:, 1] >= 0)
        return replace(
            before,
            state=state,
            terminated=touched | solved,
            success=solved,
            side=torch.where(passed, (state[:, 0] > 0).double(), before.side),
            collided=before.collided | touched,
        )

    def following(
        self, observation: Observation, state: Float[Tensor, "b 4"], action: Float[Tensor, "b 2"]
    ) -> tuple[Observation, Float[Tensor, "b 4"]]:
        """Observation and feedback state after an action."""
        after = self.system.step(state, action.to(state))
        return Observation(state=after), after

    def _observe(self, now: _Pass) -> tuple[Observation, Float[Tensor, "b 4"]]:
        return Observation(state=now.state), now.state

    def _measure(self, now: _Pass) -> Mapping[str, Float[Tensor, " b"]]:
        return {"mode": now.side.masked_fill(now.collided, torch.nan), "collided": now.collided.double()}


def obstacle_demonstrations(count: int, *, rng: torch.Generator) -> Episodes:
    """Demonstrations that pass the disc on a random side; all succeed. `meta["modes"]` holds the side of each.

    The reference moves at constant speed and to the side by a smooth step; a proportional-derivative law tracks it from
    a start off its line. Width and speed vary by ±10 % between demonstrations.

    >>> from holdfast.seeding import stream
    >>> sorted(set(obstacle_demonstrations(20, rng=stream(0)).meta["modes"]))
    [0, 1]
    """
    if count < 1:
        raise RecipeError(f"expected at least 1 demonstration, got {count}.")
    lateral, far, fast = torch.rand(3, count, dtype=torch.float64, generator=rng)
    right = torch.rand(count, generator=rng) < 0.5
    aside = torch.where(right, 1.0, -1.0) * _SIDE * (0.9 + 0.2 * far)
    speed = _SPEED * (0.9 + 0.2 * fast)
    mass, state = obstacle_system(), _starts(lateral)
    states, actions = [state], list[Tensor]()
    for index in range(_RECORDED):
        wanted, rate, bend = _reference(_START_Y + speed * index * mass.dt, speed, aside)
        action = bend + 16 * (wanted - state[:, :2]) + 8 * (rate - state[:, 2:])
        state = mass.step(state, action)
        states.append(state)
        actions.append(action)
    passed = Trajectory(actions=torch.stack(actions, 1), states=torch.stack(states, 1))
    return replace(
        Episodes.of(passed, dt=mass.dt, system=mass.name),
        names={"action": mass.action_names, "state": mass.state_names},
        meta={"modes": [int(side) for side in right]},
    )


def _starts(lateral: Float[Tensor, " b"]) -> Float[Tensor, "b 4"]:
    ones = torch.ones_like(lateral)
    return torch.stack([_SPREAD * (2 * lateral - 1), _START_Y * ones, 0 * ones, _SPEED * ones], dim=-1)


def _reference(
    y: Float[Tensor, " b"], speed: Float[Tensor, " b"], aside: Float[Tensor, " b"]
) -> tuple[Float[Tensor, "b 2"], Float[Tensor, "b 2"], Float[Tensor, "b 2"]]:
    """Position, velocity and acceleration at a height: x = aside · s(w), s = 3w² − 2w³, w = (y − turn) / length."""
    length = _ASIDE - _TURN
    w = ((y - _TURN) / length).clamp(0, 1)
    turning = ((w > 0) & (w < 1)).double()
    slope = 6 * w * (1 - w) / length
    bend = turning * (6 - 12 * w) / length**2
    zero = torch.zeros_like(y)
    position = torch.stack([aside * (3 * w**2 - 2 * w**3), y], dim=-1)
    velocity = torch.stack([aside * slope * speed, speed + zero], dim=-1)
    return position, velocity, torch.stack([aside * bend * speed**2, zero], dim=-1)


def _nearest(start: Float[Tensor, "b 2"], end: Float[Tensor, "b 2"]) -> Float[Tensor, " b"]:
    """Smallest distance of the straight line between two points to the origin."""
    along = end - start
    share = (-(start * along).sum(-1) / along.square().sum(-1).clamp_min(1e-12)).clamp(0, 1)
    return (start + share[:, None] * along).square().sum(-1).sqrt()
