"""Shortcut models and jumps, where the average velocity has a closed form: Gaussians."""

from dataclasses import replace

import pytest
import torch
from torch.func import functional_call, vmap

from holdfast.errors import RecipeError
from holdfast.models import AverageVelocitySampler, Shortcut, ShortcutModel, Sizes
from holdfast.models.average_velocity import guided, integrate_average
from holdfast.models.flow import TIME_SCALE
from holdfast.models.flow import guided as flow_guided
from holdfast.nn import ResidualMlp
from holdfast.seeding import stream
from holdfast.types import Batch, Observation, Prefix

MEAN, STD = 0.3, 0.5
SIZES = Sizes(horizon=3, width=2, n_observed=2)
SMALL = Shortcut(network=ResidualMlp(width=16, blocks=1, embedding=8), halvings=4)


def spread(time, std=STD):
    return (time**2 * std**2 + (1 - time) ** 2) ** 0.5


def average(noisy, start, end, mean=MEAN, std=STD):
    """The flow keeps (x − s mean) / spread; the average velocity is how far that leads over how long it takes."""
    there = end * mean + spread(end, std) / spread(start, std) * (noisy - start * mean)
    return (there - noisy) / (end - start)


def seeded_model(options=SMALL, sizes=SIZES):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return ShortcutModel(options, sizes).double()


def exact_network(known, options):
    """In a network's place: undoes the scaling of what it sees, and says the exact average velocity."""

    def answer(noisy, times):
        time, length = (times / TIME_SCALE)[:, :, None, None].unbind(1)
        return average(noisy, time, time + 2 ** (options.halvings * (length - 1)))

    return known(answer)


def batch_of(gaussian, count=16):
    inside = torch.ones(count, 3, dtype=torch.bool)
    return Batch(observation=Observation(state=gaussian(1, count, 1, 2)), chunk=gaussian(2, count, 3, 2), mask=inside)


@pytest.mark.parametrize("steps", [1, 2, 3, 8])
def test_exact_jumps_end_where_the_flow_does_in_any_number(gaussian, steps):
    noise, calls = gaussian(0, 64, 3, 2), []

    def count(noisy, start, end):
        calls.append((start, end))
        return average(noisy, start, end)

    drawn = integrate_average(count, noise, options=AverageVelocitySampler(steps=steps, clip=None))
    torch.testing.assert_close(drawn, MEAN + STD * noise, rtol=0, atol=1e-12)
    assert calls == [(index / steps, (index + 1) / steps) for index in range(steps)]
    assert float(integrate_average(average, 9 * noise, options=AverageVelocitySampler(steps=steps)).abs().max()) == 1


@pytest.mark.parametrize("steps", [1, 2, 4, 16])
def test_guided_jumps_hold_independent_steps_exactly(gaussian, steps):
    """Steps of unit variance: the held one ends on its value, the other where it would have ended."""
    noise = gaussian(0, 64, 2, 1)
    weights = torch.tensor([1.0, 0.0], dtype=torch.float64)
    prefix = Prefix(chunk=torch.full((64, 2, 1), 0.7, dtype=torch.float64), weights=weights)
    options = AverageVelocitySampler(steps=steps, clip=None, guidance=1e9)

    def unit(noisy, start, end):
        return average(noisy, start, end, mean=0.0, std=1.0)

    held = integrate_average(unit, noise, options=options, prefix=prefix)
    torch.testing.assert_close(held[:, 0], torch.full_like(held[:, 0], 0.7), rtol=0, atol=1e-9)
    torch.testing.assert_close(held[:, 1], noise[:, 1], rtol=0, atol=1e-9)
    # with one jump, a softly held step is met as Bayes' rule would: half way at weight ½
    half = integrate_average(
        unit, noise, options=replace(options, steps=1), prefix=replace(prefix, weights=torch.tensor([0.5, 0]).double())
    )
    torch.testing.assert_close(half[:, 0], (noise[:, 0] + 0.7) / 2, rtol=0, atol=1e-9)


@pytest.mark.parametrize("largest", [1e9, 5.0])
@pytest.mark.parametrize("time", [0.0, 0.1, 0.5, 0.9])
def test_short_jumps_are_guided_as_a_flow_is(gaussian, time, largest):
    noisy, size = gaussian(0, 64, 2, 1), 1e-6
    weights = torch.tensor([1.0, 0.0], dtype=torch.float64)
    prefix = Prefix(chunk=torch.full((64, 2, 1), 0.7, dtype=torch.float64), weights=weights)

    def velocity(chunk, at):
        return average(chunk, at, at + size)

    flow = flow_guided(velocity, noisy, time, prefix, largest)
    tolerance = 1e-4 if time > 0 or largest < 10 else torch.inf  # without a limit both weights are infinite at s = 0
    torch.testing.assert_close(guided(average, noisy, time, time + size, prefix, largest), flow, rtol=0, atol=tolerance)


def test_draws():
    draws = seeded_model().draw(torch.Size((4000, 3, 2)), rng=stream(0))
    assert draws.doubled == 500
    assert torch.equal(draws.size[500:], torch.full((3500,), 1 / 16))
    # 125 of each of the four larger steps, five deviations of a binomial count
    counts = [int((draws.size[:500] == 2.0**-k).sum()) for k in range(4)]
    assert sum(counts) == 500
    assert all(abs(count - 125) < 5 * (500 * 3 / 16) ** 0.5 for count in counts)
    places = draws.time / draws.size
    assert torch.equal(places, places.round())
    assert bool((draws.time + draws.size <= 1).all())
    assert len(draws.time[500:].unique()) == 16


def test_two_exact_halves_are_one_exact_whole(gaussian, known):
    options = replace(SMALL, bound=None)
    model = seeded_model(options)
    model.network = exact_network(known, options)
    noisy, time = gaussian(0, 5, 3, 2), torch.tensor([0.0, 0.5, 0.5, 0.75, 0.125]).double()
    size = torch.tensor([1.0, 0.5, 0.25, 0.25, 0.125]).double()
    found = model.two_halves(noisy, time, size, gaussian(1, 5, 2))
    start, end = time[:, None, None], (time + size)[:, None, None]
    torch.testing.assert_close(found, average(noisy, start, end), rtol=0, atol=1e-10)


def test_two_halves_by_hand(gaussian, known):
    """A made-up field without a flow: x + v/4, then the mean of both velocities; both within the bound."""
    options = replace(SMALL, bound=0.9)
    model = seeded_model(options)
    model.network = known(lambda noisy, times: noisy.sin() + times[:, :1, None] / TIME_SCALE)
    noisy, time, size = 2 * gaussian(0, 2, 3, 2), torch.tensor([0.5, 0.0]).double(), torch.tensor([0.5, 0.5]).double()
    found = model.two_halves(noisy, time, size, gaussian(1, 2, 2))
    for row, start in enumerate((0.5, 0.0)):
        first = torch.sin(noisy[row]) + start
        ahead = torch.clip(noisy[row] + first / 4, -0.9, 0.9)
        second = torch.sin(ahead) + start + 0.25
        torch.testing.assert_close(found[row], torch.clip((first + second) / 2, -0.9, 0.9))


def test_the_loss_and_its_gradient(gaussian, known):
    """An error δ of every answer: flow rows miss by δ, doubled rows by nothing, for their target errs alike.

    But the gradient does not run through the target: each row's is 2 · (its miss). Data are one point, of which the
    flow's velocity is a − ε.
    """
    options = replace(SMALL, bound=None)
    model, batch = seeded_model(options), batch_of(gaussian)
    batch = replace(batch, chunk=torch.full_like(batch.chunk, MEAN))

    def answer(noisy, times):
        return (MEAN - noisy) / (1 - times[:, :1, None] / TIME_SCALE)

    model.network = known(answer)
    draws = model.draw(batch.chunk.shape, rng=stream(0))
    assert draws.doubled == 2
    draws = replace(draws, time=draws.time.double(), size=draws.size.double(), noise=draws.noise.double())
    assert float(model.loss(batch, draws).detach()) == pytest.approx(0, abs=1e-20)
    model.network.error.data.fill_(0.25)
    loss = model.loss(batch, draws)
    (slope,) = torch.autograd.grad(loss, model.network.error)
    # a first half step that errs by δ leads astray by δ d/2, which changes the second by −δ d/2 / (1 − s − d/2)
    astray = 0.25 * (draws.size / 2) / (1 - draws.time - draws.size / 2) / 2
    misses = torch.where(torch.arange(16) < 2, astray, 0.25)
    assert float(loss.detach()) == pytest.approx(float((misses**2).mean()))
    assert float(slope) == pytest.approx(float((2 * misses).mean()))


def test_without_a_share_it_is_flow_matching(gaussian):
    model, batch = seeded_model(replace(SMALL, share=0.0)), batch_of(gaussian)
    draws = model.draw(batch.chunk.shape, rng=stream(0))
    assert draws.doubled == 0
    noisy = torch.lerp(draws.noise.double(), batch.chunk, draws.time.double()[:, None, None])
    said = model.predict(noisy, draws.time, draws.size, model.network.encode(batch.observation.vector))
    expected = (said - batch.chunk + draws.noise).square().mean()
    torch.testing.assert_close(model.loss(batch, draws), expected)


@pytest.mark.parametrize("steps", [1, 4, 16])
def test_samples_take_the_steps_they_ask_for(gaussian, known, steps):
    options = replace(SMALL, sampler=AverageVelocitySampler(steps=steps, clip=None))
    model = seeded_model(options)
    model.network = exact_network(known, options)
    drawn = model.sample(Observation(state=gaussian(0, 8, 1, 2)), rng=stream(3))
    noise = torch.randn(8, 3, 2, dtype=torch.float64, generator=stream(3))
    torch.testing.assert_close(drawn, MEAN + STD * noise, rtol=0, atol=1e-10)


def test_variants_of_parameters_have_their_own_gradients(gaussian):
    model, batch = seeded_model(), batch_of(gaussian)
    draws = model.draw(batch.chunk.shape, rng=stream(0))

    def loss_of(parameters):
        return functional_call(model, parameters, (batch, draws))

    variants = [{name: value.detach() + shift for name, value in model.named_parameters()} for shift in (0.0, 0.1)]
    stacked = {name: torch.stack([v[name] for v in variants]).requires_grad_(True) for name in variants[0]}
    together = torch.autograd.grad(vmap(loss_of)(stacked).sum(), list(stacked.values()))
    for index, variant in enumerate(variants):
        leaves = {name: value.requires_grad_(True) for name, value in variant.items()}
        for a, b in zip(together, torch.autograd.grad(loss_of(leaves), list(leaves.values())), strict=True):
            torch.testing.assert_close(a[index], b)


def test_options_out_of_range():
    with pytest.raises(RecipeError, match=r"2 halvings allows 1, 2, 4 sampling steps, not 3"):
        Shortcut(halvings=2, sampler=AverageVelocitySampler(steps=3))
    with pytest.raises(RecipeError, match="expected 1 to 20 halvings, got 0"):
        Shortcut(halvings=0)
    with pytest.raises(RecipeError, match="share of at least 0 and below 1, got 1"):
        Shortcut(share=1.0)
    with pytest.raises(RecipeError, match="steps of at least 1, got 0"):
        AverageVelocitySampler(steps=0)


@pytest.mark.parametrize("steps", [1, 2])
def test_learns_both_modes_in_few_steps(two_modes, steps):
    options = Shortcut(network=ResidualMlp(width=48, blocks=2, embedding=16), halvings=4, share=0.25)
    model = two_modes.trained(ShortcutModel, options)
    model.options = replace(options, sampler=AverageVelocitySampler(steps=steps))
    near, positive = two_modes.found(model)
    # regression would have none; over seeds it is 0.7 to 0.9, and so short a training may weigh the modes unevenly
    assert near > (0.5 if steps == 1 else 0.65)
    assert positive == pytest.approx(0.5, abs=0.25)
