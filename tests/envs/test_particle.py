"""IBC's particle as an environment, and its expert."""

import math

import numpy as np
import pytest
import torch
from torch.testing import assert_close

import holdfast
from holdfast.cli.demonstrate import Demonstrate
from holdfast.envs import Environment, make_environment, rollout
from holdfast.envs.particle import ParticleEnvironment, particle_demonstrations
from holdfast.errors import RecipeError, ShapeError, UnknownNameError
from holdfast.seeding import stream


def goals_of(seen):
    return seen.observation.environment_state.chunk(2, dim=-1)


def fly(environment, seeds, choose):
    """The last step of episodes whose set-point `choose(seen, index)` says."""
    seen, step = environment.reset(seeds), None
    for index in range(environment.steps):
        step = environment.step(choose(seen, index))
        seen = step
    return step


# --- the environment


@pytest.mark.parametrize("dims", [1, 2, 5])
def test_it_is_an_environment(dims):
    environment = ParticleEnvironment(3, dims=dims)
    assert isinstance(environment, Environment)
    assert environment.action_bounds is not None
    assert (environment.dt, environment.steps, environment.n_actions) == (0.05, 50, dims)
    seen = environment.reset(range(3))
    assert seen.state.shape == (3, 2 * dims)
    assert seen.observation.vector.shape == (3, 4 * dims)
    names = environment.names
    assert [len(names[key]) for key in ("action", "state", "observation.state")] == [dims, 2 * dims, 2 * dims]
    assert len(names["observation.environment_state"]) == 2 * dims
    environment.close()


def test_starts_and_goals_fill_the_unit_square_and_are_the_seed_s():
    environment = ParticleEnvironment(400)
    seen = environment.reset(range(400))
    places = torch.cat([seen.state[:, :2], *goals_of(seen)], dim=-1)
    assert seen.state[:, 2:].abs().max() == 0, "they begin at rest"
    assert 0 <= float(places.min()) < 0.01
    assert 0.99 < float(places.max()) <= 1
    # six independent uniform numbers: means 1/2, covariance 1/12, each within five standard errors
    assert_close(places.mean(0), torch.full((6,), 0.5).double(), rtol=0, atol=5 * (1 / 12 / 400) ** 0.5)
    assert_close(places.T.cov(), torch.eye(6).double() / 12, rtol=0, atol=5 / 12 / 400**0.5)
    assert torch.equal(environment.reset(range(399, -1, -1)).observation.vector.flip(0), seen.observation.vector)


def test_a_control_step_is_ten_euler_steps_of_the_servo():
    """As a power of the substep's matrix on (x, v, u)."""
    substep = np.array([[1.0, 0.005, 0.0], [-10.0 * 0.005, 1.0 - 5.0 * 0.005, 10.0 * 0.005], [0.0, 0.0, 1.0]])
    whole = np.linalg.matrix_power(substep, 10)
    environment = ParticleEnvironment(1, dims=1)
    state = environment.reset([4]).state[0].numpy()
    for target in (0.9, 0.1, 0.4):
        state = (whole @ np.array([*state, target]))[:2]
        seen = environment.step(torch.tensor([[target]], dtype=torch.float64))
        assert_close(seen.state[0], torch.from_numpy(state), rtol=0, atol=1e-14)


def test_at_rest_on_its_set_point_it_stays():
    environment = ParticleEnvironment(2)
    start = environment.reset([0, 1]).state
    assert_close(environment.step(start[:, :2]).state, start, rtol=0, atol=1e-15)


def test_solved_is_first_goal_then_the_second_to_the_end():
    seeds, environment = range(20), ParticleEnvironment(20)

    def in_turn(seen, index):
        return goals_of(seen)[0 if index < 25 else 1]

    def second_alone(seen, index):
        return goals_of(seen)[1]

    def away_at_last(seen, index):
        return in_turn(seen, index) if index < 42 else goals_of(seen)[0]

    last = fly(environment, seeds, in_turn)
    assert bool(last.success.all())
    assert bool(last.over.all())
    assert torch.equal(last.reward, torch.ones(20).double())
    assert float(last.extra["first"].max()) < 0.05
    assert float(last.extra["second"].max()) < 0.05
    # whoever never was at the first goal is not solved, unless it lies on the way
    missed = fly(environment, seeds, second_alone)
    assert torch.equal(missed.success, missed.extra["first"] < 0.05)
    assert int(missed.success.sum()) < 5
    left = fly(environment, seeds, away_at_last)
    assert torch.equal(left.success, left.extra["second"] < 0.05)
    assert int(left.success.sum()) < 5
    assert float(left.reward.sum()) == int(left.success.sum())


def test_nothing_is_solved_before_the_last_step_and_nothing_moves_after_it():
    environment = ParticleEnvironment(4)
    seen = environment.reset(range(4))
    steps = [environment.step(goals_of(seen)[0 if index < 25 else 1]) for index in range(53)]
    assert [bool(step.over.any()) for step in steps] == [False] * 49 + [True] * 4
    assert [int(step.success.sum()) for step in steps] == [0] * 49 + [4] * 4
    assert sum(float(step.reward.sum()) for step in steps) == 4
    assert torch.equal(steps[-1].state, steps[49].state)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_an_action_that_is_no_number_ends_its_episode_alone(bad):
    environment = ParticleEnvironment(2)
    start = environment.reset([0, 1]).state
    step = environment.step(torch.tensor([[bad, 0.0], [0.0, 0.1]]))
    assert step.over.tolist() == [True, False]
    assert torch.equal(step.state[0], start[0])
    for _ in range(49):
        step = environment.step(goals_of(step)[1])
    assert not bool(step.success[0])
    assert torch.equal(step.state[0], start[0])


def test_set_points_outside_the_cube_are_brought_to_it():
    class Far:
        def reset(self, seed):
            pass

        def act(self, observation, state):
            return torch.full((len(state), 2), 7.0)

    flown = rollout(Far(), ParticleEnvironment(2), starts=[0, 1])
    assert flown.clipped.tolist() == [50, 50]
    assert torch.equal(flown.episodes.actions.unique(), torch.ones(1).double())


def test_what_is_refused():
    with pytest.raises(RecipeError, match="count of at least 1, got 0"):
        ParticleEnvironment(0)
    with pytest.raises(RecipeError, match="dims >= 1, got 0"):
        ParticleEnvironment(1, dims=0)
    environment = ParticleEnvironment(2)
    with pytest.raises(ShapeError, match="reset"):
        environment.step(torch.zeros(2, 2))
    with pytest.raises(ShapeError, match="expected 2 starts"):
        environment.reset([0])
    environment.reset([0, 1])
    with pytest.raises(ShapeError, match="one row per episode"):
        environment.step(torch.zeros(2, 3))


def test_it_has_a_name_in_every_dimension():
    for name, dims in (("particle", 2), ("particle:2", 2), ("particle:16", 16)):
        environment = make_environment(name, 1)
        assert environment.n_actions == dims
        assert make_environment(environment.name, 1).n_actions == dims
    with pytest.raises(UnknownNameError, match="particle:<dims>"):
        make_environment("particle:two", 1)
    with pytest.raises(RecipeError, match="dims >= 1, got 0"):
        make_environment("particle:0", 1)


# --- the expert


@pytest.fixture(scope="module")
def demonstrations():
    return particle_demonstrations(300, rng=stream(0, "tests", "particle"))


def test_the_expert_solves_all(demonstrations):
    assert demonstrations.meta["solved"] == 300
    assert demonstrations.lengths.tolist() == [50] * 300
    assert particle_demonstrations(40, rng=stream(0, "tests"), dims=16).meta["solved"] == 40


def test_the_expert_changes_its_goal_within_a_hundredth_of_the_first(demonstrations):
    for index in range(20):
        flown = demonstrations.trajectory(index)
        first, second = demonstrations.observed.environment_state[50 * index].chunk(2)
        distance = (flown.states[:50, :2] - first).norm(dim=-1)
        turn = int((distance < 0.01).to(torch.int8).argmax())
        assert torch.equal(flown.actions[:turn], first.expand(turn, 2))
        assert torch.equal(flown.actions[turn:], second.expand(50 - turn, 2))
        assert 10 < turn < 40


def test_demonstrations_are_what_the_environment_would_have_done(demonstrations):
    environment = ParticleEnvironment(300)
    # same physics, another start: the difference of two flights with equal set-points is free of them
    flights = [demonstrations.trajectory(index) for index in range(300)]
    states = torch.stack([flight.states for flight in flights])
    actions = torch.stack([flight.actions for flight in flights])
    flown = [environment.reset(range(300)).state] + [environment.step(action).state for action in actions.unbind(1)]
    gap = torch.stack(flown, dim=1) - states
    still = ParticleEnvironment(300)
    still.reset(range(300))
    still.set_state(torch.cat([gap[:, 0], torch.zeros_like(gap[:, 0])], dim=-1))
    for index in range(50):
        assert_close(still.step(torch.zeros(300, 2)).state, gap[:, index + 1], rtol=0, atol=1e-12)


def test_demonstrations_are_the_generator_s(demonstrations):
    again = particle_demonstrations(300, rng=stream(0, "tests", "particle"))
    assert torch.equal(again.states, demonstrations.states)
    assert not torch.equal(particle_demonstrations(300, rng=stream(1)).states, demonstrations.states)
    with pytest.raises(RecipeError, match="at least 1 demonstration"):
        particle_demonstrations(0, rng=stream(0))


@pytest.mark.parametrize(("name", "dims"), [("particle", 2), ("particle:3", 3)])
def test_they_are_recorded_from_the_command_line(tmp_path, name, dims):
    Demonstrate(system=name, out=tmp_path / "demos.npz", episodes=4).run()
    kept = holdfast.read(tmp_path / "demos.npz")
    assert kept.system == name
    assert kept.meta["seed"] == 0
    assert kept.observed.vector.shape == (200, 4 * dims)
    assert make_environment(kept.system, 1).n_actions == dims
