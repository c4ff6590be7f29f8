"""The left/right obstacle: geometry by hand, demonstrations that succeed on both sides, a mean that does not."""

import math

import pytest
import torch

from holdfast.control.systems import obstacle_system
from holdfast.envs import make_environment, rollout
from holdfast.envs.obstacle import RADIUS, ObstacleEnvironment, obstacle_demonstrations
from holdfast.errors import RecipeError, ShapeError
from holdfast.evaluation import summarize
from holdfast.seeding import stream
from holdfast.types import Observation


class Replays:
    """Plays recorded actions, one row per episode."""

    def __init__(self, actions):
        self.actions, self.step = actions, 0

    def reset(self, seed=None):
        self.step = 0

    def act(self, observation: Observation, state):
        action = self.actions[:, min(self.step, self.actions.shape[1] - 1)]
        self.step += 1
        return action


@pytest.fixture(scope="module")
def demos():
    return obstacle_demonstrations(60, rng=stream(0, "tests"))


def rows(demos, values):
    return values.view(len(demos), -1, values.shape[-1])


def test_the_point_mass_is_exact_for_a_held_acceleration():
    mass, dt = obstacle_system(), 0.1
    state, action = torch.tensor([1.0, 2.0, 3.0, 4.0]).double(), torch.tensor([5.0, -6.0]).double()
    expected = [1 + dt * 3 + dt**2 / 2 * 5, 2 + dt * 4 - dt**2 / 2 * 6, 3 + dt * 5, 4 - dt * 6]
    torch.testing.assert_close(mass.step(state, action), torch.tensor(expected).double())


def test_demonstrations_are_trajectories_of_the_system_and_clear_the_disc(demos):
    states, actions = rows(demos, demos.states), rows(demos, demos.actions)
    torch.testing.assert_close(obstacle_system().step(states[:, :-1], actions[:, :-1]), states[:, 1:])
    # between two steps the way is a parabola: sampled finely, against the straight lines that the task judges by
    shares = torch.linspace(0, 1, 21).double()[:, None, None, None]
    between = states[None, ..., :2] + shares * 0.1 * states[None, ..., 2:] + (shares * 0.1) ** 2 / 2 * actions[None]
    assert float(between.norm(dim=-1).min()) > RADIUS + 0.1


def test_both_sides_by_the_toss_of_a_coin(demos):
    assert 15 < sum(demos.meta["modes"]) < 45
    last = rows(demos, demos.states)[:, -1, 0]
    assert [int(x > 0) for x in last] == demos.meta["modes"]
    # nothing that is seen before the turn tells the side
    first = rows(demos, demos.states)[:, 0, 0]
    right = torch.tensor(demos.meta["modes"]).bool()
    assert abs(float(first[right].mean() - first[~right].mean())) < 0.03


def test_replayed_from_their_own_starts_they_solve_the_task():
    """Seeds start within ±0.05 of the line; a demonstration's actions from another such start still pass."""
    demos = obstacle_demonstrations(40, rng=stream(1, "tests"))
    env = ObstacleEnvironment(40)
    found = rollout(Replays(rows(demos, demos.actions)), env, starts=range(40))
    assert bool(found.success.all())
    assert found.extra["mode"].tolist() == demos.meta["modes"]
    assert summarize(found, env)["entropy"].mean > 0.9


def test_straight_on_is_a_collision_and_standing_still_is_no_success():
    env = ObstacleEnvironment(3)
    found = rollout(Replays(torch.zeros(3, 1, 2)), env, starts=range(3))
    assert not bool(found.success.any())
    assert found.extra["collided"].tolist() == [1.0, 1.0, 1.0]
    assert all(math.isnan(mode) for mode in found.extra["mode"])
    env.reset([0, 1, 2])
    # stop at once: v' = v + dt u
    step = env.step(torch.tensor([[0.0, -6.0]] * 3))
    for _ in range(env.steps - 1):
        step = env.step(torch.zeros(3, 2))
    assert bool(step.over.all())
    assert not bool(step.success.any())
    assert float(step.extra["collided"].sum()) == 0


def test_the_same_seed_is_the_same_start_and_other_input_is_refused():
    env = ObstacleEnvironment(2)
    first = env.reset([3, 4]).state
    assert torch.equal(env.reset([3, 4]).state, first)
    assert not torch.equal(env.reset([4, 3]).state, first)
    with pytest.raises(ShapeError, match="expected 2 starts"):
        env.reset([0])
    with pytest.raises(ShapeError, match="expected actions of shape"):
        env.step(torch.zeros(2, 3))
    with pytest.raises(ShapeError, match="before the first"):
        ObstacleEnvironment(1).step(torch.zeros(1, 2))
    for count in (0, -1):
        with pytest.raises(RecipeError, match="at least 1"):
            ObstacleEnvironment(count)
    with pytest.raises(RecipeError, match="at least 1"):
        obstacle_demonstrations(0, rng=stream(0))
    assert make_environment("obstacle", 2).name == "obstacle"
