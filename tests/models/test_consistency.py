"""Consistency: its boundary, its ladder, and Gaussians, of which the end of every path is known."""

import math
from dataclasses import replace

import pytest
import torch
from scipy import stats
from torch.func import functional_call, vmap

from holdfast.errors import RecipeError
from holdfast.models import Consistency, ConsistencyModel, Sizes
from holdfast.models.consistency import ConsistencyDraws, ladder
from holdfast.models.flow import TIME_SCALE
from holdfast.nn import ResidualMlp
from holdfast.seeding import stream
from holdfast.types import Batch, Observation, Prefix

SIZES = Sizes(horizon=3, width=2, n_observed=2)
SMALL = Consistency(network=ResidualMlp(width=16, blocks=1, embedding=8), levels=20, largest=80.0)
MEAN, STD = 0.3, 0.4


def seeded_model(options=SMALL, sizes=SIZES):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return ConsistencyModel(options, sizes).double()


def batch_of(gaussian, count=6, mask=None):
    inside = torch.ones(count, 3, dtype=torch.bool) if mask is None else mask
    return Batch(observation=Observation(state=gaussian(1, count, 1, 2)), chunk=gaussian(2, count, 3, 2), mask=inside)


def ends_at(model, known, end):
    """A network such that f(x, σ) = end(x, σ), but at σ_min, where f is the identity whatever the network says."""
    options = model.options

    def answer(scaled, times):
        sigma = options.smallest * (options.largest / options.smallest) ** (times[:, :, None] / TIME_SCALE)
        size = (sigma**2 + options.data_spread**2).sqrt()
        noisy = scaled * size
        left = sigma - options.smallest
        skip = options.data_spread**2 / (left**2 + options.data_spread**2)
        said = (end(noisy, sigma) - skip * noisy) * size / (options.data_spread * left)
        return torch.where(left < 1e-9, 0.0, said)

    return known(answer)


def gaussian_end(noisy, sigma, lowest=0.02):
    """Along the path of a Gaussian with noise (x − mean) / √(std² + σ²) stays as it is."""
    return MEAN + ((STD**2 + lowest**2) / (STD**2 + sigma**2)) ** 0.5 * (noisy - MEAN)


def test_at_the_lowest_level_it_is_the_identity(gaussian):
    model, noisy = seeded_model(), gaussian(0, 6, 3, 2)
    memory = model.network.encode(gaussian(1, 6, 1, 2))
    assert torch.equal(model.end(noisy, torch.full((6,), 0.02, dtype=torch.float64), memory), noisy)
    other = model.end(noisy, torch.full((6,), 0.5).double(), memory)
    assert not torch.allclose(other, noisy, atol=1e-2)


def test_far_from_the_data_it_is_the_network_alone(gaussian, known):
    """At σ_max nothing of x is passed by, and the network's output comes in units of the data's spread."""
    model = seeded_model()
    model.network = known(lambda scaled, times: torch.full_like(scaled, 0.7))
    end = model.end(80 * gaussian(0, 6, 3, 2), torch.full((6,), 80.0).double(), gaussian(1, 6, 1, 2))
    torch.testing.assert_close(end, torch.full_like(end, 0.5 * 0.7), rtol=0, atol=0.02)


def test_the_network_sees_unit_spread(gaussian, known):
    model, seen = seeded_model(), []
    model.network = known(lambda scaled, times: seen.append((scaled, times)) or scaled)
    for sigma in (0.05, 1.0, 60.0):
        noisy = (0.5**2 + sigma**2) ** 0.5 * gaussian(0, 500, 3, 2)
        model.end(noisy, torch.full((500,), sigma).double(), gaussian(1, 500, 1, 2))
        scaled, times = seen[-1]
        assert float(scaled.std()) == pytest.approx(float(gaussian(0, 500, 3, 2).std()))
        # evenly in the logarithm, from 0 to 100
        assert float(times[0]) == pytest.approx(100 * math.log(sigma / 0.02) / math.log(4000))


def test_the_ladder_is_that_of_karras():
    sigmas = ladder(Consistency(levels=5, smallest=0.002, largest=80.0))
    expected = [(0.002 ** (1 / 7) * (1 - i / 4) + 80 ** (1 / 7) * i / 4) ** 7 for i in range(5)]
    assert sigmas.tolist() == pytest.approx(expected)


def test_rungs_follow_a_log_normal_law():
    """P(i) is that of ln σ between two rungs, under N(−1.1, 2²), given that it lies on the ladder."""
    model, count = seeded_model(), 20_000
    rung = model.draw(torch.Size((count, 1, 1)), rng=stream(0)).rung
    below = stats.norm(-1.1, 2.0).cdf(ladder(SMALL).log().numpy())
    law = (below[1:] - below[:-1]) / (below[-1] - below[0])
    counts = torch.bincount(rung, minlength=19).numpy()
    assert len(counts) == 19
    assert stats.chisquare(counts, count * law).pvalue > 1e-3


@pytest.mark.parametrize("rungs", [[0, 3, 7, 11, 15, 18]])
def test_the_loss_by_hand(gaussian, known, rungs):
    """f is made to say x + σ / 10, so that both ends, and their distance, are known: 0.9 of the step in noise."""
    mask = torch.tensor([[1, 1, 1], [1, 1, 0], [1, 0, 0], [1, 1, 1], [1, 0, 0], [1, 1, 1]], dtype=torch.bool)
    model, batch, noise = seeded_model(), batch_of(gaussian, mask=mask), gaussian(3, 6, 3, 2)
    model.network = ends_at(model, known, lambda noisy, sigma: noisy + sigma / 10)
    loss = model.loss(batch, ConsistencyDraws(rung=torch.tensor(rungs), noise=noise))
    sigmas, soft = ladder(SMALL).tolist(), 0.00054 * 6**0.5
    expected = []
    for row, rung in enumerate(rungs):
        step = sigmas[rung + 1] - sigmas[rung]
        # at σ_min f is the identity
        shift = step / 10 if rung else sigmas[1] / 10
        square = float((step * noise[row] + shift)[mask[row]].square().sum())
        expected.append((math.sqrt(square + soft**2) - soft) / step)
    assert float(loss.detach()) == pytest.approx(sum(expected) / 6)


def test_no_gradient_runs_through_the_lower_end(gaussian):
    """The loss's gradient is that of the distance from a lower end that is a constant."""
    model, batch = seeded_model(), batch_of(gaussian)
    draws = ConsistencyDraws(rung=torch.tensor([0, 3, 7, 11, 15, 18]), noise=gaussian(3, 6, 3, 2))
    found = torch.autograd.grad(model.loss(batch, draws), list(model.parameters()))
    sigmas = model.ladder
    low, high = sigmas[draws.rung], sigmas[draws.rung + 1]

    def end(sigma):
        noisy = batch.chunk + sigma[:, None, None] * draws.noise
        return model.end(noisy, sigma, model.network.encode(batch.observation.vector))

    distance = ((end(high) - end(low).detach()).flatten(1).square().sum(1) + 6 * 0.00054**2).sqrt()
    expected = torch.autograd.grad((distance / (high - low)).mean(), list(model.parameters()))
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize(("steps", "levels"), [(1, 20), (2, 21), (4, 21)])
def test_noise_is_put_back_at_falling_levels(steps, levels):
    model = seeded_model(replace(SMALL, levels=levels, steps=steps))
    visited = model.visited()
    assert len(visited) == steps
    assert visited[0] == 80
    assert visited == sorted(visited, reverse=True)
    if steps == 2:
        # the middle of the ladder, in the seventh root
        assert visited[1] == pytest.approx(((0.02 ** (1 / 7) + 80 ** (1 / 7)) / 2) ** 7)


@pytest.mark.parametrize("steps", [1, 2, 4])
def test_an_exact_map_draws_the_law(known, steps):
    """Mean and spread within five standard errors, and a ten-thousandth for the start at a finite σ_max."""
    count = 20_000
    model = seeded_model(replace(SMALL, steps=steps, clip=None), Sizes(horizon=1, width=1, n_observed=1))
    model.network = ends_at(model, known, gaussian_end)
    drawn = model.sample(Observation(state=torch.zeros(count, 1, 1, dtype=torch.float64)), rng=stream(0))
    assert float(drawn.mean()) == pytest.approx(MEAN, abs=5 * STD / count**0.5 + 2e-3)
    width = (STD**2 + 0.02**2) ** 0.5
    assert float(drawn.std()) == pytest.approx(width, rel=5 / (2 * count) ** 0.5 + 1e-3)


def test_noise_that_is_put_back_adds_to_that_of_the_estimate(known):
    """An estimate has the spread σ_min of the path's end: from it, σ is reached by √(σ² − σ_min²) of fresh noise."""
    options, seen = replace(SMALL, levels=3, smallest=0.6, largest=2.0, steps=2, clip=None), []
    model = seeded_model(options, Sizes(horizon=1, width=1, n_observed=1))
    model.network = ends_at(model, known, lambda noisy, sigma: seen.append(noisy) or 0 * noisy)
    model.sample(Observation(state=torch.zeros(5, 1, 1, dtype=torch.float64)), rng=stream(0))
    rng = stream(0)
    noise = [torch.randn(5, 1, 1, dtype=torch.float64, generator=rng) for _ in range(2)]
    middle = ((0.6 ** (1 / 7) + 2 ** (1 / 7)) / 2) ** 7
    torch.testing.assert_close(seen[0], 2 * noise[0])
    torch.testing.assert_close(seen[1], (middle**2 - 0.6**2) ** 0.5 * noise[1])


def test_known_steps_are_put_in_and_seen_by_the_next_call(gaussian, known):
    """A map that takes each chunk to the mean of its steps: with two calls the free step hears of the held one."""
    weights = torch.tensor([1.0, 0.0], dtype=torch.float64)
    prefix = Prefix(chunk=torch.full((500, 2, 1), 0.9, dtype=torch.float64), weights=weights)
    free = []
    for steps in (1, 2, 8):
        model = seeded_model(replace(SMALL, steps=steps), Sizes(horizon=2, width=1, n_observed=2))
        mean = lambda noisy, sigma: noisy.mean(1, keepdim=True).expand_as(noisy) / (1 + sigma**2)  # noqa: E731
        model.network = ends_at(model, known, mean)
        drawn = model.sample(Observation(state=gaussian(0, 500, 1, 2)), rng=stream(0), prefix=prefix)
        torch.testing.assert_close(drawn[:, 0], prefix.chunk[:, 0], rtol=0, atol=1e-12)
        free.append(float(drawn[:, 1].mean()))
    assert abs(free[0]) < 0.05
    assert free[2] > 0.3


def test_samples_are_clipped(gaussian):
    window = 30 * gaussian(0, 500, 1, 2)
    assert float(seeded_model().sample(Observation(state=window), rng=stream(0)).abs().max()) <= 1


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
    with pytest.raises(RecipeError, match=r"0 < smallest < largest noise, got smallest=2.0 and largest=1.0"):
        Consistency(smallest=2.0, largest=1.0)
    with pytest.raises(RecipeError, match=r"1 to levels − 1 sampling steps, got 10 and 10"):
        Consistency(levels=10, steps=10)
    with pytest.raises(RecipeError, match=r"data_spread above 0, got 0.0"):
        Consistency(data_spread=0.0)


@pytest.mark.parametrize("steps", [1, 2])
def test_learns_both_modes_in_few_steps(two_modes, steps):
    network = ResidualMlp(width=48, blocks=2, embedding=16)
    options = Consistency(network=network, largest=10.0)
    model = two_modes.trained(ConsistencyModel, options)
    model.options = replace(options, steps=steps)
    near, positive = two_modes.found(model)
    # regression would have none; over seeds it is 0.7 to 0.9, and so short a training may weigh the modes unevenly
    assert near > (0.5 if steps == 1 else 0.65)
    assert positive == pytest.approx(0.5, abs=0.25)
