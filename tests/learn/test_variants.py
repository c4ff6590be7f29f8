"""Variants: each comes out as its own separate training would, whatever runs beside it."""

from dataclasses import replace

import pytest
import torch

from holdfast.data import Actions, Covariance, MeanShift, PerCoordinate, UniformAsPublished
from holdfast.errors import DivergedError, RecipeError
from holdfast.learn import initial_state, planner_of, prepare, train, train_to_end
from holdfast.learn.variants import train_variants, train_variants_to_end
from holdfast.models import Energy, Flow, Forcing, IndependentTokens, Mip, Mixture, Regression, Shortcut
from holdfast.nn import FilmMlp, ResidualMlp, Transformer, UNet1d
from holdfast.nn.fast.stacked_mlp import mish_and_slope
from holdfast.seeding import stream
from holdfast.types import Observation

STEPS = 12


def with_training(recipe, **options):
    return replace(recipe, training=replace(recipe.training, **options))


def with_model(recipe, **options):
    return replace(recipe, policy=replace(recipe.policy, model=replace(recipe.policy.model, **options)))


def flat(values):
    return torch.cat([value.flatten() for value in values.values()])


def assert_same(found, expected, atol=2e-5):
    assert found.step == expected.step
    for part in ("parameters", "average"):
        torch.testing.assert_close(flat(getattr(found, part)), flat(getattr(expected, part)), atol=atol, rtol=0)
    torch.testing.assert_close(found.loss, expected.loss, atol=1e-5, rtol=1e-4)
    assert {float(count) for count in found.moments.count.values()} == {float(expected.step)}


@pytest.fixture(scope="module")
def short(tiny_recipe):
    return with_training(tiny_recipe, steps=STEPS)


@pytest.fixture(scope="module")
def arms(short):
    """They differ in seed, noise and its law, demonstrations, gains, rates and decays."""
    return [
        short,
        with_training(replace(short, seed=1, n_demos=2), sigma_train=0.0),
        with_training(replace(short, n_demos=1), learning_rate=3e-3, warmup_steps=0, noise_law=UniformAsPublished()),
        with_training(short, sigma_train=0.5, ema_decay=0.5, weight_decay=0.3),
        replace(short, synthesis=replace(short.synthesis, terminal="cost"), seed=2),
    ]


@pytest.fixture(scope="module")
def sets(arms, demos):
    return [prepare(arm, demos) for arm in arms]


@pytest.fixture(scope="module")
def alone(arms, sets):
    return [train_to_end(arm, one) for arm, one in zip(arms, sets, strict=True)]


def test_each_variant_draws_its_own_law_of_noise(short, demos):
    correlated = tuple(tuple(0.5 + 0.5 * (i == j) for j in range(6)) for i in range(6))
    laws = (PerCoordinate((0.0, 1.0, 2.0, 1.0, 0.5, 3.0)), Covariance(correlated), MeanShift())
    arms = [short, *(with_training(short, noise_law=law) for law in laws)]
    sets = [prepare(arm, demos) for arm in arms]
    last = train_variants_to_end(arms, sets)
    alone = [train_to_end(arm, one) for arm, one in zip(arms, sets, strict=True)]
    for index, expected in enumerate(alone):
        assert_same(last.state(index), expected)
        assert index == 0 or float((flat(expected.average) - flat(alone[0].average)).abs().max()) > 1e-4


@pytest.mark.parametrize(("block", "threads"), [(16, 1), (2, 1), (2, 2)])
def test_each_variant_is_its_separate_training(arms, sets, alone, block, threads):
    *_, last = train_variants(arms, sets, block=block, threads=threads, every=5)
    moved = flat(initial_state(arms[0], sets[0]).parameters) - flat(alone[0].parameters)
    assert float(moved.abs().max()) > 1e-3
    for index, expected in enumerate(alone):
        assert_same(last.state(index), expected)
    torch.testing.assert_close(last.losses, torch.stack([state.loss for state in alone]), atol=1e-5, rtol=1e-4)


def test_variants_that_differ_do_differ(alone):
    """Otherwise the comparison above would pass for variants that ignore what is their own."""
    ends = torch.stack([flat(state.average) for state in alone])
    assert float(torch.pdist(ends, p=float("inf")).min()) > 1e-3


def test_company_does_not_matter(arms, sets):
    beside = train_variants_to_end(arms, sets).state(1)
    assert_same(train_variants_to_end(arms[1:2], sets[1:2]).state(0), beside, atol=1e-6)


def test_variants_of_one_seed_share_their_draws_and_not_their_noise(short, tiny_data):
    """Equal seeds and sizes draw once; σ scales each one's own."""
    arms = [with_training(short, sigma_train=sigma, steps=3) for sigma in (0.1, 0.2, 0.0)]
    last = train_variants_to_end(arms, [tiny_data] * 3)
    assert [len(block.batches.sources) for block in last.blocks] == [2]
    for index, arm in enumerate(arms):
        assert_same(last.state(index), train_to_end(arm, tiny_data))


def test_values_come_at_multiples_and_at_the_end(short, tiny_data):
    assert [variants.step for variants in train_variants([short], [tiny_data], every=5)] == [5, 10, STEPS]


def test_going_on_from_states_is_going_on(arms, sets, alone):
    halves = list[torch.Tensor]()
    for arm, one in zip(arms, sets, strict=True):
        updates = train(arm, one, initial_state(arm, one))
        for state in updates:
            if state.step == 7:
                halves.append(state)
                break
    *_, last = train_variants(arms, sets, halves)
    for index, expected in enumerate(alone):
        assert_same(last.state(index), expected)


def test_a_state_of_variants_goes_on_alone(arms, sets, alone):
    first = next(train_variants(arms, sets, every=7)).state(2)
    *_, last = train(arms[2], sets[2], first)
    assert_same(last, alone[2])


def test_planners_plan_as_separate_ones(arms, sets, alone, demos):
    variants = train_variants_to_end(arms, sets)
    window = demos.states[:3, None].expand(-1, 2, -1)
    for index in (0, 2):
        expected = planner_of(arms[index], sets[index], alone[index]).plan(
            Observation(state=window), rng=stream(0, "plan")
        )
        found = variants.planner(index).plan(Observation(state=window), rng=stream(0, "plan"))
        torch.testing.assert_close(found.actions, expected.actions, atol=1e-3, rtol=1e-3)


def families():
    nets = [
        FilmMlp(widths=(24, 16), embedding=8, activation="relu", scalar_film_bias=True),
        FilmMlp(widths=(24, 1), embedding=8, activation="mish", linear_skip=True),
        ResidualMlp(width=24, blocks=2, embedding=8),
        UNet1d(channels=(16, 32), embedding=8),
    ]
    others = [Regression(network=nets[1]), Mip(network=nets[2]), Mixture(network=nets[2])]
    causal = Transformer(layers=1, heads=2, width=16, embedding=8, causal=True)
    others += [Forcing(network=nets[2]), Forcing(network=causal)]
    return [*[Flow(network=net) for net in nets], *others, Shortcut(network=nets[1])]


@pytest.mark.parametrize(
    "model", families(), ids=lambda model: f"{type(model).__name__}-{type(model.network).__name__}"
)
def test_families_and_networks_agree(short, demos, model):
    recipe = with_training(replace(short, policy=replace(short.policy, model=model)), steps=4)
    arms = [replace(recipe, seed=seed) for seed in range(2)]
    sets = [prepare(arm, demos) for arm in arms]
    last = train_variants_to_end(arms, sets)
    for index, arm in enumerate(arms):
        assert_same(last.state(index), train_to_end(arm, sets[index]), atol=1e-4)


def test_energies_agree_where_their_loss_says_anything(short, tiny_data):
    """A constant on an energy changes no loss; AdamW makes steps of any rounding error in such a gradient."""
    model = Energy(network=ResidualMlp(width=24, blocks=1, embedding=8))
    recipe = with_training(replace(short, policy=replace(short.policy, model=model)), steps=3)
    arms = [replace(recipe, seed=seed) for seed in range(2)]
    found, expected = train_variants_to_end(arms, [tiny_data] * 2).state(1), train_to_end(arms[1], tiny_data)
    told = flat(expected.moments.second).sqrt() > 1e-6
    assert float(told.float().mean()) > 0.8
    torch.testing.assert_close(flat(found.average)[told], flat(expected.average)[told], atol=1e-4, rtol=0)
    torch.testing.assert_close(found.loss, expected.loss, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("network", [FilmMlp(widths=(24, 24), embedding=8), ResidualMlp(width=24, blocks=1)])
def test_bfloat16_goes_where_its_separate_training_goes(short, tiny_data, network):
    arms = [
        with_training(with_model(replace(short, seed=seed), network=network), precision="bfloat16") for seed in (0, 1)
    ]
    last = train_variants_to_end(arms, [tiny_data] * 2)
    ways = []
    for index, arm in enumerate(arms):
        start = flat(initial_state(arm, tiny_data).parameters)
        ways.append((flat(last.state(index).parameters) - start, flat(train_to_end(arm, tiny_data).parameters) - start))
        assert last.state(index).parameters.keys() == train_to_end(arm, tiny_data).parameters.keys()
        assert {value.dtype for value in last.state(index).parameters.values()} == {torch.float32}
    cosine = torch.nn.functional.cosine_similarity
    assert all(float(cosine(*way, dim=0)) > 0.97 for way in ways)
    assert float(cosine(ways[0][0], ways[1][1], dim=0)) < 0.7


def test_masks_end_with_the_episode(short, tiny_data):
    """The mask of a batch ends with each window's episode, by another way of counting."""
    variants = train_variants([replace(short, seed=3), short], [tiny_data, tiny_data], every=1)
    block = next(variants).blocks[0]
    stack = block.batches.at(0, block.model)
    ends = tiny_data.windows.lengths.cumsum(0)
    now = torch.randint(len(tiny_data), (16,), generator=stream(3, "update", 0))
    left = ends[torch.searchsorted(ends, now, right=True)] - now
    assert torch.equal(stack.mask[0].sum(1), left.clamp(max=tiny_data.windows.horizon))
    assert not bool(stack.mask.all())


def test_one_that_diverges_leaves_the_others(arms, sets, alone):
    broken = replace(sets[1], codes=sets[1].codes * float("nan"))
    last = train_variants_to_end(arms[:3], [sets[0], broken, sets[2]])
    assert last.failed.tolist() == [-1, 0, -1]
    with pytest.raises(DivergedError, match="variant 1: the loss of update 0 is not finite"):
        last.planner(1)
    assert_same(last.state(0), alone[0])
    assert_same(last.state(2), alone[2])


@pytest.mark.parametrize(
    ("change", "name"),
    [
        (lambda r: with_training(r, batch_size=8), "training.batch_size"),
        (lambda r: with_training(r, steps=5), "training.steps"),
        (lambda r: with_model(r, network=FilmMlp(widths=(24, 32), embedding=8)), "policy.model.network.widths"),
        (lambda r: with_model(r, network=ResidualMlp()), "policy.model.network"),
        (lambda r: replace(r, policy=replace(r.policy, model=Flow())), "policy.model"),
        (lambda r: replace(r, policy=replace(r.policy, codec=Actions())), "the width of a code"),
    ],
)
def test_variants_of_other_shapes_are_named(short, tiny_data, change, name):
    with pytest.raises(RecipeError, match=rf"agree in {name}\b.* in variant 1"):
        train_variants([short, change(short)], [tiny_data, tiny_data])


def test_families_of_tokens_are_refused(short, demos):
    model = IndependentTokens(network=ResidualMlp(width=24, blocks=1))
    recipe = replace(short, policy=replace(short.policy, model=model))
    with pytest.raises(RecipeError, match="IndependentTokens model has a tokenizer"):
        train_variants([recipe], [prepare(recipe, demos)])


def test_counts_must_agree(short, tiny_data):
    with pytest.raises(RecipeError, match="2 recipes, 1 training sets"):
        train_variants([short, short], [tiny_data])
    with pytest.raises(RecipeError, match="at least one variant"):
        train_variants([], [])


def test_too_many_variants_say_how_many_fit(short, tiny_data):
    size = 5 * 4 * flat(initial_state(short, tiny_data).parameters).numel()
    with pytest.raises(RecipeError, match=r"50 variants need .* free: (\d+) fit") as caught:
        train_variants([short] * 50, [tiny_data] * 50, memory=30 * size, threads=1, block=1)
    fit = int(str(caught.value).split(" fit")[0].split()[-1])
    assert 1 <= fit < 30
    train_variants([short] * fit, [tiny_data] * fit, memory=30 * size, threads=1, block=1)
    with pytest.raises(RecipeError, match="fit"):
        train_variants([short] * (fit + 1), [tiny_data] * (fit + 1), memory=30 * size, threads=1, block=1)


def test_mish_and_its_slope(gaussian):
    z = torch.cat([8 * gaussian(0, 2000), torch.tensor([-90.0, 0.0, 90.0]).double()]).requires_grad_(True)
    value, slope = mish_and_slope(z.detach())
    expected = torch.nn.functional.mish(z)
    torch.testing.assert_close(value, expected.detach(), atol=1e-9, rtol=1e-12)
    torch.testing.assert_close(slope, torch.autograd.grad(expected.sum(), z)[0], atol=1e-7, rtol=1e-9)
