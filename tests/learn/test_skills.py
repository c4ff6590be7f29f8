"""Selectors cloned from labels: what they learn, their confusion matrix, and what is refused."""

from dataclasses import replace

import pytest
import torch

from holdfast.data import ends_of, labels_of
from holdfast.envs.courier import SKILLS, courier_demonstrations
from holdfast.errors import DataError, RecipeError
from holdfast.learn import Confusion, SelectorRecipe, confusion_of, fit_selector
from holdfast.policy.skills import Selector, SelectorNet, SelectorSizes
from holdfast.seeding import stream
from holdfast.types import Episodes

QUICK = SelectorRecipe(updates=300, sigma=0.0, widths=(32,), held_out=0.25)


def walks(count=24):
    """x goes from −1 to 1; label 1 where x > 0, so that segments of label 0 end at 0."""
    x = torch.linspace(-1, 1, 21, dtype=torch.float64).repeat(count)[:, None]
    other = torch.rand(len(x), 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    states = torch.cat([x, other], dim=1)
    labels = (x[:, 0] > 0.01).long()
    return Episodes(actions=x, states=states, lengths=torch.full((count,), 21), columns={"skill": labels})


def test_labels_and_ends_are_learned():
    fitted = fit_selector(walks(), QUICK)
    assert fitted.selector.skills == ("0", "1")
    assert fitted.confusion.episodes == 6
    assert fitted.confusion.counts.sum().item() == 6 * 21
    assert fitted.confusion.accuracy > 0.94
    window = torch.tensor([[-0.9, 0.5], [-0.5, 0.5], [0.0, 0.5], [0.3, 0.5]], dtype=torch.float64)[:, None]
    ending = fitted.selector.ending(window, torch.zeros(4, dtype=torch.int64))
    assert ending[2] > 0.5 > ending[:2].max()


def test_windows_tell_what_single_observations_do_not():
    """The label is the direction of motion."""
    x = torch.cat([torch.linspace(0, 1, 11), torch.linspace(0.9, 0, 10)]).double().repeat(24)[:, None]
    labels = torch.cat([torch.zeros(11), torch.ones(10)]).long().repeat(24)
    episodes = Episodes(actions=x, states=x, lengths=torch.full((24,), 21), columns={"skill": labels})
    short, long = (fit_selector(episodes, replace(QUICK, n_obs_steps=steps)).confusion for steps in (1, 2))
    assert short.accuracy < 0.8 < 0.94 < long.accuracy


def test_confusion_by_hand():
    network = SelectorNet(SelectorSizes(n_skills=2, n_observed=2, widths=(4,)))
    torch.nn.init.zeros_(network.out.weight)
    network.out.bias.data = torch.tensor([0.0, 1.0, 0.0, 0.0])
    # chooses its second output, which is the label "0", in every step; 11 of 21 steps have it
    found = confusion_of(Selector(network, ("1", "0")), walks(2), "skill")
    assert found.skills == ("1", "0")
    assert found.counts.tolist() == [[0, 20], [0, 22]]
    assert found.accuracy == pytest.approx(22 / 42)
    assert found.shares.tolist() == [[0, 1], [0, 1]]
    with pytest.raises(DataError, match="the labels 0 are none of the skills of the selector: 1, 2"):
        confusion_of(Selector(network, ("1", "2")), walks(2), "skill")


def test_the_same_seed_gives_the_same_selector_and_leaves_the_global_generator_alone():
    torch.manual_seed(7)
    before = torch.get_rng_state()
    one, same, other = (fit_selector(walks(6), replace(QUICK, updates=5, seed=seed)).selector for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    pairs = zip(one.network.parameters(), same.network.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    assert not torch.equal(one.network.out.weight, other.network.out.weight)


def test_rare_labels_count_as_often():
    """One step in 21 has the label 1, and is recognised."""
    episodes = walks()
    rare = replace(episodes, columns={"skill": (episodes.states[:, 0] > 0.99).long()})
    found = fit_selector(rare, QUICK).confusion
    assert found.shares[1, 1] > 0.9


def test_what_cannot_be_learned_is_refused():
    with pytest.raises(DataError, match="no column 'phase'"):
        fit_selector(walks(), replace(QUICK, labels="phase"))
    one = replace(walks(), columns={"skill": torch.zeros(24 * 21).long()})
    with pytest.raises(DataError, match="one label, 0: there is nothing to select"):
        fit_selector(one, QUICK)
    bad = walks()
    bad.states[3, 1] = torch.nan
    with pytest.raises(DataError, match="not finite"):
        fit_selector(bad, replace(QUICK, held_out=0.0))
    named = replace(walks(), meta={"labels": {"skill": ["a", "b", "c"]}})
    with pytest.raises(DataError, match="no training episode has the label c"):
        fit_selector(named, QUICK)
    for wrong in ({"updates": 0}, {"held_out": 1.0}, {"sigma": -1.0}, {"learning_rate": 0.0}):
        with pytest.raises(RecipeError):
            SelectorRecipe(**wrong)


def test_no_episode_held_out_gives_no_matrix():
    assert fit_selector(walks(3), replace(QUICK, updates=1, held_out=0.0)).confusion is None


def test_the_courier_s_labels_are_learned():
    episodes = courier_demonstrations(60, rng=stream(0, "demonstrate", "courier"))
    found = fit_selector(episodes, SelectorRecipe(updates=400, held_out=0.2))
    assert found.selector.skills == SKILLS
    assert isinstance(found.confusion, Confusion)
    assert found.confusion.accuracy > 0.9
    labels, _ = labels_of(episodes, "skill")
    assert int(ends_of(episodes, labels).sum()) == 3 * 60
