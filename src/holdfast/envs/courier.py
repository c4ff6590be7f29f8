"""A courier: fetch a parcel, deliver it, ring a bell; a task of three skills in the plane, batched.

    start ──fetch──► parcel ──deliver──► place ──ring──► bell

A point mass is pushed by a force, x'' = u / m with m = 1 kg, 1.5 kg with the parcel. All four places differ between
episodes. A parcel is picked up, or put down, where the mass is within 0.1 m and at most 0.5 m/s fast; the bell rings on
the same condition once the parcel is delivered. Standing still solves nothing, and each part needs the one before.

`observation.state` is position and velocity, `observation.environment_state` where parcel, place and bell are as seen
from the mass, and whether it is loaded. After the delivery the parcel is where its place is, so that every observation
tells which part of the task is next (`stage_of`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ..errors import RecipeError, UnknownNameError
from ..seeding import stream
from ..types import Episodes, Observation
from .batched import BatchedEnvironment, Episode

SKILLS = ("fetch", "deliver", "ring")
"""Parts of the task, in their order."""
COURIER_STEPS = 120
"""Time limit of an episode in control steps."""
NEAR, SLOW = 0.1, 0.5
"""Distance [m] and speed [m/s] at or below which a parcel is picked up or put down and the bell rings."""
MASS, LOADED_MASS = 1.0, 1.5
"""Mass without and with the parcel [kg]."""
FORCE = 4.0
"""Largest force along each axis [N]."""
GUST = 0.08
"""Standard deviation of the change of velocity in each step of a demonstration [m/s]: in gusts, the expert shows how it
corrects its course."""
_DT = 0.1
_APART = 0.5
_SPEED, _APPROACH, _BRAKING = 0.9, 3.0, 8.0

_STATE = ("x", "y", "vx", "vy")
_SEEN = ("parcel_dx", "parcel_dy", "place_dx", "place_dy", "bell_dx", "bell_dy", "loaded")
NAMES: Mapping[str, tuple[str, ...]] = {
    "action": ("force_x", "force_y"),
    "state": _STATE,
    "observation.state": _STATE,
    "observation.environment_state": _SEEN,
}


class CourierEnvironment(BatchedEnvironment[Episode]):
    """`count` episodes of the courier task. Simulator state: position, velocity, parcel, place, bell, stage.

    An episode is solved when the bell rings after the delivery, and ends then. The stage is 0 before the parcel is
    picked up, 1 while it is carried and 2 after it was delivered.

    Extra: `stage`, the number of parts done, 3 in solved episodes.
    """

    name, dt, steps, n_actions = "courier", _DT, COURIER_STEPS, 2

    def __init__(self, count: int) -> None:
        super().__init__(count)
        self.names = NAMES
        limit = torch.full((2,), FORCE, dtype=torch.float64)
        self.action_bounds = -limit, limit

    def _initial(self, seeds: Sequence[int]) -> Float[Tensor, "b 11"]:
        return torch.cat([_starts(1, stream(seed, "courier", "start")) for seed in seeds])

    def _begin(self, states: Float[Tensor, "b 11"]) -> Episode:
        return Episode.at(states)

    def _advance(self, before: Episode, actions: Float[Tensor, "b 2"], moves: Bool[Tensor, " b"]) -> Episode:
        after, rings = moved(before.state, actions)
        state = torch.where(moves[:, None], after, before.state)
        solved = moves & rings
        return replace(before, state=state, terminated=solved, success=solved)

    def _observe(self, now: Episode) -> tuple[Observation, Float[Tensor, "b 4"]]:
        return observed(now.state), now.state[:, :4]

    def _measure(self, now: Episode) -> Mapping[str, Float[Tensor, " b"]]:
        return {"stage": now.state[:, -1] + now.success.double()}


def moved(
    state: Float[Tensor, "b 11"], force: Float[Tensor, "b 2"]
) -> tuple[Float[Tensor, "b 11"], Bool[Tensor, " b"]]:
    """Simulator states one control step later, with constant force, and where the bell rings."""
    position, velocity, parcel, rest, stage = torch.split(state, [2, 2, 2, 4, 1], dim=-1)
    acceleration = force / (MASS + (LOADED_MASS - MASS) * (stage == 1))
    position = position + _DT * velocity + _DT**2 / 2 * acceleration
    velocity = velocity + _DT * acceleration
    # the parcel keeps its place in the hand
    parcel = torch.where(stage == 1, parcel + position - state[:, :2], parcel)
    targets = torch.stack([parcel, *torch.split(rest, 2, dim=-1)], dim=1)
    wanted = targets[torch.arange(len(state)), stage[:, 0].long()]
    there = (_length(position - wanted) <= NEAR) & (_length(velocity) <= SLOW)
    rings = there & (stage[:, 0] == 2)
    stage = stage + (there & ~rings)[:, None]
    return torch.cat([position, velocity, parcel, rest, stage], dim=-1), rings


def observed(state: Float[Tensor, "b 11"]) -> Observation:
    """Observation of simulator states."""
    position, _, parcel, place, bell, stage = torch.split(state, [2, 2, 2, 2, 2, 1], dim=-1)
    around = [target - position for target in (parcel, place, bell)]
    return Observation(state=state[:, :4], environment_state=torch.cat([*around, (stage == 1).to(state)], dim=-1))


def stage_of(observation: Float[Tensor, "b 11"]) -> Int[Tensor, " b"]:
    """The part of the task that is next, from observation vectors: its index in `SKILLS`.

    The parcel is delivered where it lies at its place, unloaded: at the start it is at least 0.5 m away from there.

    >>> started = CourierEnvironment(2).reset([0, 1])
    >>> stage_of(started.observation.vector).tolist()
    [0, 0]
    """
    parcel, place, loaded = observation[:, 4:6], observation[:, 6:8], observation[:, 10] > 0.5
    delivered = _length(parcel - place) < _APART / 2
    return torch.where(loaded, 1, torch.where(delivered, 2, 0))


def courier_force(
    skill: str, observation: Float[Tensor, "b 11"], *, haste: float | Float[Tensor, "b 1"] = 1.0
) -> Float[Tensor, "b 2"]:
    """Force of the expert in one skill: a velocity towards the target that falls with the distance, tracked.

        v* = e min(3 / s, 0.9 h m/s / ‖e‖),   u = m · 8 / s (v* − v),   |u| ≤ 4 N

    Args:
        skill: One of `SKILLS`.
        observation: Observation vectors.
        haste: Factor h of the speed.

    Raises:
        UnknownNameError: No such skill.
    """
    if skill not in SKILLS:
        raise UnknownNameError("skill of the courier", skill, SKILLS)
    first = 4 + 2 * SKILLS.index(skill)
    error, velocity, loaded = observation[:, first : first + 2], observation[:, 2:4], observation[:, 10:11]
    distance = _length(error)[:, None].clamp(min=1e-9)
    wanted = error * torch.minimum(torch.full_like(distance, _APPROACH), _SPEED * haste / distance)
    mass = MASS + (LOADED_MASS - MASS) * (loaded > 0.5)
    return (mass * _BRAKING * (wanted - velocity)).clamp(-FORCE, FORCE)


def courier_demonstrations(count: int, *, rng: torch.Generator) -> Episodes:
    """Demonstrations by the expert in gusts, whose speed varies by ±20 % between them; all are solved.

    The column `skill` holds the index in `SKILLS`, which `meta["labels"]` lists, of the skill in each step.

    >>> made = courier_demonstrations(3, rng=stream(0, "demonstrate", "courier"))
    >>> made.meta["labels"]["skill"], made.columns["skill"].unique().tolist()
    (['fetch', 'deliver', 'ring'], [0, 1, 2])
    """
    if count < 1:
        raise RecipeError(f"expected at least 1 demonstration, got {count}.")
    now, haste = _starts(count, rng), 0.8 + 0.4 * torch.rand(count, 1, dtype=torch.float64, generator=rng)
    states, forces, skills = [now], list[Tensor](), list[Tensor]()
    lengths = torch.zeros(count, dtype=torch.int64)
    for index in range(COURIER_STEPS):
        vector, stage = observed(now).vector, now[:, -1].long()
        each = torch.stack([courier_force(skill, vector, haste=haste) for skill in SKILLS], dim=1)
        forces.append(each[torch.arange(count), stage])
        now, rings = moved(now, forces[-1])
        gust = GUST * torch.randn(count, 2, dtype=torch.float64, generator=rng)
        now = torch.cat([now[:, :2], now[:, 2:4] + gust, now[:, 4:]], dim=-1)
        states.append(now)
        skills.append(stage)
        lengths = torch.where((lengths == 0) & rings, index + 1, lengths)
    return _episodes(torch.stack(states, 1), torch.stack(forces, 1), torch.stack(skills, 1), lengths)


def _episodes(
    states: Float[Tensor, "b steps 11"], forces: Float[Tensor, "b t 2"], skills: Int[Tensor, "b t"], lengths: Tensor
) -> Episodes:
    """The steps of each demonstration until the bell rings."""
    inside = torch.arange(forces.shape[1]) < lengths[:, None]
    before = states[:, :-1][inside]
    return Episodes(
        actions=forces[inside],
        states=before[:, :4],
        lengths=lengths,
        final_states=states[torch.arange(len(lengths)), lengths, :4],
        observations=observed(before),
        names=NAMES,
        dt=_DT,
        system="courier",
        columns={"skill": skills[inside]},
        meta={"labels": {"skill": list(SKILLS)}, "expert": "scripted: to the parcel, to its place, to the bell"},
    )


def _starts(count: int, rng: torch.Generator) -> Float[Tensor, "count 11"]:
    """At rest; start, parcel, place and bell are uniform in a square of 2 m, at least 0.5 m from one another."""
    places = torch.rand(count, 4, 2, dtype=torch.float64, generator=rng) * 2 - 1
    while len(close := _too_close(places)):
        places[close] = torch.rand(len(close), 4, 2, dtype=torch.float64, generator=rng) * 2 - 1
    start, *others = places.unbind(dim=1)
    return torch.cat([start, torch.zeros_like(start), *others, torch.zeros_like(start[:, :1])], dim=-1)


def _too_close(places: Float[Tensor, "b 4 2"]) -> Int[Tensor, " close"]:
    distances = torch.cdist(places, places) + 9 * torch.eye(4, dtype=places.dtype)
    return (distances.flatten(1).amin(dim=1) < _APART).nonzero().flatten()


def _length(vectors: Float[Tensor, "b 2"]) -> Float[Tensor, " b"]:
    return vectors.square().sum(dim=-1).sqrt()
