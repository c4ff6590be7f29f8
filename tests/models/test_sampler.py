"""The sampler where the answer is known: exact denoisers of Gaussian targets."""

import itertools
import math
from dataclasses import replace

import pytest
import torch

from holdfast.errors import RecipeError
from holdfast.models import Sampler, cosine_schedule, sample
from holdfast.models.sampler import visited_levels
from holdfast.seeding import stream

MEAN, STD = 0.3, 0.5
FREE = {"clip": None}


def exact_denoiser(schedule, mean=MEAN, std=STD):
    """E[x₀ | x_k] for x₀ ~ N(mean, std²): regression of one Gaussian on another."""

    def denoise(noisy, level):
        signal = float(schedule.signal[level])
        gain = std**2 * signal**0.5 / (signal * std**2 + 1 - signal)
        return mean + gain * (noisy - signal**0.5 * mean)

    return denoise


def flow_map(schedule, noisy, mean=MEAN, std=STD):
    """Where the probability flow takes x_K: the standardised value stays as it is."""
    signal = float(schedule.signal[-1])
    return mean + std * (noisy - signal**0.5 * mean) / (signal * std**2 + 1 - signal) ** 0.5


def ddim(schedule, noise, steps):
    return sample(
        exact_denoiser(schedule), schedule, noise, options=Sampler(steps=steps, eta=0.0, **FREE), rng=stream(0)
    )


def test_ddim_reproduces_the_exact_flow_map_at_first_order(gaussian):
    """Over all levels of ever finer schedules the error halves; two of them extrapolate to the closed form."""
    noise = gaussian(0, 64, 3, 2)
    errors = []
    for levels in (50, 100, 200, 400, 800):
        schedule = cosine_schedule(levels)
        errors.append(float((ddim(schedule, noise, levels) - flow_map(schedule, noise)).abs().max()))
    ratios = [coarse / fine for coarse, fine in itertools.pairwise(errors)]
    assert all(1.8 < ratio < 2.2 for ratio in ratios), ratios
    schedule = cosine_schedule(800)
    coarse, fine = ddim(schedule, noise, 400), ddim(schedule, noise, 800)
    torch.testing.assert_close(2 * fine - coarse, flow_map(schedule, noise), rtol=0, atol=2e-4)


def test_fewer_steps_over_one_schedule_are_first_order_too(gaussian):
    schedule, noise = cosine_schedule(1000), gaussian(0, 64, 1, 1)
    exact = flow_map(schedule, noise)
    errors = [float((ddim(schedule, noise, steps) - exact).abs().max()) for steps in (10, 20, 40, 80, 160)]
    ratios = [coarse / fine for coarse, fine in itertools.pairwise(errors)]
    assert all(1.7 < ratio < 2.4 for ratio in ratios), ratios


def test_ancestral_sampling_draws_from_the_target():
    schedule, count = cosine_schedule(200), 20_000
    rng = stream(0, "ancestral")
    noise = torch.randn(count, 1, 1, dtype=torch.float64, generator=rng)
    drawn = sample(exact_denoiser(schedule), schedule, noise, options=Sampler(steps=200, eta=1.0, **FREE), rng=rng)
    # five standard errors of mean and standard deviation, and 2 % for the finite number of levels
    assert float(drawn.mean()) == pytest.approx(MEAN, abs=5 * STD / count**0.5)
    assert float(drawn.std()) == pytest.approx(STD, rel=5 / (2 * count) ** 0.5 + 0.02)


def test_only_stochastic_samplers_draw_and_equal_seeds_repeat(gaussian):
    schedule, noise = cosine_schedule(20), gaussian(0, 5, 2, 1)

    def run(eta, seed):
        options = Sampler(steps=10, eta=eta)
        return sample(exact_denoiser(schedule), schedule, noise, options=options, rng=stream(seed))

    assert torch.equal(run(0.0, 1), run(0.0, 2))
    assert torch.equal(run(1.0, 1), run(1.0, 1))
    assert not torch.equal(run(1.0, 1), run(1.0, 2))


def test_the_estimate_is_clipped(gaussian):
    schedule, noise = cosine_schedule(20), gaussian(0, 50, 1, 1)
    denoise = exact_denoiser(schedule, mean=0.0, std=3.0)
    options = Sampler(steps=20, eta=0.0, clip=0.5)
    bounded = sample(denoise, schedule, noise, options=options, rng=stream(0))
    assert float(bounded.abs().max()) <= 0.5
    assert float((bounded.abs() == 0.5).double().mean()) > 0.5


@pytest.mark.parametrize("steps", [0, -1])
def test_no_steps(steps):
    with pytest.raises(RecipeError, match=rf"expected steps of at least 1, got {steps}\."):
        Sampler(steps=steps)


@pytest.mark.parametrize("steps", [21])
def test_steps_out_of_range(gaussian, steps):
    schedule = cosine_schedule(20)
    with pytest.raises(RecipeError, match=rf"1 to 20 sampling steps .* got {steps}.*Lower"):
        sample(exact_denoiser(schedule), schedule, gaussian(0, 1, 1, 1), options=Sampler(steps=steps), rng=stream(0))


@pytest.mark.parametrize("steps", [1, 2, 7, 20])
def test_levels_are_visited_from_noise_to_data(gaussian, steps):
    schedule, visited = cosine_schedule(20), []

    def denoise(noisy, level):
        visited.append(level)
        return noisy

    sample(denoise, schedule, gaussian(0, 1, 1, 1), options=Sampler(steps=steps), rng=stream(0))
    assert len(visited) == steps
    assert visited == sorted(set(visited), reverse=True)
    assert visited[0] == 19
    assert steps == 1 or visited[-1] == 0


@pytest.mark.parametrize("spacing", ["even", "quadratic"])
def test_any_number_of_levels_and_steps_falls_from_the_top_to_zero(spacing):
    for levels in range(1, 41):
        for steps in range(1, levels + 1):
            path = visited_levels(levels, steps, spacing)
            assert len(path) == steps
            assert path[0] == levels - 1
            assert steps == 1 or path[-1] == 0
            assert all(above > below for above, below in itertools.pairwise(path)), (levels, steps, path)


@pytest.mark.parametrize(("order", "low", "high"), [(1, 1.8, 2.2), (2, 3.6, 4.5)])
def test_order_of_convergence(gaussian, order, low, high):
    """To the exact flow as far as the lowest level, and the mean that is expected there."""
    schedule, noise = cosine_schedule(1000), gaussian(0, 64, 1, 1)
    signal = float(schedule.signal[0])
    spread = (signal * STD**2 + 1 - signal) ** 0.5
    at_lowest = signal**0.5 * MEAN + spread / STD * (flow_map(schedule, noise) - MEAN)
    exact = exact_denoiser(schedule)(at_lowest, 0)
    errors = []
    for steps in (20, 40, 80, 160, 320):
        options = Sampler(steps=steps, order=order, **FREE)
        drawn = sample(exact_denoiser(schedule), schedule, noise, options=options, rng=stream(0))
        errors.append(float((drawn - exact).abs().max()))
    ratios = [coarse / fine for coarse, fine in itertools.pairwise(errors)]
    assert all(low < ratio < high for ratio in ratios), ratios


WIDTHS = {
    (1, "even"): [(0.68, 0.85, 0.93, 0.98), (0.50, 0.73, 0.86, 0.97), (0.49, 0.58, 0.69, 0.84)],
    (1, "quadratic"): [(0.72, 0.86, 0.93, 0.98), (0.71, 0.85, 0.92, 0.97), (0.65, 0.77, 0.83, 0.84)],
    (2, "even"): [(1.16, 1.14, 1.05, 1.00), (0.84, 1.09, 1.08, 1.00), (0.57, 0.70, 0.83, 0.90)],
    (2, "quadratic"): [(0.96, 1.01, 1.00, 1.00), (0.97, 1.03, 1.00, 1.00), (0.75, 0.86, 0.89, 0.90)],
}


@pytest.mark.parametrize(("order", "spacing"), list(WIDTHS))
def test_widths_that_are_left_of_a_gaussian(order, spacing):
    """The table of the options' docstring; of the exact flow all would be 1, but for the lowest level's noise."""
    schedule, noise = cosine_schedule(100), torch.ones(1, 1, 1, dtype=torch.float64)
    # the map is linear: where it takes 1 is the width that it draws
    for std, row in zip((0.5, 0.2, 0.05), WIDTHS[order, spacing], strict=True):
        for steps, width in zip((5, 10, 20, 100), row, strict=True):
            options = Sampler(steps=steps, order=order, spacing=spacing, **FREE)
            drawn = sample(exact_denoiser(schedule, 0.0, std), schedule, noise, options=options, rng=stream(0))
            assert float(drawn) / std == pytest.approx(width, abs=0.0051), (std, steps)
            row_text = "  ".join(f"{value:.2f}" for value in row)
            assert row_text in (Sampler.__doc__ or "")
    lowest = (1 - float(schedule.signal[0])) ** 0.5
    assert lowest == pytest.approx(0.025, abs=1e-3)
    assert 0.05 / (0.05**2 + lowest**2) ** 0.5 == pytest.approx(0.90, abs=0.01)


def test_the_second_order_costs_no_calls_and_starts_and_ends_like_the_first(gaussian):
    schedule, noise, calls = cosine_schedule(20), gaussian(0, 5, 2, 1), []

    def denoise(noisy, level):
        calls.append(level)
        return torch.tanh(noisy) * math.cos(level)

    two = {"steps": 2, "clip": None}
    first, second = (
        sample(denoise, schedule, noise, options=Sampler(order=order, **two), rng=stream(0)) for order in (1, 2)
    )
    assert calls == [19, 0, 19, 0]
    # one step without a past, and one to where λ has no value
    assert torch.equal(first, second)
    options = Sampler(steps=3, clip=None, order=2)
    assert not torch.equal(
        sample(denoise, schedule, noise, options=options, rng=stream(0)),
        sample(denoise, schedule, noise, options=replace(options, order=1), rng=stream(0)),
    )
    assert len(calls) == 10


def test_a_noisy_path_of_second_order_is_refused():
    with pytest.raises(RecipeError, match=r"eta is 0.5.*Set eta to 0, or order to 1"):
        Sampler(eta=0.5, order=2)


@pytest.mark.parametrize(
    "options", [Sampler(steps=400, **FREE), Sampler(steps=25, order=2, spacing="quadratic", **FREE)]
)
def test_an_exact_denoiser_draws_a_mixture(gaussian, mixture, sliced, chance, options):
    schedule, noise = cosine_schedule(400), gaussian(0, 4000, 2, 1)

    def denoise(noisy, level):
        signal = float(schedule.signal[level])
        return mixture.clean(noisy, signal**0.5, (1 - signal) ** 0.5)

    truth = mixture.draw(4000, stream(1))
    assert sliced(sample(denoise, schedule, noise, options=options, rng=stream(0)), truth) < chance
    # ten even steps of DDIM are visibly too narrow
    few = sample(denoise, schedule, noise, options=Sampler(steps=10, **FREE), rng=stream(0))
    assert sliced(few, truth) > chance
