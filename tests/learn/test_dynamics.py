"""Which dynamics a recipe's gains are made for: by name, or learned from demonstrations and exploration."""

from dataclasses import replace

import pytest
import torch

from holdfast.control import NoFeedback, Quadrotor2D, Tvlqr, explore, synthesize_episodes
from holdfast.control.systems import Avoid
from holdfast.data import write
from holdfast.errors import DataError, RecipeError
from holdfast.learn import attach_controllers, default_recipe, dynamics_of, simulated
from holdfast.recipe import LearnedLinear, LearnedMlp
from holdfast.seeding import stream
from holdfast.types import PrimitiveControllers


@pytest.fixture(scope="module")
def explored(demos, tmp_path_factory):
    """Flights of four steps from demonstrated states, their actions perturbed, stored."""
    rng = stream(0, "explore")
    rows = torch.randint(len(demos.states), (600,), generator=rng)
    starts = demos.states[rows] + 0.02 * torch.randn(600, 6, dtype=torch.float64, generator=rng)
    actions = demos.actions[rows][:, None].expand(-1, 4, -1)
    held = PrimitiveControllers.open_loop(actions, starts[:, None].expand(-1, 4, -1))
    flights = explore(Quadrotor2D(), held, starts, sigma=0.3, rng=rng)
    path = tmp_path_factory.mktemp("explored") / "flights.npz"
    write(flights, path)
    return path


def test_names():
    assert simulated("quadrotor2d").n_states == 6
    assert isinstance(simulated("avoid"), Avoid)
    assert simulated("pusht") is simulated(None) is None


def test_mujoco_by_name():
    pytest.importorskip("mujoco")
    assert simulated("mujoco:InvertedDoublePendulum-v5").n_states == 6


@pytest.mark.parametrize("kind", [LearnedLinear, LearnedMlp])
def test_learned_gains_are_near_the_true_ones(demos, explored, kind):
    recipe = replace(default_recipe(demos), dynamics=kind(exploration=str(explored)))
    learned = attach_controllers(recipe, demos).gains
    true = synthesize_episodes(recipe.synthesis, Quadrotor2D(), demos).gains
    error = torch.linalg.matrix_norm(learned - true).median() / torch.linalg.matrix_norm(true).median()
    assert float(error) < (0.1 if kind is LearnedLinear else 0.5)


def test_demonstrations_alone_do_not_say_what_actions_do(demos):
    recipe = replace(default_recipe(demos), dynamics=LearnedLinear())
    nothing_free = replace(demos, actions=demos.states[:, :2] @ torch.eye(2, dtype=torch.float64))
    with pytest.raises(DataError):
        dynamics_of(recipe, nothing_free)


def test_states_must_be_the_system_s(demos):
    short = replace(demos, states=demos.states[:, :4], final_states=None)
    with pytest.raises(RecipeError, match="phi_dot, but the data hold 4 numbers"):
        attach_controllers(replace(default_recipe(demos), synthesis=Tvlqr()), short)


@pytest.mark.parametrize("count", [1, 3])
def test_actions_must_be_as_many_as_the_system_s(demos, count):
    """Gains would be broadcast over them, so that a policy is trained on wrong ones."""
    others = replace(demos, actions=torch.ones(len(demos.actions), count, dtype=torch.float64), names={})
    with pytest.raises(RecipeError, match=f"quadrotor2d has 2 actions, but the data hold {count} per step"):
        attach_controllers(default_recipe(others), others)


def test_nothing_is_asked_of_dynamics_without_gains(demos):
    recipe = replace(default_recipe(demos, gains=False), dynamics=LearnedLinear())
    assert recipe.synthesis == NoFeedback()
    assert not attach_controllers(recipe, demos).gains.any()
