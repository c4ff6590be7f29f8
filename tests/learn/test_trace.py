"""A training looked at on its way: averages by their definition, losses on equal windows, the line along an update."""

from dataclasses import replace

import pytest
import torch

from holdfast.data import encode
from holdfast.errors import RecipeError
from holdfast.learn import (
    attach_controllers,
    held_out_loss,
    initial_state,
    planner_of,
    prepare,
    train,
    train_to_end,
    training_set,
)
from holdfast.learn.optimise import learning_rate_at
from holdfast.learn.tracing import (
    LIVE,
    PolynomialDecay,
    SteadyDecay,
    along_update,
    hold_rate,
    name_of,
    trace,
    unexplained,
)
from holdfast.models import ChunkModel

AVERAGINGS = (SteadyDecay(0.5), SteadyDecay(0.95), PolynomialDecay(1.0))


def flat(planner):
    return torch.cat([value.detach().flatten() for value in planner.model.parameters()]).double()


@pytest.fixture(scope="module")
def recipe(tiny_recipe):
    return replace(tiny_recipe, training=replace(tiny_recipe.training, steps=12, learning_rate=5e-3))


@pytest.fixture(scope="module")
def checkpoints(recipe, tiny_data):
    return list(trace(recipe, tiny_data, tiny_data, at=(1, 7, 12), averagings=AVERAGINGS, windows=32))


@pytest.fixture(scope="module")
def path(recipe, tiny_data):
    """The weights after each update of the same training, by themselves."""
    states = train(recipe, tiny_data, initial_state(recipe, tiny_data))
    return torch.stack(
        [torch.cat([value.flatten() for value in state.parameters.values()]).double() for state in states]
    )


def test_live_weights_are_those_of_the_training(checkpoints, path):
    assert [checkpoint.step for checkpoint in checkpoints] == [1, 7, 12]
    for checkpoint in checkpoints:
        assert list(checkpoint.snapshots) == [LIVE, *map(name_of, AVERAGINGS)]
        assert torch.equal(flat(checkpoint.snapshots[LIVE].planner), path[checkpoint.step - 1])


@pytest.mark.parametrize("decay", [0.5, 0.95])
def test_a_steady_average_is_the_weighted_sum(checkpoints, path, decay):
    """Σ d^(t−i) θ_i over Σ d^(t−i), summed at once instead of step by step."""
    for checkpoint in checkpoints:
        weights = decay ** torch.arange(checkpoint.step - 1, -1, -1, dtype=torch.float64)
        expected = (weights[:, None] * path[: checkpoint.step]).sum(0) / weights.sum()
        found = flat(checkpoint.snapshots[f"EMA {decay}"].planner)
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


def test_a_power_of_one_is_the_mean(checkpoints, path):
    for checkpoint in checkpoints:
        found = flat(checkpoint.snapshots["EMA t^-1"].planner)
        torch.testing.assert_close(found, path[: checkpoint.step].mean(0), rtol=1e-5, atol=1e-6)


def test_losses_are_of_the_weights_shown(recipe, tiny_data, checkpoints):
    """Early and late checkpoints on the same windows; the live loss at the end is that of the trained weights."""
    state = train_to_end(recipe, tiny_data)
    live = replace(state, average=state.parameters)
    assert checkpoints[-1].snapshots[LIVE].held_out_loss == held_out_loss(recipe, tiny_data, live, windows=32)
    assert checkpoints[-1].snapshots[LIVE].training_loss == checkpoints[-1].snapshots[LIVE].held_out_loss
    averaged = checkpoints[-1].snapshots["EMA 0.95"].held_out_loss
    assert averaged != checkpoints[-1].snapshots[LIVE].held_out_loss


def test_a_held_rate_holds(tiny_recipe):
    held = hold_rate(tiny_recipe, updates=tiny_recipe.training.steps)
    steps = range(tiny_recipe.training.warmup_steps, tiny_recipe.training.steps)
    rates = torch.tensor([learning_rate_at(step, held.training) for step in steps], dtype=torch.float64)
    assert float((rates / held.training.learning_rate - 1).abs().max()) < 3e-6
    assert learning_rate_at(steps[-1], tiny_recipe.training) < 0.01 * held.training.learning_rate


def test_along_an_update(recipe, tiny_data, path):
    """0 is the state, 1 the weights after the next update, 2 as far again; the state is left as it was."""
    states = train(recipe, tiny_data, initial_state(recipe, tiny_data))
    state = next(state for state in states if state.step == 5)
    before = {name: value.clone() for name, value in state.parameters.items()}
    line = dict(along_update(recipe, tiny_data, tiny_data, state, scales=(0.0, 1.0, 2.0), windows=8))
    assert torch.equal(flat(line[0.0].planner), path[4])
    torch.testing.assert_close(flat(line[1.0].planner), path[5], rtol=1e-6, atol=1e-7)
    torch.testing.assert_close(flat(line[2.0].planner), 2 * path[5] - path[4], rtol=1e-5, atol=1e-6)
    assert state.step == 5
    assert all(torch.equal(before[name], value) for name, value in state.parameters.items())


def test_along_a_finished_training_there_is_no_update(recipe, tiny_data):
    state = train_to_end(recipe, tiny_data)
    with pytest.raises(RecipeError, match="ended at update 12"):
        next(along_update(recipe, tiny_data, tiny_data, state, scales=(0.0,)))


def test_unexplained_is_nothing_for_the_expert_and_one_for_its_mean(recipe, tiny_data, tiny_planner, demos):
    """A model that gives back chunks it is told: those of the data, and their first actions' mean."""
    controllers = attach_controllers(recipe, demos)
    codes = tiny_data.code_scale.normalize(encode(recipe.policy.codec, controllers)).float()
    windows = tiny_data.observation_scale.normalize(tiny_data.observations.vector).float()
    width = recipe.policy.n_actions

    class Told(ChunkModel):
        def __init__(self, mean):
            super().__init__()
            self.mean, self.weight = mean, torch.nn.Parameter(torch.zeros(1))

        def draw(self, shape, *, rng):
            raise NotImplementedError

        def loss(self, batch, draws):
            raise NotImplementedError

        def generate(self, observation, *, rng, prefix):
            rows = torch.cdist(observation[:, -1], windows).argmin(1)
            chunk = codes[rows][:, None].clone()
            if self.mean:
                chunk[..., :width] = codes[:, :width].mean(0)
            return chunk

    expert, mean = (
        unexplained(recipe, tiny_data, replace(tiny_planner, model=Told(flag)), windows=4000) for flag in (False, True)
    )
    assert expert < 1e-9
    # windows are drawn with replacement, so that the mean of those drawn is nearly that of all
    assert mean == pytest.approx(1.0, abs=0.02)
    assert unexplained(recipe, tiny_data, tiny_planner) == unexplained(recipe, tiny_data, tiny_planner)


def test_bad_questions(recipe, tiny_data):
    with pytest.raises(RecipeError, match="ascending"):
        trace(recipe, tiny_data, tiny_data, at=(3, 3), averagings=())
    with pytest.raises(RecipeError, match="from 1 to 12"):
        trace(recipe, tiny_data, tiny_data, at=(13,), averagings=())
    with pytest.raises(RecipeError, match="once"):
        trace(recipe, tiny_data, tiny_data, at=(3,), averagings=(SteadyDecay(0.9), SteadyDecay(0.9)))
    with pytest.raises(RecipeError, match=r"\[0, 1\)"):
        SteadyDecay(1.0)
    with pytest.raises(RecipeError, match="from 0 to 1"):
        PolynomialDecay(1.5)


def test_held_out_episodes_are_the_held_out_loss(tiny_recipe, demos, recipe):
    """Other episodes in the same scales: their loss is theirs."""
    data = prepare(tiny_recipe, demos)
    controllers = attach_controllers(tiny_recipe, demos)
    shifted = replace(demos, states=demos.states + 0.3)
    held_out = training_set(tiny_recipe.policy, shifted, controllers, scales_of=data)
    (checkpoint,) = trace(recipe, data, held_out, at=(2,), averagings=(), windows=64)
    seen = checkpoint.snapshots[LIVE]
    assert seen.held_out_loss != seen.training_loss
    assert seen.unexplained == unexplained(recipe, held_out, seen.planner, windows=64)
    weights = dict(planner_of(recipe, data, checkpoint.state).model.named_parameters())
    assert set(weights) == {name for name, _ in seen.planner.model.named_parameters()}
