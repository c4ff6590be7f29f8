"""Step by step against the schedulers of the package diffusers, fed with the same noise."""

import math

import pytest
import torch

from holdfast.models import Sampler, cosine_schedule, sample
from holdfast.models.diffusion import clean_from
from holdfast.models.sampler import visited_levels
from holdfast.seeding import stream

diffusers = pytest.importorskip("diffusers")

LEVELS = 100
NAMES = {"sample": "sample", "epsilon": "epsilon", "velocity": "v_prediction"}


def output(noisy, level):
    """A network's output: any smooth function that takes estimates beyond the clipping bound now and then."""
    return 1.3 * torch.sin(2.0 * noisy + 0.05 * level) + 0.2 * math.cos(level)


def ours(noise, prediction, options, seed):
    """The path of noisy chunks, and the sample at its end."""
    schedule, path = cosine_schedule(LEVELS), []

    def denoise(noisy, level):
        path.append(noisy)
        return clean_from(prediction, output(noisy, level), noisy, float(schedule.signal[level]))

    end = sample(denoise, schedule, noise, options=options, rng=stream(seed))
    return [*path, end]


def scheduler_of(kind, prediction, clip, **options):
    scheduler = getattr(diffusers, kind)(
        num_train_timesteps=LEVELS,
        beta_schedule="squaredcos_cap_v2",
        prediction_type=NAMES[prediction],
        clip_sample=clip is not None,
        clip_sample_range=clip or 1.0,
        **options,
    )
    signal = cosine_schedule(LEVELS).signal
    # theirs is in single precision; the formulas are compared in double
    torch.testing.assert_close(scheduler.alphas_cumprod.double(), signal, rtol=2e-4, atol=1e-7)
    scheduler.alphas_cumprod = signal
    scheduler.one = scheduler.final_alpha_cumprod = torch.tensor(1.0, dtype=torch.float64)
    return scheduler


@pytest.mark.parametrize("clip", [1.0, None])
@pytest.mark.parametrize("prediction", list(NAMES))
def test_ddpm(gaussian, prediction, clip):
    noise, rng = gaussian(0, 3, 4, 2), stream(7)
    scheduler = scheduler_of("DDPMScheduler", prediction, clip, variance_type="fixed_small")
    scheduler.set_timesteps(LEVELS)
    path = ours(noise, prediction, Sampler(steps=LEVELS, eta=1.0, clip=clip), seed=7)
    noisy = noise
    for index, level in enumerate(scheduler.timesteps.tolist()):
        scale = 1 + float(noisy.abs().max())
        torch.testing.assert_close(path[index], noisy, rtol=0, atol=1e-9 * scale)
        noisy = scheduler.step(output(noisy, level), level, noisy, generator=rng).prev_sample
    torch.testing.assert_close(path[-1], noisy, rtol=0, atol=1e-9 * (1 + float(noisy.abs().max())))


@pytest.mark.parametrize("eta", [0.0, 0.4, 1.0])
@pytest.mark.parametrize("prediction", list(NAMES))
def test_ddim(gaussian, prediction, eta):
    noise, rng, spacing = gaussian(0, 3, 4, 2), stream(7), 11
    scheduler = scheduler_of("DDIMScheduler", prediction, 1.0, set_alpha_to_one=True)
    # their step goes down by levels // steps; ours visits 99, 88, …, 0
    scheduler.num_inference_steps = LEVELS // spacing
    path = ours(noise, prediction, Sampler(steps=10, eta=eta, clip=1.0), seed=7)
    noisy = noise
    for index, level in enumerate(range(LEVELS - 1, -1, -spacing)):
        torch.testing.assert_close(path[index], noisy, rtol=0, atol=1e-9)
        noisy = scheduler.step(
            output(noisy, level), level, noisy, eta=eta, use_clipped_model_output=True, generator=rng
        ).prev_sample
    torch.testing.assert_close(path[-1], noisy, rtol=0, atol=1e-9)


@pytest.mark.parametrize("spacing", ["even", "quadratic"])
@pytest.mark.parametrize("prediction", list(NAMES))
def test_second_order(gaussian, prediction, spacing):
    noise = gaussian(0, 3, 4, 2)
    scheduler = diffusers.DPMSolverMultistepScheduler(
        num_train_timesteps=LEVELS,
        beta_schedule="squaredcos_cap_v2",
        prediction_type=NAMES[prediction],
        algorithm_type="dpmsolver++",
        solver_order=2,
        solver_type="midpoint",
        final_sigmas_type="zero",
    )
    path = visited_levels(LEVELS, 12, spacing)
    scheduler.set_timesteps(12)
    signal = cosine_schedule(LEVELS).signal[path]
    scheduler.timesteps = torch.tensor(path)
    # theirs are noise in units of signal
    scheduler.sigmas = torch.cat([((1 - signal) / signal).sqrt(), torch.zeros(1, dtype=torch.float64)])
    steps = ours(noise, prediction, Sampler(steps=12, order=2, spacing=spacing, clip=None), seed=7)
    noisy = noise
    for index, level in enumerate(path):
        # their step is in single precision whatever it is given
        torch.testing.assert_close(steps[index], noisy, rtol=2e-5, atol=2e-5)
        noisy = scheduler.step(output(steps[index], level), level, steps[index]).prev_sample
    torch.testing.assert_close(steps[-1], noisy, rtol=2e-5, atol=2e-5)
