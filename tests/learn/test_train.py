"""Training: it learns, repeats with its seed, and fits its scales to the chosen episodes only."""

from dataclasses import replace

import pytest
import torch

from holdfast.learn import (
    attach_controllers,
    choose_episodes,
    initial_state,
    planner_of,
    prepare,
    train,
    train_to_end,
)
from holdfast.seeding import stream
from holdfast.types import Episodes


def flat(state):
    return torch.cat([value.flatten() for value in state.average.values()])


def with_training(recipe, **options):
    return replace(recipe, training=replace(recipe.training, **options))


def test_training_reduces_the_loss(tiny_recipe, tiny_data):
    recipe = with_training(tiny_recipe, steps=300, learning_rate=5e-3)
    losses = [float(state.loss) for state in train(recipe, tiny_data, initial_state(recipe, tiny_data))]
    assert len(losses) == 300
    first, last = (sum(part) / 30 for part in (losses[:30], losses[-30:]))
    assert last < 0.5 * first


def test_equal_seeds_repeat_and_others_differ(tiny_recipe, tiny_data):
    first, again = (flat(train_to_end(tiny_recipe, tiny_data)) for _ in range(2))
    assert torch.equal(first, again)
    other = replace(tiny_recipe, seed=1)
    assert not torch.equal(flat(initial_state(other, tiny_data)), flat(initial_state(tiny_recipe, tiny_data)))
    assert not torch.equal(flat(train_to_end(other, tiny_data)), first)


def test_each_update_draws_its_own_batch(tiny_recipe, tiny_data):
    """With weights that all but stand still, losses differ by the draws alone."""
    recipe = with_training(tiny_recipe, learning_rate=1e-30)
    losses = {float(state.loss) for state in train(recipe, tiny_data, initial_state(recipe, tiny_data))}
    assert len(losses) == 40


def test_making_a_model_leaves_the_global_generator_alone(tiny_recipe, tiny_data):
    before = torch.get_rng_state()
    state = initial_state(tiny_recipe, tiny_data)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(12)
    assert torch.equal(flat(initial_state(tiny_recipe, tiny_data)), flat(state))


def test_a_state_counts_its_updates_and_stops_at_the_end(tiny_recipe, tiny_data):
    states = [
        (state.step, bool(state.loss.isfinite()))
        for state in train(tiny_recipe, tiny_data, initial_state(tiny_recipe, tiny_data))
    ]
    assert states == [(step, True) for step in range(1, 41)]


def test_the_planner_holds_the_average_not_the_last_weights(tiny_recipe, tiny_data):
    state = train_to_end(tiny_recipe, tiny_data)
    weights = dict(planner_of(tiny_recipe, tiny_data, state).model.named_parameters())
    assert all(torch.equal(weights[name], value) for name, value in state.average.items())
    assert any(not torch.equal(weights[name], value) for name, value in state.parameters.items())


def test_episodes_are_chosen_by_the_seed_apart_from_the_held_out(tiny_recipe, demos):
    def chosen(**options):
        found, _ = choose_episodes(replace(tiny_recipe, **options), demos)
        return {demos.final_states.tolist().index(final) for final in found.final_states.tolist()}

    everything = chosen()
    assert everything == {0, 1, 2, 3}
    some = chosen(held_out=0.5)
    assert len(some) == 2
    assert chosen(held_out=0.5) == some
    assert chosen(held_out=0.5, n_demos=1) < some
    # a longer list of demonstrations contains the shorter one of its seed
    assert chosen(n_demos=1) < chosen(n_demos=2) < chosen(n_demos=3)
    assert len({frozenset(chosen(n_demos=2, seed=seed)) for seed in range(8)}) > 1


def test_scales_are_fitted_to_the_chosen_episodes_only(tiny_recipe, demos):
    """An outlier in an episode that is not trained on does not move them."""
    recipe = replace(tiny_recipe, n_demos=2)
    chosen, _ = choose_episodes(recipe, demos)
    used = [demos.final_states.tolist().index(final) for final in chosen.final_states.tolist()]
    unused = next(index for index in range(4) if index not in used)
    states = demos.states.clone()
    states[int(demos.starts[unused])] += 100.0
    moved = replace(demos, states=states)
    before, after = prepare(recipe, demos), prepare(recipe, moved)
    assert torch.equal(before.observations.vector, after.observations.vector)
    assert torch.equal(before.codes, after.codes)
    assert before.observation_scale.to_plain() == after.observation_scale.to_plain()
    low, high = (
        torch.stack([getattr(demos.trajectory(index).states[:-1], end)(0).values for index in used])
        for end in ("min", "max")
    )
    assert torch.equal(before.observation_scale.low, low.min(0).values)
    assert torch.equal(before.observation_scale.high, high.max(0).values)
    assert not torch.equal(prepare(tiny_recipe, moved).observation_scale.high, before.observation_scale.high)


def test_batches_are_noised_windows_with_their_own_chunks(tiny_data):
    now = torch.tensor([0, 29, 30, 75])
    calm = tiny_data.batch(now, sigma=0.0, rng=stream(0))
    # two observations: the episode's first repeats
    seen = tiny_data.observation_scale.normalize(tiny_data.observations.vector).float()
    codes = tiny_data.code_scale.normalize(tiny_data.codes).float()
    assert torch.equal(calm.observation.vector[0], seen[[0, 0]])
    assert torch.equal(calm.observation.vector[2], seen[[30, 30]])
    assert torch.equal(calm.observation.vector[3], seen[[74, 75]])
    assert torch.equal(calm.chunk[0], codes[0:8])
    assert torch.equal(calm.chunk[1], codes[[29] * 8])
    assert calm.mask.sum(1).tolist() == [8, 1, 8, 8]
    noisy = tiny_data.batch(torch.zeros(5000, dtype=torch.int64), sigma=0.3, rng=stream(0))
    assert torch.equal(noisy.chunk[17], calm.chunk[0])
    error = noisy.observation.vector - calm.observation.vector[0]
    assert float(error.mean()) == pytest.approx(0, abs=0.01)
    assert float(error.std()) == pytest.approx(0.3, rel=0.02)


def test_batches_are_normalised_and_gains_are_part_of_the_code(tiny_data, tiny_recipe, demos):
    assert tiny_data.codes.shape[1] == 2 + 6 + 12
    everywhere = tiny_data.batch(torch.arange(len(tiny_data)), sigma=0.0, rng=stream(0))
    for rows in (everywhere.observation.vector, everywhere.chunk):
        assert rows.dtype == torch.float32
        assert float(rows.abs().max()) == pytest.approx(1, abs=1e-6)
    assert tiny_data.observations.state.data_ptr() == demos.states.data_ptr()  # all episodes: nothing is held twice
    controllers = attach_controllers(tiny_recipe, choose_episodes(tiny_recipe, demos)[0])
    assert float(controllers.gains.abs().max()) > 0.1
    assert isinstance(demos, Episodes)
    back = tiny_data.code_scale.denormalize(everywhere.chunk[:, 0].double())
    torch.testing.assert_close(back[:, :2], controllers.actions, rtol=0, atol=1e-4)
    torch.testing.assert_close(back[:, 8:], controllers.gains.flatten(1), rtol=0, atol=1e-4)
