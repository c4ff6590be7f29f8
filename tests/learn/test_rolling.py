"""Models of one control step for `--realtime forward`: known ones, learned ones, and their stated error."""

from dataclasses import replace

import pytest
import torch

from holdfast.control import Linear, Quadrotor2D
from holdfast.data import Actions
from holdfast.envs import Wrapped, make_environment
from holdfast.errors import DataError, RecipeError
from holdfast.learn import known_rolling, learned_rolling
from holdfast.learn.rolling import _error
from holdfast.policy import PolicySpec
from holdfast.policy.realtime import Rolls
from holdfast.recipe import Recipe
from holdfast.seeding import stream
from holdfast.types import Episodes, Observation

A, B = torch.tensor([[1.0, 0.1], [-0.2, 0.9]]).double(), torch.tensor([[0.0], [0.3]]).double()
SEEN = torch.tensor([[2.0, 0.0], [1.0, -1.0], [0.0, 0.5]]).double()


def spec_of(n_observed, n_states, n_actions):
    return PolicySpec(n_states=n_states, n_actions=n_actions, n_observed=n_observed, codec=Actions())


def walks(*, apart, count=8, steps=40):
    """Episodes of x' = A x + B u with random actions; the observation is x, or S x."""
    rng = stream(0, "walks")
    states, actions = [], []
    for _ in range(count):
        x = torch.randn(2, generator=rng, dtype=torch.float64)
        for _ in range(steps):
            u = torch.randn(1, generator=rng, dtype=torch.float64)
            states.append(x)
            actions.append(u)
            x = A @ x + B @ u
    states = torch.stack(states)
    observations = Observation(state=states @ SEEN.T) if apart else None
    return Episodes(
        actions=torch.stack(actions), states=states, lengths=torch.full((count,), steps), observations=observations
    )


def test_the_known_dynamics_are_those_of_the_system(drone):
    recipe = Recipe(policy=spec_of(6, 6, 2))
    rolling = known_rolling(recipe, make_environment(drone.name, 1))
    assert isinstance(rolling, Rolls)
    states, actions = drone.initial_states(3, rng=stream(0)), torch.tensor([[4.0, 5.0]] * 3).double()
    observed, moved = rolling.following(Observation(state=states), states, actions)
    assert torch.equal(moved, Quadrotor2D().step(states, actions))
    assert torch.equal(observed.vector, moved)
    assert rolling.sentence == f"forward: the known dynamics of {drone.name}, without random disturbances"
    assert rolling.about == {"dynamics": "known"}
    # a policy that observes something else than the state
    assert known_rolling(Recipe(policy=spec_of(5, 6, 2)), make_environment(drone.name, 1)) is None


def test_dynamics_that_are_not_known_are_none():
    pytest.importorskip("gym_pusht")
    assert known_rolling(Recipe(policy=spec_of(20, 20, 2)), make_environment("pusht", 1)) is None


class Hidden(Wrapped):
    """An environment that shows something else than its simulator's observation."""

    def shown(self, step):
        return step


def test_an_environment_around_another_has_no_known_dynamics():
    inner = make_environment("fork", 1)
    recipe = Recipe(policy=spec_of(4, 4, 2))
    assert known_rolling(recipe, inner) is not None
    assert known_rolling(recipe, Hidden(inner)) is None


@pytest.mark.parametrize("apart", [False, True])
def test_learned_dynamics_predict_observation_and_state(apart):
    recipe = Recipe(policy=spec_of(3 if apart else 2, 2, 1), seed=1)
    rolling = learned_rolling(recipe, walks(apart=apart), updates=400)
    assert rolling.apart is apart
    # a model in which nothing moves has the error 1
    assert 0 < rolling.error < 0.25
    assert f"is {rolling.error:.3f} of the step" in rolling.sentence
    assert rolling.about == {"dynamics": "learned", "dynamics_error": rolling.error}
    x, u = torch.tensor([[0.5, -0.3], [-1.0, 0.4]]).double(), torch.tensor([[0.7], [-0.2]]).double()
    seen = x @ SEEN.T if apart else x
    observed, moved = rolling.following(Observation(state=seen), x, u)
    following = x @ A.T + u @ B.T
    torch.testing.assert_close(moved, following, atol=0.12, rtol=0)
    torch.testing.assert_close(observed.vector, following @ SEEN.T if apart else following, atol=0.3, rtol=0)


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_the_error_is_a_share_of_the_steps_in_scaled_coordinates(share):
    """x' = 2 x in two coordinates of very different size; a model that moves by a share of the step misses the rest."""
    states = torch.tensor([[1.0, 300.0], [2.0, -100.0], [-1.0, 50.0]]).double()
    still = torch.zeros(3, 1).double()
    episodes = Episodes(actions=still, states=states, lengths=torch.ones(3, dtype=torch.int64), final_states=2 * states)
    model = Linear((1 + share) * torch.eye(2).double(), torch.zeros(2, 1).double())
    assert _error(model, episodes) == pytest.approx(1 - share)


def test_a_model_that_has_not_learned_has_a_large_error():
    recipe = Recipe(policy=spec_of(2, 2, 1))
    few, many = (learned_rolling(recipe, walks(apart=False), updates=count) for count in (1, 300))
    assert few.error > 3 * many.error


def test_data_that_do_not_fit_are_refused():
    recipe = Recipe(policy=spec_of(2, 2, 1))
    with pytest.raises(DataError, match="one part of the episodes and checked on another: expected 2"):
        learned_rolling(recipe, walks(apart=False, count=1), updates=1)
    with pytest.raises(RecipeError, match=r"of 4, 2 and 1 numbers, as the policy was trained on, got 2, 2 and 1"):
        learned_rolling(replace(recipe, policy=spec_of(4, 2, 1)), walks(apart=False), updates=1)
