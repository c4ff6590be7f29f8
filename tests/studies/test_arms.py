"""The arms of the quadrotor study: what their recipes hold, and names that tell them apart."""

import dataclasses
from dataclasses import replace

import pytest

from holdfast.control import Dare, NoFeedback, Receding, Tvlqr
from holdfast.data import Actions, Affine
from holdfast.errors import RecipeError
from holdfast.studies.fig5.command import Fig5
from holdfast.studies.quadrotor.arms import Arm, deployments, recipe_of

ARM = Arm("published", 3, "dare", 0.1, 7)


@pytest.mark.parametrize(
    ("gains", "synthesis", "codec"),
    [
        ("none", NoFeedback(), Actions()),
        ("tvlqr", Tvlqr((1.0,) * 6, (0.5, 0.1)), Affine()),
        ("dare", Dare((1.0,) * 6, (0.5, 0.1)), Affine()),
        ("receding", Receding((1.0,) * 6, (0.5, 0.1)), Affine()),
    ],
)
def test_gains_for_the_experts_cost(gains, synthesis, codec):
    recipe = recipe_of(replace(ARM, setting="holdfast", gains=gains))
    assert recipe.synthesis == synthesis
    assert recipe.policy.codec == codec
    assert (recipe.n_demos, recipe.seed, recipe.training.sigma_train) == (3, 7, 0.1)


def test_the_published_choices():
    """As read off the authors' code: see facts/hint.md, 3.4 and 3.5."""
    recipe = recipe_of(ARM)
    training, model = recipe.training, recipe.policy.model
    assert recipe.synthesis == Dare((1.0,) * 6, (1.0,) * 2)
    assert (training.steps, training.learning_rate, training.warmup_steps) == (20_000, 1e-4, 500)
    assert (training.batch_size, training.weight_decay, training.ema_decay) == (128, 1e-5, 0.75)
    assert (model.levels, model.prediction, model.sampler.steps, model.sampler.eta) == (100, "sample", 100, 1.0)
    assert (model.network.widths, model.network.activation) == ((256, 128, 128, 64), "relu")
    assert model.network.bounded
    assert not model.network.linear_skip
    assert (recipe.policy.n_obs_steps, recipe.policy.execution.n_action_steps) == (2, 4)
    assert recipe.policy.execution.clip_observation is None
    assert recipe_of(replace(ARM, film_defect=True)).policy.model.network.scalar_film_bias


def test_ways_of_deployment():
    assert {name: way.sigma_deploy for name, way in deployments(ARM).items()} == {"train": 0.0, "replica": 0.1}
    assert {name: way.sigma_deploy for name, way in deployments(replace(ARM, sigma=0.0)).items()} == {"none": 0.0}


def test_keys_tell_arms_apart():
    changes = {
        "setting": "holdfast", "n_demos": 4, "gains": "none", "sigma": 0.2, "seed": 8,
        "film_defect": True, "range_defect": True, "steps": 5,
    }  # fmt: skip
    assert set(changes) == {field.name for field in dataclasses.fields(Arm)}
    keys = {replace(ARM, **{name: value}).key for name, value in changes.items()} | {ARM.key}
    assert len(keys) == 9
    assert ARM.key == Arm("published", 3, "dare", 0.1, 7).key


def test_plans_hold_the_papers_grid():
    full = Fig5(preset="full", setting="published").arms()
    assert len(full) == 8 * 2 * 10 * 5 == len({arm.key for arm in full})
    assert {arm.n_demos for arm in full} == {1, 2, 3, 4, 5, 10, 20, 30}
    assert {arm.sigma for arm in full} == {0, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.3, 0.5}
    quick = Fig5().arms()
    assert {arm.n_demos for arm in quick} >= {1, 3, 10}
    assert {arm.sigma for arm in quick} >= {0.0, 0.1, 0.3}
    assert len({arm.seed for arm in quick}) == 5
    small = Fig5(seeds=2, demos=(1,), sigmas=(0.0,)).arms()
    assert {(arm.n_demos, arm.sigma) for arm in small} == {(1, 0.0)}
    assert {arm.seed for arm in small} == {0, 1}


def test_only_the_published_setting_has_the_published_defects():
    with pytest.raises(RecipeError, match="has no published defects"):
        Arm("holdfast", 1, "tvlqr", 0.1, 0, film_defect=True)
    assert Arm("published", 1, "dare", 0.1, 0, film_defect=True).film_defect
