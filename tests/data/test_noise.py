"""Observation noise: the law, the seed, and nothing at all at σ = 0."""

import pytest
import torch
from torch.testing import assert_close

from holdfast.data import Covariance, Isotropic, MeanShift, PerCoordinate, UniformAsPublished, noised
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
    noise = (noised(z, 0.3, rng=stream(0, "noise"), law=UniformAsPublished()) - z).flatten(1)
    assert float(noise.min()) >= 0
    assert float(noise.max()) < 0.3
    assert_close(noise.mean(0), torch.full((6,), 0.15).double(), rtol=0, atol=5 * 0.3 / 12**0.5 / 50_000**0.5)
    assert_close(noise.T.cov(), 0.09 / 12 * torch.eye(6).double(), rtol=0, atol=1e-3)


def test_the_shift_is_its_mean_and_draws_nothing():
    rng, z = stream(0, "noise"), torch.ones(4, 2, 3)
    before = rng.get_state()
    assert_close(noised(z, 0.3, rng=rng, law=MeanShift()), z + 0.15)
    assert torch.equal(rng.get_state(), before)


def correlated(dims):
    """A covariance of full rank, as rows."""
    root = torch.randn(dims, dims, dtype=torch.float64, generator=stream(3, "tests"))
    return tuple(tuple(row) for row in (root @ root.mT).tolist())


@pytest.mark.parametrize(
    ("law", "expected"),
    [
        (PerCoordinate((1.0, 0.0, 2.5)), torch.diag(torch.tensor([1.0, 0.0, 6.25]).double())),
        (Covariance(correlated(3)), torch.tensor(correlated(3), dtype=torch.float64)),
        # rank 1: all coordinates move together
        (Covariance(((1.0, 2.0, -1.0), (2.0, 4.0, -2.0), (-1.0, -2.0, 1.0))), None),
    ],
    ids=["per coordinate", "covariance", "singular"],
)
def test_sample_covariance(law, expected):
    if expected is None:
        expected = torch.tensor(law.rows, dtype=torch.float64)
    z, sigma, count = torch.full((50_000, 2, 3), 0.25, dtype=torch.float64), 0.3, 50_000
    noise = noised(z, sigma, rng=stream(0, "noise"), law=law) - z
    # Var of a sample covariance: (C_ii C_jj + C_ij²) / n
    spread = (expected.diagonal()[:, None] * expected.diagonal() + expected**2).sqrt() / count**0.5
    for step in range(2):
        off = (noise[:, step].T.cov() - sigma**2 * expected).abs()
        assert bool((off <= 5 * sigma**2 * spread + 1e-12).all())
        assert bool((noise[:, step].mean(0).abs() <= 5 * sigma * expected.diagonal().sqrt() / count**0.5 + 1e-12).all())
    # window steps are independent
    across = noise[:, 0].T @ noise[:, 1] / count
    most = sigma**2 * (expected.diagonal()[:, None] * expected.diagonal()).sqrt() / count**0.5
    assert bool((across.abs() <= 5 * most + 1e-12).all())
    # a coordinate without noise stays as it is, to the bit
    assert bool((noise[..., expected.diagonal() == 0] == 0).all())


def test_cholesky_factors():
    """By hand, and as PyTorch has it where the matrix is positive definite."""
    rows = correlated(4)
    assert_close(
        Covariance(rows).factor, torch.linalg.cholesky(torch.tensor(rows, dtype=torch.float64)), rtol=1e-12, atol=1e-12
    )
    assert Covariance(((4.0, 2.0), (2.0, 1.0))).factor.tolist() == [[2.0, 0.0], [1.0, 0.0]]
    assert Covariance(((0.0, 0.0), (0.0, 9.0))).factor.tolist() == [[0.0, 0.0], [0.0, 3.0]]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("law", [PerCoordinate((1.0,) * 3), Covariance(((1.0, 0, 0), (0, 1.0, 0), (0, 0, 1.0)))])
def test_unit_laws_are_the_isotropic_one_bit_for_bit(law, dtype):
    z = torch.rand(5, 2, 3, dtype=dtype, generator=stream(1, "tests"))
    expected = noised(z, 0.1, rng=stream(0, "noise"))
    assert torch.equal(noised(z, 0.1, rng=stream(0, "noise"), law=law), expected)
    assert torch.equal(noised(z, 0.1, rng=stream(0, "noise"), law=Isotropic()), expected)


def test_whitened_differences_are_mahalanobis_distances():
    law, x = Covariance(correlated(3)), torch.randn(6, 3, dtype=torch.float64, generator=stream(2, "tests"))
    precision = torch.linalg.inv(law.matrix)
    assert_close(law.whitened(x).square().sum(-1), torch.einsum("bi,ij,bj->b", x, precision, x))
    assert law.smallest == pytest.approx(float(torch.linalg.eigvalsh(law.matrix)[0]) ** 0.5)
    flat = Covariance(((1.0, 0.0), (0.0, 0.0)))
    assert flat.whitened(torch.tensor([[3.0, 0.0], [0.0, 1e-3]])).abs().tolist() == [[0.0, 3.0], [torch.inf, 0.0]]
    assert PerCoordinate((2.0, 0.0)).whitened(torch.tensor([[3.0, 0.0], [0.0, 1.0]])).tolist() == [
        [1.5, 0.0],
        [0.0, torch.inf],
    ]


def test_laws_that_do_not_fit_are_refused():
    with pytest.raises(RecipeError, match=r"for 3 coordinates, got PerCoordinate for 2\. Give one entry for each"):
        noised(torch.zeros(1, 2, 3), 0.1, rng=stream(0), law=PerCoordinate((1.0, 1.0)))
    with pytest.raises(RecipeError, match="for 3 coordinates, got Covariance for 1"):
        noised(torch.zeros(1, 2, 3), 0.1, rng=stream(0), law=Covariance(((1.0,),)))
    with pytest.raises(RecipeError, match=r"0 or above, one for each coordinate, got \(1.0, -1.0\)"):
        PerCoordinate((1.0, -1.0))
    with pytest.raises(RecipeError, match=r"square covariance, got 2 rows of \[1, 2\] numbers"):
        Covariance(((1.0, 0.0), (0.0,)))
    with pytest.raises(RecipeError, match="finite"):
        Covariance(((float("nan"),),))
    with pytest.raises(RecipeError, match=r"differ from their mirror image by up to 0\.5"):
        Covariance(((1.0, 0.5), (0.0, 1.0)))
    with pytest.raises(RecipeError, match=r"smallest eigenvalue of -1\. Give A Aᵀ"):
        Covariance(((1.0, 2.0), (2.0, 1.0)))
