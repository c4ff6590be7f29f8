"""The sampler where the answer is known: exact denoisers of Gaussian targets."""

import itertools

import pytest
import torch

from holdfast.errors import RecipeError
from holdfast.models import Sampler, cosine_schedule, sample
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


@pytest.mark.parametrize("steps", [0, -1, 21])
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
