"""Training with clean first steps: who draws what, alone and together, and which recipes are refused."""

from dataclasses import replace

import pytest
import torch

from holdfast.cli.train_recipe import with_clean_prefix
from holdfast.errors import RecipeError
from holdfast.learn import held_out_loss, prepare, train_to_end
from holdfast.learn.prefixes import drawn_known
from holdfast.learn.variants import train_variants_to_end
from holdfast.models import Diffusion, Flow, FlowSampler, Mixture, Regression, Sampler, stacked_model
from holdfast.nn import FilmMlp, ResidualMlp, packed
from holdfast.policy import build_model
from holdfast.seeding import Streams, stream
from holdfast.types import Observation, Prefix

FILM = FilmMlp(widths=(16, 16), embedding=8)
FAMILIES = [
    Diffusion(FILM, levels=20, sampler=Sampler(steps=4), clean_prefix=True),
    Flow(ResidualMlp(width=16, blocks=1, embedding=8), sampler=FlowSampler(steps=3), clean_prefix=True),
]


def recipe_with(recipe, model, delays, **training):
    return replace(
        recipe,
        policy=replace(recipe.policy, model=model),
        training=replace(recipe.training, prefix_delays=delays, **training),
    )


def flat(values):
    return torch.cat([value.flatten() for value in values.values()])


def test_known_steps_are_drawn_with_equal_probability_and_not_at_all_without_delays():
    rng = stream(0, "tests")
    before = rng.get_state()
    assert drawn_known((), 5, rng=rng) is None
    assert torch.equal(rng.get_state(), before)
    counts = drawn_known((0, 2, 5), 6000, rng=rng).bincount(minlength=6)
    assert counts[[1, 3, 4]].tolist() == [0, 0, 0]
    # 2000 expected, with a standard deviation of √(6000 · 2/9) = 36.5
    assert all(abs(int(counts[delay]) - 2000) < 5 * 36.5 for delay in (0, 2, 5))


@pytest.mark.parametrize("model", FAMILIES, ids=["diffusion", "flow"])
def test_together_each_variant_draws_what_it_draws_alone(tiny_recipe, demos, model):
    arms = [recipe_with(replace(tiny_recipe, seed=seed), model, (0, 1, 3), steps=8) for seed in (0, 1)]
    data = [prepare(arm, demos) for arm in arms]
    last = train_variants_to_end(arms, data)
    for index, (arm, one) in enumerate(zip(arms, data, strict=True)):
        alone = train_to_end(arm, one)
        torch.testing.assert_close(flat(last.state(index).parameters), flat(alone.parameters), atol=2e-5, rtol=0)
    other = train_to_end(recipe_with(arms[0], model, (0,)), data[0])
    assert float((flat(other.parameters) - flat(last.state(0).parameters)).abs().max()) > 1e-3
    first, second = (held_out_loss(recipe_with(arms[0], model, d), data[0], other, windows=64) for d in ((0,), (3,)))
    assert first != second
    with pytest.raises(RecipeError, match=r"must agree in training.prefix_delays: expected \(0, 1, 3\)"):
        train_variants_to_end([arms[0], recipe_with(arms[1], model, (0, 1))], data)


@pytest.mark.parametrize("model", FAMILIES, ids=["diffusion", "flow"])
def test_stacked_and_packed_models_take_the_same_prefix(tiny_recipe, model):
    spec = replace(tiny_recipe.policy, model=model)
    models = [build_model(spec, seed=seed) for seed in (0, 1)]
    sizes = models[0].sizes
    windows = torch.randn(4, sizes.n_obs_steps, sizes.n_observed, generator=stream(0))
    chunk = torch.randn(4, sizes.horizon, sizes.width, generator=stream(1))
    weights = (torch.arange(sizes.horizon) < torch.tensor([[0], [1], [2], [3]])).float()

    def drawn(model, rows, seeds):
        prefix = Prefix(chunk=chunk[rows], weights=weights[rows])
        rng = Streams.of([stream(seed) for seed in seeds]) if len(seeds) > 1 else stream(seeds[0])
        return model.sample(Observation(state=windows[rows]), rng=rng, prefix=prefix)

    alone = [drawn(models[0], slice(0, 2), [5]), drawn(models[1], slice(2, 4), [6])]
    together = drawn(stacked_model(models), slice(0, 4), [5, 6])
    torch.testing.assert_close(together, torch.cat(alone), atol=1e-5, rtol=0)
    torch.testing.assert_close(drawn(packed(models[0]), slice(0, 2), [5]), alone[0], atol=1e-5, rtol=0)


def test_delays_and_a_clean_prefix_go_together(tiny_recipe):
    clean, plain = FAMILIES[1], replace(FAMILIES[1], clean_prefix=False)
    assert recipe_with(tiny_recipe, clean, (0, 7)).training.prefix_delays == (0, 7)
    with pytest.raises(RecipeError, match=r"prefix_delays 0, 1, but this Flow takes no clean first steps.*sets both"):
        recipe_with(tiny_recipe, plain, (0, 1))
    with pytest.raises(RecipeError, match=r"but this Mixture takes no clean first steps"):
        recipe_with(tiny_recipe, Mixture(FILM), (1,))
    with pytest.raises(RecipeError, match=r"training has no prefix_delays. Give the delays"):
        recipe_with(tiny_recipe, clean, ())
    with pytest.raises(
        RecipeError, match=r"below the horizon of 8 steps.*got 0, 8. Lower them, or train with horizon > 8"
    ):
        recipe_with(tiny_recipe, clean, (0, 8))
    with pytest.raises(RecipeError, match=r"0 or more steps, got 0, -1"):
        replace(tiny_recipe.training, prefix_delays=(0, -1))


def test_the_option_sets_and_unsets_the_models_part():
    clean, plain = FAMILIES[0], replace(FAMILIES[0], clean_prefix=False)
    assert with_clean_prefix(plain, (0, 1)) == clean
    assert with_clean_prefix(clean, ()) == plain
    assert with_clean_prefix(Regression(FILM), ()) == Regression(FILM)
    with pytest.raises(RecipeError, match="--prefix-delays is for the families diffusion and flow, not for Regression"):
        with_clean_prefix(Regression(FILM), (1,))
