"""A scripted expert for obstacle avoidance that takes all 24 ways, so that the task needs no recorded data.

The desired position moves from gap to gap by smooth steps in y,

    x(y) = x₀ + Σ_i (x_i − x_{i−1}) s((y − a_i) / (b_i − a_i)),   s(w) = 3w² − 2w³ on [0, 1],

at the pace of the human demonstrators. The position in each gap, the turning points and the speed are random; a
candidate that touches a cylinder, misses its mode, or takes less or more time than the humans is drawn again, so that
every demonstration succeeds.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ..control.systems.avoid import Avoid
from ..control.systems.avoid_course import AVOID_FINISH, AVOID_MODES, AVOID_ROD, AVOID_START, clearance, mode_of
from ..errors import RecipeError
from ..types import Episodes, Observation

# Range of x [m] in which humans pass each gap of a row: about the middle 90 % of the 96 demonstrations of D3IL.
_GAPS = (
    ((0.380, 0.455), (0.565, 0.630)),
    ((0.310, 0.370), (0.475, 0.525), (0.630, 0.700)),
    ((0.260, 0.300), (0.400, 0.445), (0.550, 0.595), (0.695, 0.750)),
)
_ROWS = (-0.10, 0.08, 0.26)
# Length [m] before and after a row on which the path is straight.
_STRAIGHT = 0.06
_END = (0.42, 0.48)
# The human median command is 12.5 mm per step, the largest 14.4 mm; neither coordinate exceeds 12.5 mm.
_PACE = (0.0125, 0.0145)
_LARGEST = 0.0125
_EASE = (0.9, 1.1)
_LATEST_START = 4
_SHORTEST, LONGEST = 61, 107
# The smallest clearance of a human demonstration is 1.6 mm.
_MARGIN = 0.0015
# Humans continue for at least 5 steps after the finish, so that a chunk that crosses it can be learned.
_BEYOND = 5


@dataclass(frozen=True)
class _Candidates:
    """Candidate demonstrations: actions, resulting states, lengths in steps, and which of them are acceptable."""

    actions: Float[Tensor, "b t 2"]
    states: Float[Tensor, "b t+1 n"]
    lengths: Int[Tensor, " b"]
    good: Bool[Tensor, " b"]


def avoid_demonstrations(count: int, *, rng: torch.Generator, modes: Sequence[int] | None = None) -> Episodes:
    """Demonstrations of obstacle avoidance, as evenly over the modes as `count` allows, in random order.

    Each reaches the finish without touching, in 61 to 107 steps, by changes of the desired position of ±12.5 mm in x
    and 0 to 12.5 mm in y, and continues for at least 5 steps. `meta["modes"]` holds the mode of each.

    Args:
        count: Number of demonstrations.
        rng: Random generator.
        modes: Ways to demonstrate. Default: all 24.

    >>> from holdfast.seeding import stream
    >>> episodes = avoid_demonstrations(24, rng=stream(0, "demonstrate", "avoid"))
    >>> sorted(episodes.meta["modes"]) == list(range(24))
    True
    """
    if count < 1:
        raise RecipeError(f"expected at least 1 demonstration, got {count}.")
    chosen = range(AVOID_MODES) if modes is None else modes
    if not chosen or not all(0 <= mode < AVOID_MODES for mode in chosen):
        raise RecipeError(f"expected modes from 0 to {AVOID_MODES - 1}, got {list(chosen)!r:.80}.")
    drawn = _even_modes(count, torch.tensor(list(chosen)), rng)
    found = _draw(drawn, rng)
    while not bool(found.good.all()):
        again = ~found.good
        found = _replaced(found, again, _draw(drawn[again], rng))
    return _episodes(found, drawn, "all 24 modes" if modes is None else f"the modes {', '.join(map(str, modes))}")


def _even_modes(count: int, chosen: Int[Tensor, " n"], rng: torch.Generator) -> Int[Tensor, " b"]:
    # whole rounds through all modes, then some of them
    rounds = [torch.randperm(len(chosen), generator=rng) for _ in range(-(-count // len(chosen)))]
    modes = chosen[torch.cat(rounds)[:count]]
    return modes[torch.randperm(count, generator=rng)]


def _draw(modes: Int[Tensor, " b"], rng: torch.Generator) -> _Candidates:
    """One candidate per mode, simulated with the tracking controller."""
    path = _path(modes, rng)
    clock = _clock(path, rng)
    actions = _commands(path, clock)
    lengths = clock[:, -1].ceil().long()
    states = _simulate(actions)
    return _Candidates(actions=actions, states=states, lengths=lengths, good=_acceptable(states, lengths, modes))


def _path(modes: Int[Tensor, " b"], rng: torch.Generator) -> Float[Tensor, "b points 2"]:
    """Paths of the desired position, evenly spaced in y."""
    gaps = torch.stack([modes // 12, modes // 4 % 3, modes % 4], dim=-1)
    ranges = torch.stack([torch.tensor(row, dtype=torch.float64)[gaps[:, i]] for i, row in enumerate(_GAPS)], dim=1)
    through = _uniform(ranges[..., 0], ranges[..., 1], rng)
    start_x, start_y = torch.tensor(AVOID_START, dtype=torch.float64)
    rows = torch.tensor(_ROWS, dtype=torch.float64).expand_as(through)
    turns_end = _uniform(rows - _STRAIGHT, rows, rng)
    behind = torch.cat([start_y.expand(len(modes), 1), rows[:, :2]], dim=1)
    turns_begin = _uniform(behind, behind + _STRAIGHT, rng)
    end = _uniform(torch.full((len(modes), 1), _END[0]).double(), torch.full((len(modes), 1), _END[1]).double(), rng)
    y = start_y + (end - start_y) * torch.linspace(0, 1, 400, dtype=torch.float64)
    share = ((y[..., None] - turns_begin[:, None]) / (turns_end - turns_begin)[:, None]).clamp(0, 1)
    aside = torch.cat([start_x.expand(len(modes), 1), through], dim=1).diff(dim=1)
    x = start_x + (share.square() * (3 - 2 * share) * aside[:, None]).sum(-1)
    return torch.stack([x, y], dim=-1)


def _clock(path: Float[Tensor, "b points 2"], rng: torch.Generator) -> Float[Tensor, "b points"]:
    """Time at which each point of a path is reached [steps], as fast as pace and largest action allow."""
    one = torch.ones(len(path), 1, dtype=torch.float64)
    pace = _uniform(one * _PACE[0], one * _PACE[1], rng)
    largest = _LARGEST * _uniform(one * _EASE[0], one * _EASE[1], rng).clamp(max=1)
    moves = path.diff(dim=1)
    needed = torch.maximum(moves.square().sum(-1).sqrt() / pace, moves.abs().amax(-1) / largest)
    begin = torch.randint(_LATEST_START, (len(path), 1), generator=rng)
    return begin + torch.cat([0 * one, needed.cumsum(dim=1)], dim=1)


def _commands(path: Float[Tensor, "b points 2"], clock: Float[Tensor, "b points"]) -> Float[Tensor, "b t 2"]:
    """Changes of the desired position from step to step: the path at whole steps of its clock."""
    steps = torch.arange(LONGEST + 1, dtype=torch.float64).repeat(len(path), 1)
    after = torch.searchsorted(clock, steps).clamp(1, path.shape[1] - 1)
    earlier, later = clock.gather(1, after - 1), clock.gather(1, after)
    share = ((steps - earlier) / (later - earlier)).clamp(0, 1)[..., None]
    index = after[..., None].expand(-1, -1, 2)
    return torch.lerp(path.gather(1, index - 1), path.gather(1, index), share).diff(dim=1)


def _simulate(actions: Float[Tensor, "b t 2"]) -> Float[Tensor, "b t+1 n"]:
    arm = Avoid()
    start = actions.new_tensor([*AVOID_START, *AVOID_START, 0.0, 0.0]).expand(len(actions), -1)
    states = [start]
    for action in actions.unbind(dim=1):
        states.append(arm.step(states[-1], action))
    return torch.stack(states, dim=1)


def _acceptable(
    states: Float[Tensor, "b t n"], lengths: Int[Tensor, " b"], modes: Int[Tensor, " b"]
) -> Bool[Tensor, " b"]:
    position = states[..., 2:4]
    free = clearance(position[:, :-1], position[:, 1:]).amin(dim=1) >= AVOID_ROD + _MARGIN
    # the first step beyond the finish; 0 where there is none
    crossing = (position[..., 1] > AVOID_FINISH).to(torch.int8).argmax(dim=1)
    finished = (crossing > 0) & (crossing + _BEYOND <= lengths)
    return free & finished & (mode_of(position) == modes) & (lengths >= _SHORTEST) & (lengths <= LONGEST)


def _replaced(found: _Candidates, where: Bool[Tensor, " b"], new: _Candidates) -> _Candidates:
    """The candidates with those at `where` exchanged."""
    parts = dict[str, Tensor]()
    for field in fields(_Candidates):
        values = getattr(found, field.name).clone()
        values[where] = getattr(new, field.name)
        parts[field.name] = values
    return _Candidates(**parts)


def _episodes(found: _Candidates, modes: Int[Tensor, " b"], ways: str) -> Episodes:
    arm = Avoid()
    inside = torch.arange(LONGEST) < found.lengths[:, None]
    states = found.states[:, :-1][inside]
    return Episodes(
        actions=found.actions[inside],
        states=states,
        lengths=found.lengths,
        final_states=found.states[torch.arange(len(modes)), found.lengths],
        observations=Observation(state=states[:, :4]),
        names=arm.names,
        dt=arm.dt,
        system=arm.name,
        meta={
            "expert": f"scripted: smooth ways through the gaps of {ways}",
            "modes": [int(mode) for mode in modes],
        },
    )


def _uniform(low: Float[Tensor, "*b"], high: Float[Tensor, "*b"], rng: torch.Generator) -> Float[Tensor, "*b"]:
    return torch.lerp(low, high, torch.rand(low.shape, dtype=low.dtype, generator=rng))
