"""Obstacle avoidance as an environment, and the expert that needs no data."""

import math

import pytest
import torch
from torch.testing import assert_close

from holdfast.control.systems import Avoid
from holdfast.control.systems.avoid_course import AVOID_OBSTACLES, AVOID_ROD, clearance, mode_of
from holdfast.envs.avoid import AvoidEnvironment
from holdfast.envs.avoid_expert import _acceptable, _draw, avoid_demonstrations
from holdfast.envs.environment import Environment
from holdfast.errors import RecipeError, ShapeError
from holdfast.seeding import stream


@pytest.fixture(scope="module")
def demonstrations():
    return avoid_demonstrations(240, rng=stream(0, "tests", "avoid"))


def _replay(episodes, environment):
    """Last step, and all states, of episodes whose actions are played open loop, then nothing."""
    commands = torch.zeros(len(episodes), environment.steps, 2, dtype=torch.float64)
    for index in range(len(episodes)):
        actions = episodes.trajectory(index).actions
        commands[index, : len(actions)] = actions
    states, step = [environment.reset(range(len(episodes))).state], None
    for actions in commands.unbind(1):
        step = environment.step(actions)
        states.append(step.state)
    return step, torch.stack(states, dim=1)


# --- the environment


def test_it_is_an_environment():
    environment = AvoidEnvironment(3)
    assert isinstance(environment, Environment)
    assert (environment.name, environment.dt, environment.steps, environment.n_actions) == ("avoid", 0.035, 250, 2)
    assert environment.n_modes == 24
    seen = environment.reset(range(3))
    assert len(environment.names["state"]) == seen.state.shape[1]
    assert len(environment.names["observation.state"]) == seen.observation.state.shape[1]
    environment.close()


def test_episodes_begin_at_rest_where_the_arm_does_in_d3il():
    seen = AvoidEnvironment(2).reset([5, 9])
    assert_close(seen.state, torch.tensor([[0.525, -0.28, 0.525, -0.28, 0, 0]] * 2, dtype=torch.float64))
    assert_close(seen.observation.state, seen.state[:, :4])


def test_random_starts_are_the_seed_s_and_fill_their_square():
    environment = AvoidEnvironment(300, spread=0.02)
    first = environment.reset(range(300)).state
    offset = first[:, :2] - torch.tensor([0.525, -0.28])
    assert_close(first[:, 2:4], first[:, :2])
    assert 0.019 < float(offset.abs().max()) <= 0.02
    assert_close(offset.mean(0), torch.zeros(2).double(), rtol=0, atol=0.004)
    assert torch.equal(environment.reset(range(299, -1, -1)).state.flip(0), first)


def test_a_step_is_the_system_s(gaussian):
    environment, arm = AvoidEnvironment(4), Avoid()
    state = environment.reset(range(4)).state
    for seed in range(5):
        actions = 0.01 * gaussian(seed, 4, 2)
        state = arm.step(state, actions)
        assert_close(environment.step(actions).state, state, rtol=0, atol=1e-15)


def test_straight_on_hits_the_first_obstacle_and_stands_still():
    environment = AvoidEnvironment(1)
    environment.reset([0])
    steps = [environment.step(torch.tensor([[-0.0005, 0.0125]])) for _ in range(60)]
    hit = next(index for index, step in enumerate(steps) if bool(step.over))
    x, y, radius = AVOID_OBSTACLES[0]
    where = steps[hit].state[0, 2:4] - torch.tensor([x, y], dtype=torch.float64)
    before = steps[hit - 1].state[0, 2:4] - torch.tensor([x, y], dtype=torch.float64)
    assert float(where.norm()) < radius + 0.01 < float(before.norm())
    last = steps[-1]
    assert torch.equal(last.state, steps[hit].state)
    assert not bool(last.success)
    assert float(last.extra["collided"]) == 1
    assert math.isnan(float(last.extra["mode"]))
    assert sum(float(step.reward) for step in steps) == 0


def test_no_step_is_long_enough_to_jump_over_an_obstacle():
    environment = AvoidEnvironment(1)
    environment.reset([0])
    environment.step(torch.tensor([[-0.07, 0.0]]))
    for _ in range(200):
        environment.step(torch.zeros(1, 2))
    step = environment.step(torch.tensor([[0.0, 20.0]]))
    assert float(step.state[0, 3]) > 0.35, "the jump must end beyond the finish"
    assert bool(step.over)
    assert not bool(step.success)


def test_time_runs_out():
    environment = AvoidEnvironment(2, steps=4)
    environment.reset([0, 1])
    steps = [environment.step(torch.zeros(2, 2)) for _ in range(5)]
    assert [bool(step.over.any()) for step in steps] == [False, False, False, True, True]
    assert steps[-1].extra["mode"].isnan().all()
    assert not bool(steps[-1].success.any())


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_an_action_that_is_no_number_ends_its_episode_alone(bad):
    environment = AvoidEnvironment(2)
    start = environment.reset([0, 1]).state
    step = environment.step(torch.tensor([[bad, 0.0], [0.0, 0.01]]))
    assert step.over.tolist() == [True, False]
    assert torch.equal(step.state[0], start[0])
    assert step.state.isfinite().all()
    assert environment.step(torch.zeros(2, 2)).over.tolist() == [True, False]


def test_a_solved_episode_stands_still_and_pays_once(demonstrations):
    environment = AvoidEnvironment(1)
    environment.reset([0])
    rewards, states = list[float](), list[torch.Tensor]()
    for action in demonstrations.trajectory(0).actions:
        step = environment.step(action[None])
        rewards.append(float(step.reward))
        states.append(step.state)
    first = rewards.index(1.0)
    assert sum(rewards) == 1
    assert float(states[first - 1][0, 3]) <= 0.35 < float(states[first][0, 3])
    assert torch.equal(states[-1], states[first])


def test_doors():
    for arguments in ({"count": 0}, {"count": 1, "steps": 0}, {"count": 1, "spread": -1.0}):
        with pytest.raises(
            RecipeError, match=r"expected a count of at least 1|expected steps >= 1 and a finite spread"
        ):
            AvoidEnvironment(**arguments)
    environment = AvoidEnvironment(2)
    with pytest.raises(ShapeError, match="expected `reset` before"):
        environment.step(torch.zeros(2, 2))
    with pytest.raises(ShapeError, match="expected 2 starts, one per episode, got 3"):
        environment.reset([0, 1, 2])
    environment.reset([0, 1])
    with pytest.raises(ShapeError, match=r"expected actions of shape \[2, 2\].*got \[2, 3\]"):
        environment.step(torch.zeros(2, 3))


# --- the expert


def test_every_demonstration_succeeds_in_its_mode(demonstrations):
    step, states = _replay(demonstrations, AvoidEnvironment(240))
    wanted = torch.tensor(demonstrations.meta["modes"]).double()
    assert step.success.all()
    assert_close(step.extra["mode"], wanted, rtol=0, atol=0)
    assert_close(mode_of(states[..., 2:4]), wanted, rtol=0, atol=0)
    assert torch.bincount(wanted.long()).tolist() == [10] * 24


def test_demonstrations_keep_as_far_off_as_people_do(demonstrations):
    paths = [demonstrations.trajectory(index).states[:, 2:4] for index in range(len(demonstrations))]
    free = torch.stack([clearance(path[:-1], path[1:]).min() for path in paths])
    assert float(free.min()) >= AVOID_ROD + 0.0015


def test_what_misses_its_mode_or_the_finish_or_touches_is_drawn_again():
    modes = torch.arange(24)
    flown = _draw(modes, stream(2, "avoid"))
    states, lengths, good = flown.states, flown.lengths, flown.good
    assert int(good.sum()) > 12
    assert not _acceptable(states, lengths, (modes + 1) % 24).any()
    assert not _acceptable(states, lengths - 20, modes).any()
    cylinder = torch.tensor(AVOID_OBSTACLES[0][:2], dtype=torch.float64)
    through = states.clone()
    at_row = (states[..., 3] - cylinder[1]).abs().argmin(1)
    through[torch.arange(24), at_row, 2:4] = cylinder + torch.tensor([0.0, 0.035])
    assert not _acceptable(through, lengths, modes).any()


def test_demonstrations_are_trajectories_of_the_system(demonstrations):
    arm = Avoid()
    for index in (0, 7, 100):
        trajectory = demonstrations.trajectory(index)
        assert_close(arm.step(trajectory.states[:-1], trajectory.actions), trajectory.states[1:], rtol=0, atol=1e-14)
        recorded = arm.states_along(trajectory.states[:, :2], trajectory.states[:, 2:4])
        assert_close(recorded, trajectory.states, rtol=0, atol=1e-12)
    assert torch.equal(demonstrations.observed.state, demonstrations.states[:, :4])
    assert demonstrations.names["observation.state"] == arm.state_names[:4]
    assert (demonstrations.system, demonstrations.dt) == ("avoid", 0.035)


def test_demonstrations_are_like_people_s(demonstrations):
    """Against statistics of the 96 human demonstrations: 61 to 107 steps, 77 on average, 4.8 and 9.5 mm a step."""
    actions, lengths = demonstrations.actions, demonstrations.lengths.double()
    assert float(actions.abs().max()) <= 0.0125 + 1e-12
    assert float(actions[:, 1].min()) >= 0
    assert 61 <= float(lengths.min()) <= float(lengths.max()) <= 107
    assert float(lengths.mean()) == pytest.approx(77.1, rel=0.03)
    assert float(lengths.std()) == pytest.approx(12, rel=0.25)
    assert float(actions[:, 0].abs().mean()) == pytest.approx(0.00475, rel=0.15)
    assert float(actions[:, 1].mean()) == pytest.approx(0.00948, rel=0.05)


@pytest.mark.parametrize("count", [1, 23, 30])
def test_modes_are_as_even_as_the_count_allows(count):
    modes = torch.tensor(avoid_demonstrations(count, rng=stream(1, "avoid")).meta["modes"])
    counts = torch.bincount(modes, minlength=24)
    assert len(modes) == count
    assert int(counts.max() - counts.min()) <= 1


def test_demonstrations_are_the_seed_s():
    first, second, other = (avoid_demonstrations(5, rng=stream(seed, "avoid")) for seed in (3, 3, 4))
    assert torch.equal(first.actions, second.actions)
    assert first.actions.shape != other.actions.shape or not torch.equal(first.actions, other.actions)


def test_no_demonstrations_are_refused():
    with pytest.raises(RecipeError, match="at least 1 demonstration, got 0"):
        avoid_demonstrations(0, rng=stream(0))
