"""The left/right obstacle: a point mass must pass a disc that lies straight ahead, and both sides are as good.

    finish  ────────────────────  y = 1
                  ╭───╮
                  │   │           disc of radius 0.3 about the origin
                  ╰───╯
                    ↑
    start           ●             x within ±0.05, y = −1.2, moving at the demonstrators' speed

The demonstrations go straight on, then left or right by the toss of a coin that nothing in the observation tells: until
they turn, the law of the next chunk has two modes and its mean runs into the disc.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ..control.systems.obstacle import obstacle_system
from ..errors import RecipeError
from ..seeding import stream
from ..types import Episodes, Observation
from .batched import InStep
from .environment import Seen

__all__ = ["ObstacleEnvironment", "obstacle", "obstacle_demonstrations"]

RADIUS = 0.3
FINISH = 1.0
_START_Y, _SPREAD = -1.2, 0.05
_SPEED = 0.6
# Where the way to the side begins and ends, and how far it goes: past the disc with a decimetre and a half to spare.
_TURN, _ASIDE, _SIDE = -0.8, -0.1, 0.5
# The finish is passed after 37 steps; recorded for longer, so that a chunk that crosses it can be learned.
_RECORDED = 45


@dataclass
class _Running:
    """What goes on changing: one entry an episode."""

    state: Float[Tensor, "b 4"]
    side: Float[Tensor, " b"]
    success: Bool[Tensor, " b"]
    collided: Bool[Tensor, " b"]
    over: Bool[Tensor, " b"]
    taken: int


class ObstacleEnvironment(InStep[_Running]):
    """`count` episodes of the obstacle. An `Environment`; made by `obstacle`.

    An episode is solved when y passes 1 m, and fails when its way crosses the disc, an action is not finite or the
    time is up. Extra: `mode` (0 left, 1 right, NaN before the disc is
    passed) and `collided`.

    Attributes:
        n_modes: Ways past the disc.
        system: The point mass.
    """

    n_modes = 2

    def __init__(self, count: int) -> None:
        super().__init__(count)
        self.system = obstacle_system()

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
        return self.system.steps

    @property
    def n_actions(self) -> int:
        """Coordinates of an action: x and y."""
        return self.system.n_actions

    @property
    def names(self) -> Mapping[str, tuple[str, ...]]:
        """What the coordinates are called, by quantity."""
        return {"action": self.system.action_names, "state": self.system.state_names}

    def _begin(self, seeds: Sequence[int]) -> _Running:
        lateral = torch.cat(
            [torch.rand(1, dtype=torch.float64, generator=stream(seed, "obstacle", "start")) for seed in seeds]
        )
        none = torch.zeros(len(seeds), dtype=torch.bool)
        side = torch.full_like(lateral, torch.nan)
        return _Running(state=_starts(lateral), side=side, success=none, collided=none, over=none, taken=0)

    def _advance(self, before: _Running, actions: Float[Tensor, "b 2"]) -> _Running:
        moves = ~before.over & actions.isfinite().all(dim=-1)
        following = self.system.step(before.state, actions.nan_to_num(0.0, 0.0, 0.0))
        state = torch.where(moves[:, None], following, before.state)
        touched = moves & (_nearest(before.state[:, :2], state[:, :2]) < RADIUS)
        solved = moves & ~touched & (state[:, 1] > FINISH)
        passed = moves & (before.state[:, 1] < 0) & (state[:, 1] >= 0)
        taken = before.taken + 1
        return _Running(
            state=state,
            side=torch.where(passed, (state[:, 0] > 0).double(), before.side),
            success=before.success | solved,
            collided=before.collided | touched,
            over=~moves | touched | solved | (taken >= self.steps),
            taken=taken,
        )

    def _seen(self, running: _Running) -> Seen:
        return Seen(observation=Observation(state=running.state), state=running.state)

    def _measured(self, running: _Running) -> Mapping[str, Float[Tensor, " b"]]:
        mode = running.side.masked_fill(running.collided, torch.nan)
        return {"mode": mode, "collided": running.collided.double()}


def obstacle(count: int) -> ObstacleEnvironment:
    """`count` episodes of the left/right obstacle.

    Raises:
        RecipeError: A count below 1.

    >>> env = obstacle(2)
    >>> seen = env.reset([0, 1])
    >>> step = env.step(torch.zeros(2, 2))
    >>> step.over, step.extra["mode"]
    (tensor([False, False]), tensor([nan, nan], dtype=torch.float64))
    """
    return ObstacleEnvironment(count)


def obstacle_demonstrations(count: int, *, rng: torch.Generator) -> Episodes:
    """Demonstrations that pass the disc by the toss of a coin; all succeed. `meta["modes"]` holds the side of each.

    The reference goes on at a constant speed and aside by a smooth step; a proportional-derivative law follows it from
    a start off its line. How far aside and how fast differ by ±10 % from one demonstration to the next.

    Args:
        count: How many.
        rng: Of the coin, the starts and the ways.

    Raises:
        RecipeError: Fewer than one.

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
    laid, taken = torch.stack(states, 1), torch.stack(actions, 1)
    episodes = Episodes(
        actions=taken.flatten(0, 1),
        states=laid[:, :-1].flatten(0, 1),
        lengths=torch.full((count,), _RECORDED),
        final_states=laid[:, -1],
        names={"action": mass.action_names, "state": mass.state_names},
        dt=mass.dt,
        system=mass.name,
        meta={"modes": [int(side) for side in right]},
    )
    return episodes


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
    """How near the straight line between two points comes to the origin."""
    along = end - start
    share = (-(start * along).sum(-1) / along.square().sum(-1).clamp_min(1e-12)).clamp(0, 1)
    return (start + share[:, None] * along).square().sum(-1).sqrt()
