"""Guidance by a prefix, on Gaussian targets whose conditional laws are known.

For x₀ ~ N(0, C) the posterior covariance of x₀ given x_k is Σ = (1 − ᾱ) C (ᾱ C + (1 − ᾱ) I)⁻¹, and conditioning on
the first step's value Y is linear regression: x̂₀' = x̂₀ + Σ₋₁ Σ₁₁⁻¹ (Y − x̂₀₁). The sampler's guidance replaces Σ₁₁ by
1 − ᾱ, which is right for C = I.
"""

import pytest
import torch

from holdfast.models import Sampler, cosine_schedule, sample
from holdfast.models.sampler import guided
from holdfast.seeding import stream
from holdfast.types import Prefix

SCHEDULE = cosine_schedule(400)
HELD = torch.tensor([1.0, 0.0], dtype=torch.float64)


def covariance(rho):
    return torch.tensor([[1.0, rho], [rho, 1.0]], dtype=torch.float64)


def denoiser(rho):
    """E[x₀ | x_k] of two chunk steps with unit variance and correlation rho."""

    def denoise(noisy, level):
        signal = SCHEDULE.signal[level]
        C = covariance(rho)
        regression = signal.sqrt() * C @ torch.linalg.inv(signal * C + (1 - signal) * torch.eye(2).double())
        return regression @ noisy

    return denoise


def prefix(value, weights=HELD, count=64):
    chunk = torch.tensor([[value], [0.0]], dtype=torch.float64).expand(count, 2, 1)
    return Prefix(chunk=chunk, weights=weights)


def run(noise, rho, given, guidance=1e9, eta=0.0):
    options = Sampler(steps=400, eta=eta, clip=None, guidance=guidance)
    return sample(denoiser(rho), SCHEDULE, noise, options=options, rng=stream(0), prefix=given)


@pytest.mark.parametrize("guidance", [1e9, 5.0])
@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_independent_steps_the_prefix_is_exact_and_the_rest_untouched(gaussian, guidance, eta):
    noise = gaussian(0, 64, 2, 1)
    held, free = run(noise, 0.0, prefix(0.7), guidance, eta), run(noise, 0.0, None, guidance, eta)
    torch.testing.assert_close(held[:, 0], torch.full_like(held[:, 0], 0.7), rtol=0, atol=1e-9)
    torch.testing.assert_close(held[:, 1], free[:, 1], rtol=0, atol=1e-9)


@pytest.mark.parametrize("rho", [0.0, 0.5, -0.8])
@pytest.mark.parametrize("level", [0, 100, 200, 300, 399])
def test_one_guided_step_against_linear_regression(gaussian, rho, level):
    """The correction is the exact one times (1 − ᾱρ²) / (1 − ᾱ²ρ²), which is 1 for ρ = 0 and at both ends of ᾱ."""
    noisy, signal = gaussian(1, 64, 2, 1), float(SCHEDULE.signal[level])
    plain = denoiser(rho)(noisy, level)
    corrected = guided(denoiser(rho), prefix(0.7), signal, 1e9)(noisy, level)
    C, identity = covariance(rho), torch.eye(2).double()
    posterior = (1 - signal) * C @ torch.linalg.inv(signal * C + (1 - signal) * identity)
    exact = posterior[:, :1] / posterior[0, 0] * (0.7 - plain[:, :1])
    share = (1 - signal * rho**2) / (1 - signal**2 * rho**2)
    torch.testing.assert_close(corrected - plain, share * exact, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("rho", [0.3, 0.6, 0.9])
def test_correlated_steps_end_near_the_conditional_mean(gaussian, rho):
    """The held step ends on its value; the free one's mean moves by at least 85 % of ρ Y, never past it."""
    noise = gaussian(0, 64, 2, 1)
    noise = torch.cat([noise, -noise])  # mean zero exactly; the map is affine
    shift = run(noise, rho, prefix(0.7, count=128)).mean(dim=0)
    assert float(shift[0]) == pytest.approx(0.7, abs=2e-3)
    assert 0.85 * rho * 0.7 < float(shift[1]) <= rho * 0.7 + 1e-6


def test_the_largest_weight_is_a_limit(gaussian):
    signal = float(SCHEDULE.signal[-1])
    assert signal**-0.5 > 5
    noisy = gaussian(1, 64, 2, 1)
    plain = denoiser(0.0)(noisy, 399)
    corrected = guided(denoiser(0.0), prefix(0.7), signal, 5.0)(noisy, 399)
    torch.testing.assert_close((corrected - plain)[:, 0], 5.0 * signal**0.5 * (0.7 - plain[:, 0]))


@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_zero_weights_are_no_prefix(gaussian, eta):
    noise = gaussian(0, 64, 2, 1)
    nothing = prefix(0.7, torch.zeros(2, dtype=torch.float64))
    assert torch.equal(run(noise, 0.6, nothing, eta=eta), run(noise, 0.6, None, eta=eta))
