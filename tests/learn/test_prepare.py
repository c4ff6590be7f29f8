"""Recipes that suit the data, and options that contradict them."""

from dataclasses import replace

import pytest
import torch

from holdfast.control import Dare, NoFeedback, Tvlqr
from holdfast.data import Actions, Affine, Frames
from holdfast.errors import DataError, RecipeError
from holdfast.learn import attach_controllers, choose_episodes, default_recipe, prepare, vision_of
from holdfast.learn.preparation import prepare_held_out
from holdfast.recipe import Training
from holdfast.types import Episodes, Observation


@pytest.fixture
def servo_data(gaussian) -> Episodes:
    """Recordings of a robot whose dynamics nobody knows; three of its four readings are seen."""
    return Episodes(
        actions=gaussian(0, 25, 2),
        states=gaussian(1, 25, 2),
        lengths=torch.tensor([10, 15]),
        observations=Observation(state=gaussian(1, 25, 2), environment_state=gaussian(2, 25, 3)),
        system="arm",
    )


def test_known_dynamics_get_gains_and_noise(demos):
    recipe = default_recipe(demos)
    assert recipe.policy.codec == Affine()
    # the expert's own cost: |x|² + ½ (δF² + 0.2 τ²)
    assert recipe.synthesis == Tvlqr((1.0,) * 6, (0.5, 0.1))
    assert recipe.training.sigma_train == recipe.policy.execution.sigma_deploy > 0
    assert recipe.environment == "quadrotor2d"
    assert (recipe.policy.n_states, recipe.policy.n_actions, recipe.policy.n_observed) == (6, 2, 6)


def test_unknown_dynamics_get_chunks_of_actions_within_the_recorded_range(servo_data):
    recipe = default_recipe(servo_data)
    assert recipe.policy.codec == Actions()
    assert recipe.synthesis == NoFeedback()
    assert recipe.environment == "arm"
    assert (recipe.policy.n_states, recipe.policy.n_observed) == (2, 5)
    execution = recipe.policy.execution
    assert execution.action_low == pytest.approx([min(servo_data.actions[:, k].tolist()) for k in (0, 1)])
    assert execution.action_high == pytest.approx([max(servo_data.actions[:, k].tolist()) for k in (0, 1)])
    data = prepare(recipe, servo_data)
    assert data.codes.shape == (25, 2)
    assert data.observations.vector.shape == (25, 5)


@pytest.mark.parametrize("name", ["arm", None])
def test_synthesis_without_dynamics_is_refused(servo_data, name):
    recipe = replace(default_recipe(servo_data), synthesis=Dare())
    named = replace(servo_data, system=name)
    with pytest.raises(RecipeError, match=rf"Dare needs dynamics.*{name or 'not recorded'}.*Known:.*quadrotor2d.*none"):
        attach_controllers(recipe, named)


@pytest.mark.parametrize("wanted", [0, 3, 100])
def test_more_demonstrations_than_there_are(tiny_recipe, demos, wanted):
    recipe = replace(tiny_recipe, n_demos=wanted, held_out=0.5)
    with pytest.raises(RecipeError, match=rf"n_demos from 1 to 2 .* got {wanted}.*record more"):
        choose_episodes(recipe, demos)


def test_no_demonstrations_left(tiny_recipe, demos):
    with pytest.raises(DataError, match=r"cannot hold out 1\.0 of 4 episodes"):
        choose_episodes(replace(tiny_recipe, held_out=1.0), demos)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 0}, "steps of at least 1, got 0"),
        ({"batch_size": -1}, "batch_size of at least 1, got -1"),
        ({"save_every": 0}, "save_every of at least 1, got 0"),
        ({"ema_decay": 1.0}, r"ema_decay in \[0, 1\), got 1\.0"),
        ({"sigma_train": -0.1}, r"sigma_train of 0 or above, got -0\.1"),
        ({"sigma_train": float("nan")}, "sigma_train of 0 or above, got nan"),
        ({"learning_rate": -1.0}, r"learning_rate above 0, got -1\.0"),
    ],
)
def test_training_options_out_of_range(options, message):
    with pytest.raises(RecipeError, match=message):
        Training(**options)


@pytest.mark.parametrize("pictures", [False, True])
def test_batches_beyond_the_memory_are_refused(servo_data, monkeypatch, pictures):
    if pictures:
        frames = Frames(torch.zeros(25, 40, 40, 3, dtype=torch.uint8))
        servo_data = replace(servo_data, cameras={"top": frames})
    vision = vision_of(servo_data, ["top"]) if pictures else None
    recipe = default_recipe(servo_data, vision=vision)
    # a window: 16 steps of 2 actions and an observation of 5 numbers, four times in 4 bytes, and pictures of 40 x 40
    # pixels, of which 35 x 35 are encoded, in one and in 4 bytes
    window = 16 * (16 * 2 + recipe.policy.n_observed) + pictures * 3 * (40 * 40 + 4 * 35 * 35)
    needed = recipe.training.batch_size * window
    monkeypatch.setattr("holdfast.learn.preparation.available_memory", lambda: needed)
    prepare(recipe, servo_data)
    monkeypatch.setattr("holdfast.learn.preparation.available_memory", lambda: needed - 1)
    with pytest.raises(RecipeError, match=r"a batch of \d+ windows needs more than .*Lower batch_size"):
        prepare(recipe, servo_data)


def numbered(count: int) -> Episodes:
    """Episodes of two steps that hold their own number."""
    numbers = torch.arange(count).double().repeat_interleave(2)[:, None]
    lengths = torch.full((count,), 2)
    return Episodes(actions=numbers.clone(), states=numbers.clone(), lengths=lengths, system="numbers")


def test_the_training_episodes_are_drawn_by_the_seed():
    """3 of 10 episodes, over 200 seeds: each is taken in about three tenths of them, none twice."""
    episodes = numbered(10)
    recipe = replace(default_recipe(episodes), n_demos=3, held_out=0.0)
    taken = torch.zeros(10)
    for seed in range(200):
        chosen, held_out = choose_episodes(replace(recipe, seed=seed), episodes)
        which = chosen.states[::2, 0].long()
        assert len(set(which.tolist())) == 3
        assert len(held_out) == 0
        taken[which] += 1
    # five standard deviations of a binomial count
    assert float((taken - 60).abs().max()) < 5 * (200 * 0.3 * 0.7) ** 0.5
    again, _ = choose_episodes(recipe, episodes)
    assert torch.equal(again.states, choose_episodes(recipe, episodes)[0].states)


def test_no_held_out_episode_is_drawn_for_training():
    """Of 12 episodes that name themselves 3 are held out; 5 or all 9 of the others are drawn, whatever the seed."""
    episodes = numbered(12)
    for count in (5, 9):
        recipe = replace(default_recipe(episodes), n_demos=count, held_out=0.25)
        for seed in range(20):
            parts = choose_episodes(replace(recipe, seed=seed), episodes)
            chosen, held_out = (set(part.states[::2, 0].long().tolist()) for part in parts)
            assert (len(chosen), len(held_out)) == (count, 3)
            assert not chosen & held_out


def test_held_out_episodes_are_scaled_by_the_training_ranges():
    """Training covers a range of its own; held-out numbers x become 2 (x − low) / (high − low) − 1, also beyond ±1."""
    episodes = numbered(12)
    recipe = replace(default_recipe(episodes), n_demos=4, held_out=0.25)
    chosen, held_out = choose_episodes(recipe, episodes)
    low, high = float(chosen.states.min()), float(chosen.states.max())
    data = prepare(recipe, episodes)
    other = prepare_held_out(recipe, episodes, data)
    now = torch.arange(len(other))
    expected = 2 * (held_out.states - low) / (high - low) - 1
    torch.testing.assert_close(other.windows_at(now).vector[:, -1], expected.float())
    torch.testing.assert_close(other.chunks_at(now)[0][:, 0], expected.float())
    assert float(held_out.states.min()) < low or float(held_out.states.max()) > high
