"""Training sets of several recipes: one object where they are the same, their own where the seed has a say."""

from dataclasses import replace

import pytest

from holdfast.learn import prepare
from holdfast.learn.fingerprint import Fingerprint
from holdfast.learn.preparation import prepare_variants
from holdfast.recipe import LearnedMlp


def test_sets_are_made_once_where_the_seed_has_no_say(tiny_recipe, demos):
    arms = [replace(tiny_recipe, seed=seed) for seed in range(3)]
    first, *others = prepare_variants(arms, demos)
    assert all(one is first for one in others)
    assert Fingerprint.of(first) == Fingerprint.of(prepare(arms[2], demos))


@pytest.mark.parametrize(
    "change",
    [{"n_demos": 2}, {"n_demos": 4}, {"held_out": 0.5}, {"dynamics": LearnedMlp(updates=30, members=1)}],
    ids=lambda change: next(iter(change)),
)
def test_sets_are_their_own_where_the_seed_has_a_say(tiny_recipe, demos, gaussian, change):
    shaken = demos.actions + 0.3 * gaussian(0, *demos.actions.shape).to(demos.actions)
    demos = replace(demos, actions=shaken)
    arms = [replace(tiny_recipe, seed=seed, **change) for seed in range(2)]
    sets = prepare_variants(arms, demos)
    expected = [Fingerprint.of(prepare(arm, demos)) for arm in arms]
    assert [Fingerprint.of(one) for one in sets] == expected
    assert len(set(expected)) == 2
