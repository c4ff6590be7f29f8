"""The fork: a fast point mass in a headwind must pass a disc on its left or right, through narrow gaps.

    finish  │──────────────────│  y = 0.5
            │      ╭───╮       │
            │      │   │       │  disc of radius 0.25 about the origin; walls at x = ±0.85
            │      ╰───╯       │
            │        ↑         │
    start   │        ●         │  y from −2.0 to −1.4, moving at the demonstrators' speed
    wall    │──────────────────│  y = −2.5; without thrust, the wind blows the mass into it

    v' = v + dt (u − c v − wind e_y) + σ ε,   x' = x + dt v'

The task is made for execution under delay. Both sides are equally good and nothing tells the side before the turn, so
that a plan which does not continue the running one can leave its side; gusts ε ~ N(0, 1) at every step make old plans
wrong; and neither waiting nor standing still is possible.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ..errors import RecipeError
from ..seeding import stream
from ..types import Episodes, Observation, Trajectory
from .batched import BatchedEnvironment, Episode

RADIUS, WALL, REAR, FINISH = 0.25, 0.85, -2.5, 0.5
"""Radius of the disc, half-width of the corridor, height of the rear wall and of the finish [m]."""
DT, DRAG, WIND, GUST = 0.05, 1.0, 6.0, 0.04
"""Control step [s], drag c [1/s], headwind [m/s²], std σ of the velocity's change by a gust in one step [m/s]."""
STRONGEST = 40.0
"""Largest force per mass in each coordinate [m/s²]."""
SPEED, TREMOR = 1.2, 0.7
"""Speed of the demonstrators [m/s], and std of the tremor of their hand, which is recorded with the action [m/s²]."""
RECORDED = 52
"""Steps of a demonstration; the finish is passed before, so that a chunk that crosses it is learned."""
_NEAREST, _FARTHEST, _SPREAD = -1.4, -2.0, 0.03
_TURNS, _LENGTH, _SIDE = (-1.2, -1.05), 0.9, 0.55
_STIFF, _DAMPED = 40.0, 11.0

_NAMES: Mapping[str, tuple[str, ...]] = {"action": ("force_x", "force_y"), "state": ("x", "y", "x_dot", "y_dot")}


@dataclass
class _Pass(Episode):
    """Episodes with the side on which each has passed the disc (NaN before) and whether it has collided."""

    side: Float[Tensor, " b"]
    collided: Bool[Tensor, " b"]


class ForkEnvironment(BatchedEnvironment[_Pass]):
    """`count` episodes of the fork, stepped together.

    An episode is solved when y passes 0.5 m within 60 steps, and fails when its path meets the disc or a wall. The
    simulator state is position, velocity, the number of the episode's gusts and the step.

    Extra: `mode` (0 left, 1 right, NaN before the disc is passed) and `collided`.

    >>> env = ForkEnvironment(2)
    >>> env.reset([0, 1]).observation.state.shape
    torch.Size([2, 4])
    """

    name, dt, steps, n_actions, n_modes = "fork", DT, 60, 2, 2

    def __init__(self, count: int) -> None:
        super().__init__(count)
        strongest = torch.full((2,), STRONGEST, dtype=torch.float64)
        self.action_bounds = -strongest, strongest
        self.names = _NAMES

    def _initial(self, seeds: Sequence[int]) -> Float[Tensor, "b n"]:
        draws = [torch.rand(3, dtype=torch.float64, generator=stream(seed, "fork", "start")) for seed in seeds]
        return _starts(torch.stack(draws))

    def _begin(self, states: Float[Tensor, "b n"]) -> _Pass:
        begun = vars(Episode.at(states))
        return _Pass(**begun, side=torch.full_like(states[:, 0], torch.nan), collided=begun["success"])

    def _advance(self, before: _Pass, actions: Float[Tensor, "b 2"], moves: Bool[Tensor, " b"]) -> _Pass:
        state = torch.where(moves[:, None], blown(before.state, actions), before.state)
        collided = moves & touches(before.state[:, :2], state[:, :2])
        solved = moves & ~collided & (state[:, 1] > FINISH)
        passed = moves & (before.state[:, 1] < 0) & (state[:, 1] >= 0)
        return replace(
            before,
            state=state,
            terminated=collided | solved,
            success=solved,
            side=torch.where(passed, (state[:, 0] > 0).double(), before.side),
            collided=before.collided | collided,
        )

    def following(
        self, observation: Observation, state: Float[Tensor, "b 4"], action: Float[Tensor, "b 2"]
    ) -> tuple[Observation, Float[Tensor, "b 4"]]:
        """Observation and feedback state after an action, without a gust."""
        after = moved(state, action)
        return Observation(state=after), after

    def _observe(self, now: _Pass) -> tuple[Observation, Float[Tensor, "b 4"]]:
        return Observation(state=now.state[:, :4]), now.state[:, :4]

    def _measure(self, now: _Pass) -> Mapping[str, Float[Tensor, " b"]]:
        return {"mode": now.side.masked_fill(now.collided, torch.nan), "collided": now.collided.double()}


def moved(mass: Float[Tensor, "b 4"], action: Float[Tensor, "b 2"]) -> Float[Tensor, "b 4"]:
    """Position and velocity after a control step without a gust."""
    position, velocity = mass.chunk(2, dim=-1)
    wind = torch.tensor([0.0, WIND]).to(mass)
    velocity = velocity + DT * (action.to(mass) - DRAG * velocity - wind)
    return torch.cat([position + DT * velocity, velocity], dim=-1)


def blown(state: Float[Tensor, "b n"], action: Float[Tensor, "b 2"]) -> Float[Tensor, "b n"]:
    """Simulator states after a control step with its gust."""
    mass, number, step = state[:, :4], state[:, 4], state[:, 5]
    kick = GUST * gusts(number.long(), step.long())
    pushed = moved(mass, action) + torch.cat([DT * kick, kick], dim=-1)
    return torch.cat([pushed, number[:, None], step[:, None] + 1], dim=-1)


def gusts(number: Int[Tensor, " b"], step: Int[Tensor, " b"]) -> Float[Tensor, "b 2"]:
    """The gusts ε of episodes with these numbers at these steps, standard normal.

    A function of number and step, so that a simulator state restores the weather with everything else: both are mixed
    to 64 bits (Steele, Lea and Flood 2014, SplitMix) and turned into normal numbers by Box and Muller's formula.
    """
    first, second = (_uniform(number * 2**12 + 2 * step + part) for part in (0, 1))
    length, angle = (-2 * (1 - first).log()).sqrt(), 2 * math.pi * second
    return torch.stack([length * angle.cos(), length * angle.sin()], dim=-1)


def touches(start: Float[Tensor, "b 2"], end: Float[Tensor, "b 2"]) -> Bool[Tensor, " b"]:
    """Whether the straight line between two points meets the disc, or its end is behind a wall."""
    along = end - start
    share = (-(start * along).sum(-1) / along.square().sum(-1).clamp_min(1e-12)).clamp(0, 1)
    nearest = (start + share[:, None] * along).square().sum(-1).sqrt()
    return (nearest < RADIUS) | (end[:, 0].abs() > WALL) | (end[:, 1] < REAR)


def fork_demonstrations(count: int, *, rng: torch.Generator) -> Episodes:
    """Demonstrations that pass the disc, half on each side; all succeed. `meta["modes"]` holds the side of each.

    The expert turns at a height of its choice and tracks a smooth path to the middle of a gap by a proportional-
    derivative law, in gusts and with a trembling hand. Attempts that fail are repeated with other gusts.

    >>> from holdfast.seeding import stream
    >>> sorted(fork_demonstrations(4, rng=stream(0)).meta["modes"])
    [0, 0, 1, 1]
    """
    if count < 1:
        raise RecipeError(f"expected at least 1 demonstration, got {count}.")
    right = torch.randperm(count, generator=rng) % 2
    found = _flown(right, rng)
    while not bool((solved := _solves(found.states)).all()):
        again = _flown(right[~solved], rng)
        found.states[~solved], found.actions[~solved] = again.states, again.actions
    return replace(
        Episodes.of(found, dt=DT, system="fork"),
        names=_NAMES,
        meta={"modes": [int(side) for side in right]},
    )


def _flown(right: Int[Tensor, " b"], rng: torch.Generator) -> Trajectory:
    """Flights of the expert, one for each side."""
    draws = torch.rand(5, len(right), dtype=torch.float64, generator=rng)
    state = _starts(draws[:3].mT)
    turn = _TURNS[0] + (_TURNS[1] - _TURNS[0]) * draws[3]
    aside = torch.where(right > 0, 1.0, -1.0) * _SIDE * (0.95 + 0.1 * draws[4])
    states, actions = [state], list[Tensor]()
    for _ in range(RECORDED):
        wanted = _expert(state[:, :4], turn, aside)
        actions.append(wanted + TREMOR * torch.randn(wanted.shape, dtype=wanted.dtype, generator=rng))
        state = blown(state, actions[-1])
        states.append(state)
    return Trajectory(actions=torch.stack(actions, 1), states=torch.stack(states, 1)[..., :4].clone())


def _solves(states: Float[Tensor, "b t 4"]) -> Bool[Tensor, " b"]:
    """Whether each flight reaches the finish without touching anything on its way."""
    places = states[..., :2]
    touched = torch.stack([touches(*pair) for pair in zip(places.unbind(1), places[:, 1:].unbind(1), strict=False)])
    behind = (places[:, 1:, 1] > FINISH).mT.cumsum(0) > 0
    return ~(touched & ~behind).any(0) & behind[-1]


def _expert(mass: Float[Tensor, "b 4"], turn: Float[Tensor, " b"], aside: Float[Tensor, " b"]) -> Float[Tensor, "b 2"]:
    """Force to track x = aside · s(w), s = 3w² − 2w³, w = (y − turn) / length, at constant speed."""
    x, y, across, ahead = mass.unbind(-1)
    w = ((y - turn) / _LENGTH).clamp(0, 1)
    turning = ((w > 0) & (w < 1)).double()
    wanted, rate = aside * (3 * w**2 - 2 * w**3), aside * 6 * w * (1 - w) / _LENGTH * ahead
    bend = turning * aside * (6 - 12 * w) / _LENGTH**2 * ahead**2
    sideways = bend + DRAG * across + _STIFF * (wanted - x) + _DAMPED * (rate - across)
    onward = DRAG * ahead + WIND + 8 * (SPEED - ahead)
    return torch.stack([sideways, onward], dim=-1).clamp(-STRONGEST, STRONGEST)


def _starts(draws: Float[Tensor, "b 3"]) -> Float[Tensor, "b 6"]:
    """Simulator states from numbers in [0, 1): place across, height, and the number of the gusts."""
    across, along, number = draws.unbind(-1)
    zero = torch.zeros_like(across)
    y = _FARTHEST + (_NEAREST - _FARTHEST) * along
    return torch.stack([_SPREAD * (2 * across - 1), y, zero, zero + SPEED, (number * 2**40).floor(), zero], dim=-1)


def _uniform(number: Int[Tensor, " b"]) -> Float[Tensor, " b"]:
    """Uniform numbers in [0, 1), one for each integer."""
    mixed = number * -7046029254386353131
    for shift, factor in ((30, -4658895280553007687), (27, -7723592293110705685), (31, 1)):
        mixed = (mixed ^ ((mixed >> shift) & (2 ** (64 - shift) - 1))) * factor
    return ((mixed >> 11) & (2**53 - 1)).double() * 2.0**-53
