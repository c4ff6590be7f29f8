"""The courier: what picks up, puts down and rings, its expert, and its labels."""

import pytest
import torch
from torch.testing import assert_close

from holdfast.envs import PlainPolicy, make_environment, rollout
from holdfast.envs.courier import (
    LOADED_MASS,
    NEAR,
    SKILLS,
    SLOW,
    CourierEnvironment,
    courier_demonstrations,
    courier_force,
    moved,
    observed,
    stage_of,
)
from holdfast.errors import RecipeError, UnknownNameError
from holdfast.seeding import stream


def at(x=0.0, vx=0.0, *, parcel=(1.0, 0.0), place=(0.0, 1.0), bell=(-1.0, 0.0), stage=0.0):
    """A simulator state with the mass on the first axis."""
    return torch.tensor([[x, 0.0, vx, 0.0, *parcel, *place, *bell, stage]], dtype=torch.float64)


REST = torch.zeros(1, 2, dtype=torch.float64)


@pytest.mark.parametrize(("stage", "mass"), [(0.0, 1.0), (1.0, LOADED_MASS), (2.0, 1.0)])
def test_the_mass_moves_as_newton_says(stage, mass):
    """x = ½ (u / m) t² from rest, with the parcel in the hand if it is loaded."""
    parcel = (0.05, 0.0) if stage == 1 else (1.0, 0.0)
    state, force = at(stage=stage, parcel=parcel), torch.tensor([[3.0, -1.5]], dtype=torch.float64)
    for _ in range(3):
        state, _ = moved(state, force)
    assert_close(state[:, :2], force / mass * 0.3**2 / 2)
    assert_close(state[:, 2:4], force / mass * 0.3)
    carried = state[:, 4:6] - state[:, :2] if stage == 1 else state[:, 4:6]
    assert_close(carried, torch.tensor([parcel], dtype=torch.float64))


@pytest.mark.parametrize(
    ("x", "vx", "picked"),
    [(1 - 0.9 * NEAR, 0.0, True), (1 - 1.1 * NEAR, 0.0, False), (1.0, 1.1 * SLOW, False), (1.0, 0.9 * SLOW, True)],
)
def test_a_parcel_is_picked_up_where_the_mass_is_near_and_slow(x, vx, picked):
    # a step of 0.1 s moves by 0.1 vx
    state, rings = moved(at(x - 0.1 * vx, vx), REST)
    assert float(state[0, -1]) == float(picked)
    assert not bool(rings)


def test_the_parts_follow_one_another():
    on_place, _ = moved(at(place=(0.0, 0.0)), REST)
    assert float(on_place[0, -1]) == 0, "nothing was picked up"
    down, rings = moved(at(parcel=(0.05, 0.0), place=(0.0, 0.0), stage=1.0), REST)
    assert (float(down[0, -1]), bool(rings)) == (2.0, False)
    silent, rings = moved(at(bell=(0.0, 0.0), stage=1.0), REST)
    assert (float(silent[0, -1]), bool(rings)) == (1.0, False)
    _, rings = moved(at(bell=(0.0, 0.0), stage=2.0), REST)
    assert bool(rings)


def test_every_observation_tells_the_stage():
    states = torch.cat([at(), at(parcel=(0.05, 0.0), stage=1.0), at(parcel=(0.05, 1.0), stage=2.0)])
    assert stage_of(observed(states).vector).tolist() == [0, 1, 2]


def test_standing_still_solves_nothing():
    environment = make_environment("courier", 20)
    found = rollout(PlainPolicy(lambda seen: 0 * seen[:2]), environment, starts=range(20))
    assert found.success is not None
    assert not bool(found.success.any())
    assert float(found.extra["stage"].max()) == 0


def test_the_expert_solves_every_episode_with_its_skills():
    def act(observation):
        forces = torch.stack([courier_force(skill, observation) for skill in SKILLS], dim=1)
        return forces[torch.arange(len(observation)), stage_of(observation)]

    policy = PlainPolicy(lambda seen: act(torch.as_tensor(seen)), batched=True)
    found = rollout(policy, CourierEnvironment(100), starts=range(100))
    assert found.success is not None
    assert bool(found.success.all())
    assert float(found.extra["stage"].min()) == 3
    assert float(found.returns.sum()) == 100
    # one skill alone is not enough
    for skill in SKILLS:
        alone = PlainPolicy(lambda seen, skill=skill: courier_force(skill, torch.as_tensor(seen)), batched=True)
        assert not bool(rollout(alone, CourierEnvironment(20), starts=range(20)).success.any())


def test_demonstrations_are_labelled_and_obey_the_bounds():
    episodes = courier_demonstrations(60, rng=stream(3, "demonstrate", "courier"))
    environment = CourierEnvironment(1)
    low, high = environment.action_bounds
    assert bool(((episodes.actions >= low) & (episodes.actions <= high)).all())
    assert torch.equal(episodes.columns["skill"], stage_of(episodes.observed.vector))
    assert episodes.names == environment.names
    starts = episodes.starts
    assert episodes.columns["skill"][starts].tolist() == [0] * 60
    assert episodes.columns["skill"][starts + episodes.lengths - 1].tolist() == [2] * 60
    # positions follow from the recorded velocities and forces; gusts only change velocities
    first = starts[0]
    step = 0.1 * episodes.states[first, 2:] + 0.005 * episodes.actions[first]
    assert_close(episodes.states[first + 1, :2] - episodes.states[first, :2], step)


def test_what_does_not_exist_is_refused():
    with pytest.raises(RecipeError, match="at least 1 demonstration"):
        courier_demonstrations(0, rng=stream(0))
    with pytest.raises(UnknownNameError, match="unknown skill of the courier 'fly'"):
        courier_force("fly", torch.zeros(1, 11))
