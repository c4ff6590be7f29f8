"""Families through a whole training: their run folders load again, tokenizers lie beside them, divergence stops."""

from dataclasses import replace

import pytest
import torch

from holdfast.errors import CompileWarning, DataError, DivergedError, RecipeError, RunError
from holdfast.learn import (
    fit,
    initial_state,
    planner_of,
    prepare,
    train,
    train_to_end,
)
from holdfast.models import (
    AutoregressiveTokens,
    Forcing,
    ForcingSampler,
    IndependentTokens,
    Mixture,
    Regression,
    family_named,
    with_tokenizer,
)
from holdfast.nn import FilmMlp, Gpt, network_named
from holdfast.policy import Ensemble, Policy
from holdfast.seeding import stream
from holdfast.tokens import Binning, Fast, KMeans, load_tokenizer
from holdfast.types import Observation

MLP = FilmMlp(widths=(16,), embedding=8, bounded=False)
FAMILIES = {
    "regression": Regression(MLP),
    "mixture": Mixture(MLP),
    "forcing": Forcing(MLP, levels=20, sampler=ForcingSampler(steps=4)),
    "tokens": IndependentTokens(Binning(bins=16), MLP),
    "autoregressive": AutoregressiveTokens(KMeans(clusters=4), Gpt(layers=1, heads=2, width=16)),
}

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


def recipe_with(recipe, family, **training):
    policy = replace(recipe.policy, model=family)
    return replace(recipe, policy=policy, training=replace(recipe.training, steps=10, **training))


def stopped(recipe, data, folder):
    """A training that Ctrl-C ends after its seventh step."""

    def stop(state):
        if state.step == 7:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(recipe, data, folder, on_step=stop)


@pytest.mark.parametrize("name", FAMILIES)
def test_a_run_folder_is_the_policy_that_was_trained(tiny_recipe, demos, tmp_path, name):
    recipe = recipe_with(tiny_recipe, FAMILIES[name])
    data = prepare(recipe, demos)
    state = fit(recipe, data, tmp_path / "run")
    trained = Policy(planner_of(recipe, data, state), seed=3)
    loaded = Policy.from_pretrained(tmp_path / "run", seed=3)
    seen = {"observation.state": demos.states[5]}
    assert torch.equal(loaded.predict_action_chunk(seen), trained.predict_action_chunk(seen))
    assert (tmp_path / "run" / "tokenizer.safetensors").exists() == (name in ("tokens", "autoregressive"))


def test_a_stopped_training_of_sequences_goes_on_bit_for_bit(tiny_recipe, demos, tmp_path):
    """Levels, noise and following readings of each update come from its own stream."""
    recipe = recipe_with(tiny_recipe, FAMILIES["forcing"], save_every=5)
    data = prepare(recipe, demos)
    fit(recipe, data, tmp_path / "whole")
    stopped(recipe, data, tmp_path / "half")
    fit(recipe, prepare(recipe, demos), tmp_path / "half", resume=True)
    whole, half = (tmp_path / name / "model.safetensors" for name in ("whole", "half"))
    assert whole.read_bytes() == half.read_bytes()


def test_batches_of_sequences_hold_the_readings_that_follow(tiny_recipe, demos):
    """Row r's step j is followed by the reading of row r + j + 1, in its own episode."""
    data = prepare(recipe_with(tiny_recipe, FAMILIES["forcing"]), demos)
    length, horizon = int(demos.lengths[0]), tiny_recipe.policy.horizon
    now = torch.tensor([0, length - 3, 2 * length - 1])
    batch = data.batch(now, sigma=0.3, rng=stream(0, "tests"))
    assert batch.followed.sum(1).tolist() == [horizon, 2, 0]
    scaled = data.observation_scale.normalize(demos.observed.vector).float()
    for row, first in enumerate(now.tolist()):
        for step in range(horizon):
            if batch.followed[row, step]:
                torch.testing.assert_close(batch.following[row, step], scaled[first + step + 1])


def test_a_stopped_training_of_tokens_goes_on_bit_for_bit(tiny_recipe, demos, tmp_path):
    recipe = recipe_with(tiny_recipe, FAMILIES["tokens"], save_every=5)
    data = prepare(recipe, demos)
    fit(recipe, data, tmp_path / "whole")
    stopped(recipe, data, tmp_path / "half")
    stored = load_tokenizer(tmp_path / "half" / "tokenizer.safetensors")
    fit(recipe, prepare(recipe, demos, tokenizer=stored), tmp_path / "half", resume=True)
    for name in ("model.safetensors", "tokenizer.safetensors"):
        assert (tmp_path / "half" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_a_loss_of_tokens_is_not_compiled(tiny_recipe, demos):
    recipe = recipe_with(tiny_recipe, FAMILIES["tokens"])
    data = prepare(recipe, demos)
    with pytest.warns(CompileWarning, match="^the loss of token families depends on values"):
        *_, last = train(recipe, data, initial_state(recipe, data), compiled=True)
    expected = train_to_end(recipe, data)
    assert all(torch.equal(last.average[name], value) for name, value in expected.average.items())


def test_a_missing_or_foreign_tokenizer_is_refused(tiny_recipe, demos, tmp_path):
    recipe = recipe_with(tiny_recipe, FAMILIES["tokens"])
    data = prepare(recipe, demos)
    fit(recipe, data, tmp_path / "run")
    tokenizer = load_tokenizer(tmp_path / "run" / "tokenizer.safetensors")
    with pytest.raises(DataError, match="fitted on steps of"):
        prepare(recipe, replace(demos, dt=7.0), tokenizer=tokenizer)
    longer = replace(recipe, policy=replace(recipe.policy, horizon=12))
    with pytest.raises(RecipeError, match="fitted on chunks of 8 steps"):
        train_to_end(longer, prepare(longer, demos, tokenizer=tokenizer))
    (tmp_path / "run" / "tokenizer.safetensors").unlink()
    with pytest.raises(RunError, match="tokenizer"):
        Policy.from_pretrained(tmp_path / "run")


def test_a_loss_that_is_not_finite_stops_and_keeps_the_last_checkpoint(tiny_recipe, tiny_data, tmp_path):
    recipe = recipe_with(tiny_recipe, FAMILIES["regression"], save_every=5)
    fit(recipe, tiny_data, tmp_path / "good")
    longer = replace(recipe, training=replace(recipe.training, steps=20))

    def poison(state):
        if state.step == 7:
            next(iter(state.parameters.values())).fill_(float("nan"))

    with pytest.raises(DivergedError, match=r"the loss of update 7 is nan. Its batch has 16 windows, .* [0-9]+:[0-9]+"):
        fit(longer, tiny_data, tmp_path / "bad", on_step=poison)
    policy = Policy.from_pretrained(tmp_path / "bad")
    assert all(bool(value.isfinite().all()) for value in policy.planner.model.parameters())

    def poison_last(state):
        if state.step == 10:
            next(iter(state.parameters.values())).fill_(float("inf"))

    with pytest.raises(DivergedError, match="no longer finite"):
        fit(recipe, tiny_data, tmp_path / "late", on_step=poison_last)


def test_a_tokenizer_is_for_families_of_tokens():
    with pytest.raises(RecipeError, match="Regression does not use tokens"):
        with_tokenizer(family_named("regression", MLP), Fast())
    changed = with_tokenizer(family_named("tokens", network_named("film-mlp")), KMeans())
    assert changed.tokenizer == KMeans()


def test_an_ensembled_policy_plans_every_step(tiny_planner, demos):
    """A constant plan is its own average; the executed action is the mean of overlapping plans elsewhere."""
    execution = replace(tiny_planner.spec.execution, ensemble=Ensemble(), sigma_deploy=0.0)
    policy = Policy(tiny_planner, execution=execution)
    states = demos.states[:3]
    first = policy.act(Observation(state=states[:1]), states[:1])
    plan = Policy(tiny_planner, execution=execution).predict_controllers({"observation.state": states[:1]})
    torch.testing.assert_close(first, plan.at(0)(states[:1]))
    for state in states[1:]:
        policy.act(Observation(state=state[None]), state[None])
    assert len(policy.acting.chunks) == 3
    policy.reset(0)
    assert len(policy.acting.chunks) == 0
