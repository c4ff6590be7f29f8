"""Recipes ↔ JSON: a round trip through text for every alternative, and clear refusals."""

import json
from dataclasses import replace

import pytest

from holdfast.control import Dare, NoFeedback, Receding, Tvlqr
from holdfast.data import (
    Actions,
    Affine,
    Covariance,
    Isotropic,
    MeanShift,
    PerCoordinate,
    UniformAsPublished,
    Waypoints,
)
from holdfast.errors import RecipeError, UnknownNameError
from holdfast.models import Diffusion, Sampler
from holdfast.nn import FilmMlp
from holdfast.policy import Execution, PolicySpec
from holdfast.recipe import Recipe, Training
from holdfast.schema import from_plain, to_plain

SPEC = PolicySpec(n_states=6, n_actions=2, n_observed=6)

RECIPES = {
    "defaults": Recipe(policy=SPEC),
    "tvlqr": Recipe(policy=SPEC, synthesis=Tvlqr(state_weight=2.0, action_weight=0.5)),
    "weights a coordinate": Recipe(policy=SPEC, synthesis=Tvlqr((1.0, 2.0, 3.0, 4.0, 5.0, 6.0), (0.5, 0.1))),
    "dare": Recipe(policy=SPEC, synthesis=Dare(1.0, (0.5, 0.1))),
    "receding": Recipe(policy=SPEC, synthesis=Receding(horizon=12)),
    "no feedback": Recipe(policy=SPEC, synthesis=NoFeedback(), environment="pusht", n_demos=3, held_out=0.25),
    "actions": Recipe(policy=replace(SPEC, codec=Actions())),
    "affine": Recipe(policy=replace(SPEC, codec=Affine(), horizon=32, n_obs_steps=3)),
    "way-points": Recipe(
        policy=replace(
            SPEC,
            codec=Waypoints(
                positions=(0, 1), velocities=(3, 4), stiffness=(4.0, 2.5), damping=(4.0, 1.0), stiffness_range=3.0
            ),
        ),
        synthesis=Tvlqr(),
    ),
    "sampler": Recipe(policy=replace(SPEC, model=Diffusion(prediction="velocity", sampler=Sampler(7, 0.5, None)))),
    "network": Recipe(
        policy=replace(SPEC, model=Diffusion(network=FilmMlp((7, 5), 8, "mish", False, True, True), mask_padding=False))
    ),
    "execution": Recipe(policy=replace(SPEC, execution=Execution(2, 0.3, 1.0, (-1.0, -2.0), (1.0, 2.0)))),
    "noise": Recipe(
        policy=replace(SPEC, execution=Execution(noise_law=PerCoordinate((1.0, 2.0, 0.0, 1.0, 1.0, 0.5)))),
        training=Training(noise_law=Covariance(tuple(tuple(float(i == j) for j in range(6)) for i in range(6)))),
    ),
    "noise of published figures": Recipe(
        policy=replace(SPEC, execution=Execution(noise_law=MeanShift())),
        training=Training(noise_law=UniformAsPublished()),
    ),
    "training": Recipe(policy=SPEC, training=Training(steps=7, batch_size=3, sigma_train=0.25), data="a/b", seed=-4),
}


@pytest.mark.parametrize("name", RECIPES)
def test_round_trip_through_text(name):
    recipe = RECIPES[name]
    assert from_plain(Recipe, json.loads(json.dumps(to_plain(recipe)))) == recipe


def test_alternatives_carry_their_names():
    plain = to_plain(RECIPES["receding"])
    assert plain["synthesis"]["kind"] == "Receding"
    assert plain["policy"]["codec"]["kind"] == "Affine"


def changed(path: str, value) -> dict:
    """The plain form of the tvlqr recipe with one entry, at a dotted path, set to a value."""
    plain = json.loads(json.dumps(to_plain(RECIPES["tvlqr"])))
    *outer, last = path.split(".")
    place = plain
    for key in outer:
        place = place[key]
    place[last] = value
    return plain


def test_an_unknown_alternative_lists_the_known():
    with pytest.raises(UnknownNameError, match=r"recipe.synthesis 'Lqg'. Known: Dare, NoFeedback, Receding, Tvlqr"):
        from_plain(Recipe, changed("synthesis.kind", "Lqg"))


def test_an_unknown_word_lists_the_known():
    with pytest.raises(UnknownNameError, match=r"prediction 'score'. Known: epsilon, sample, velocity"):
        from_plain(Recipe, changed("policy.model.prediction", "score"))


def test_an_unknown_field_is_named_with_the_known():
    with pytest.raises(
        RecipeError, match=r"recipe.training: Training has no field rho\. Known: steps, .*newer version"
    ):
        from_plain(Recipe, changed("training.rho", 1.0))


def test_a_missing_field_is_named():
    plain = to_plain(RECIPES["tvlqr"])
    del plain["policy"]["n_states"]
    with pytest.raises(RecipeError, match=r"recipe.policy: PolicySpec lacks the field n_states"):
        from_plain(Recipe, plain)


def test_a_field_with_a_default_may_be_missing():
    plain = to_plain(RECIPES["training"])
    del plain["training"]["batch_size"]
    assert from_plain(Recipe, plain).training.batch_size == Training().batch_size


def test_whole_numbers_become_floats_where_floats_are_meant():
    weight = from_plain(Recipe, changed("synthesis.state_weight", 2)).synthesis.state_weight
    assert weight == 2.0
    assert isinstance(weight, float)
    weights = from_plain(Recipe, changed("synthesis.state_weight", [1, 2])).synthesis.state_weight
    assert weights == (1.0, 2.0)
    assert all(isinstance(weight, float) for weight in weights)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("seed", 0.5),
        ("data", 3),
        ("training.learning_rate", "fast"),
        ("synthesis.state_weight", "heavy"),
        ("policy.model.network.widths", 3),
        ("policy.execution", 3),
    ],
)
def test_a_value_of_another_type_is_refused_with_its_place(path, value):
    with pytest.raises(RecipeError, match=rf"recipe\.{path}"):
        from_plain(Recipe, changed(path, value))


def test_what_json_cannot_hold_is_refused():
    with pytest.raises(RecipeError, match="object cannot be stored"):
        to_plain(object())


def test_stored_recipes_pass_the_same_door():
    """Contradictions are refused when a recipe is read, as they are when it is made."""
    with pytest.raises(RecipeError, match="horizon 3 is shorter than n_action_steps 8"):
        from_plain(Recipe, changed("policy.horizon", 3))


def test_sigma_alone_means_isotropic_noise():
    stored = to_plain(Recipe(policy=SPEC, training=Training(sigma_train=0.1)))
    del stored["training"]["noise_law"]
    assert from_plain(Recipe, stored).training.noise_law == Isotropic()


def test_noise_for_other_observations_is_refused():
    law = PerCoordinate((1.0, 1.0))
    message = r"observation noise for 6 coordinates, got PerCoordinate for 2\. Give one entry for each"
    with pytest.raises(RecipeError, match=message):
        Recipe(policy=SPEC, training=Training(sigma_train=0.1, noise_law=law))
    with pytest.raises(RecipeError, match=message):
        replace(SPEC, execution=Execution(sigma_deploy=0.1, noise_law=law))
