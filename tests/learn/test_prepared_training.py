"""Runs store what is done with their data, draw by weight, and resume to the bit."""

from dataclasses import replace

import pytest
import torch

from holdfast.data import Preparation
from holdfast.learn import fit, fit_variants, load_recipe, prepare, prepare_held_out, prepare_variants, train_to_end
from holdfast.learn.checkpoint import recipe_digest
from holdfast.schema import from_plain, to_plain
from holdfast.sealed import digest_of

STEPS = 24
PREPARATIONS = [
    Preparation(shift_actions=1),
    Preparation(weights="quality", drop_episodes=("1",)),
    Preparation(weights="grade"),
]


@pytest.fixture
def graded(demos):
    grade = torch.arange(len(demos), dtype=torch.float64)
    return replace(demos, episode_columns={"grade": grade, "success": grade > 0})


@pytest.fixture
def small(tiny_recipe):
    return replace(tiny_recipe, training=replace(tiny_recipe.training, steps=STEPS, save_every=8))


def test_rows_are_drawn_by_weight(small, graded):
    data = prepare(replace(small, preparation=Preparation(weights="grade")), graded)
    rows = data.draw(40_000, torch.Generator().manual_seed(0))
    owner = torch.searchsorted(data.windows.lengths.cumsum(0), rows, right=True)
    counts = torch.bincount(owner, minlength=len(graded)).double() / len(rows)
    mass = graded.episode_columns["grade"] * graded.lengths
    expected = mass / mass.sum()
    # five standard deviations of a proportion
    assert bool(((counts - expected).abs() <= 5 * (expected * (1 - expected) / len(rows)).sqrt() + 1e-12).all())
    # within an episode all rows are drawn equally often, the first and the last too
    last = rows[owner == len(graded) - 1] - (len(data) - int(graded.lengths[-1]))
    halves = (last < int(graded.lengths[-1]) // 2).double().mean()
    share = (int(graded.lengths[-1]) // 2) / int(graded.lengths[-1])
    assert float(halves) == pytest.approx(share, abs=5 * 0.5 / len(last) ** 0.5)
    assert {int(last.min()), int(last.max())} == {0, int(graded.lengths[-1]) - 1}


@pytest.mark.parametrize("preparation", PREPARATIONS)
def test_a_stopped_run_resumes_to_the_bit(small, graded, tmp_path, preparation):
    recipe = replace(small, preparation=preparation)
    whole = fit(recipe, prepare(recipe, graded), tmp_path / "whole")

    class Stop(Exception):
        pass

    def stop(state):
        if state.step == 13:
            raise Stop

    with pytest.raises(Stop):
        fit(recipe, prepare(recipe, graded), tmp_path / "cut", on_step=stop)
    stored = load_recipe(tmp_path / "cut")
    assert stored.preparation == preparation
    again = fit(stored, prepare(stored, graded), tmp_path / "cut", resume=True)
    assert all(torch.equal(whole.average[name], again.average[name]) for name in whole.average)


def test_variants_draw_what_single_trainings_draw(small, graded, tmp_path):
    weighted = replace(small, preparation=Preparation(weights="grade"))
    recipes = [replace(weighted, seed=1), replace(small, seed=1), replace(weighted, seed=2)]
    sets = prepare_variants(recipes, graded)
    assert sets[0] is sets[2]
    together = fit_variants(recipes, sets, [tmp_path / str(index) for index in range(3)])
    assert together is not None
    from holdfast.policy import load

    for index, recipe in enumerate(recipes):
        alone = train_to_end(recipe, prepare(recipe, graded))
        stacked = dict(load(tmp_path / str(index)).planner.model.named_parameters())
        for name, value in alone.average.items():
            assert torch.allclose(stacked[name], value, atol=2e-5), name


def test_held_out_episodes_are_prepared_too(small, graded):
    recipe = replace(small, held_out=0.25, preparation=Preparation(shift_actions=-2))
    data = prepare(recipe, graded)
    held = prepare_held_out(recipe, graded, data)
    total = int(graded.lengths.sum()) - 2 * len(graded)
    assert len(data) + len(held) == total


def test_recipes_of_before_load_and_have_their_digest(small):
    plain = to_plain(small)
    old = {key: value for key, value in plain.items() if key != "preparation"}
    assert from_plain(type(small), old) == small
    stripped = {**to_plain(replace(small, data="", environment=None))}
    del stripped["preparation"], stripped["selection"]
    stripped["dynamics"].pop("exploration", None)
    del stripped["policy"]["vision"], stripped["policy"]["language"], stripped["policy"]["observed_rotations"]
    stripped["policy"]["codec"].pop("rotations", None)
    del stripped["policy"]["execution"]["sigma_features"], stripped["policy"]["execution"]["filter"]
    del stripped["training"]["encoder_learning_rate"]
    assert recipe_digest(small) == digest_of(stripped)
    assert recipe_digest(replace(small, preparation=Preparation(shift_actions=1))) != recipe_digest(small)
