"""Observation noise: the law, the seed, and nothing at all at σ = 0."""

import pytest
import torch
from torch.testing import assert_close

from holdfast.data import noised
from holdfast.errors import RecipeError
from holdfast.seeding import stream


def test_law():
    z = torch.full((50_000, 2, 3), 0.25, dtype=torch.float64)
    noise = (noised(z, 0.3, rng=stream(0, "noise")) - z).flatten(1)
    # 50,000 draws: mean within 5 standard errors 0.3 / sqrt(n), covariance likewise.
    assert_close(noise.mean(0), torch.zeros(6).double(), rtol=0, atol=5 * 0.3 / 50_000**0.5)
    assert_close(noise.T.cov(), 0.09 * torch.eye(6).double(), rtol=0, atol=5 * 0.09 * (2 / 50_000) ** 0.5)
    inside = float((noise.abs() < 0.3).double().mean())
    assert abs(inside - 0.6827) < 0.005


def test_seed_decides():
    z = torch.zeros(4, 2, 3)
    first, again, other = (noised(z, 0.1, rng=stream(s, "noise")) for s in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert first.dtype == z.dtype


def test_fresh_each_time():
    rng, z = stream(0, "noise"), torch.zeros(4, 2, 3)
    assert not torch.equal(noised(z, 0.1, rng=rng), noised(z, 0.1, rng=rng))


def test_scales_with_sigma():
    z = torch.zeros(4, 2, 3).double()
    assert_close(noised(z, 0.2, rng=stream(0)), 4 * noised(z, 0.05, rng=stream(0)))


def test_zero_is_the_observation_itself_and_draws_nothing():
    rng, z = stream(0, "noise"), torch.ones(4, 2, 3)
    before = rng.get_state()
    assert noised(z, 0.0, rng=rng) is z
    assert torch.equal(rng.get_state(), before)


@pytest.mark.parametrize("sigma", [-0.1, float("nan"), float("inf")])
def test_refusals(sigma):
    with pytest.raises(RecipeError, match="0 or above; got"):
        noised(torch.zeros(1, 2, 3), sigma, rng=stream(0))


def test_the_published_uniform_law_shifts_by_half_sigma():
    z = torch.full((50_000, 2, 3), 0.25, dtype=torch.float64)
    noise = (noised(z, 0.3, rng=stream(0, "noise"), law="uniform") - z).flatten(1)
    assert float(noise.min()) >= 0
    assert float(noise.max()) < 0.3
    assert_close(noise.mean(0), torch.full((6,), 0.15).double(), rtol=0, atol=5 * 0.3 / 12**0.5 / 50_000**0.5)
    assert_close(noise.T.cov(), 0.09 / 12 * torch.eye(6).double(), rtol=0, atol=1e-3)


def test_the_shift_is_its_mean_and_draws_nothing():
    rng, z = stream(0, "noise"), torch.ones(4, 2, 3)
    before = rng.get_state()
    assert_close(noised(z, 0.3, rng=rng, law="shift"), z + 0.15)
    assert torch.equal(rng.get_state(), before)
