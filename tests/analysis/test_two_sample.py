"""The classifier two-sample test: below the truth, near it, and right for laws with atoms."""

import math

import pytest
import torch

from holdfast.analysis.two_sample_test import TwoSample, pooled, two_sample
from holdfast.errors import DataError, ShapeError
from holdfast.seeding import stream


def shifted_tv(distance):
    """Of two unit Gaussians, by integrating half the absolute difference of their densities."""
    x = torch.linspace(-12, 12 + distance, 200_001, dtype=torch.float64)
    density = torch.exp(-(x**2) / 2) / math.sqrt(2 * math.pi)
    moved = torch.exp(-((x - distance) ** 2) / 2) / math.sqrt(2 * math.pi)
    return float(torch.trapezoid((density - moved).abs(), x) / 2)


@pytest.mark.parametrize(("distance", "near"), [(0.0, 0.1), (1.0, 0.2), (4.0, 0.1)])
def test_the_bound_lies_under_the_truth_and_near_it(gaussian, distance, near):
    truth, tests = shifted_tv(distance), []
    for repetition in range(50):
        draws = gaussian(repetition, 2, 100, 3)
        draws[1, :, 0] += distance
        tests.append(two_sample(draws[0], draws[1], rng=stream(repetition, "split")))
    assert sum(test.lower <= truth + 1e-9 for test in tests) >= 45
    mean = sum(2 * test.correct / test.tested - 1 for test in tests) / 50
    assert truth - near <= mean <= truth + 0.02
    assert sum(test.p_value < 0.05 for test in tests) <= 7 if distance == 0 else True


def test_spread_alone_is_found(gaussian):
    """Two centred Gaussians whose spreads differ threefold: no plane tells them apart, a quadric does."""
    draws = gaussian(0, 2, 400, 2)
    found = two_sample(draws[0], 3 * draws[1], rng=stream(0, "split"))
    assert found.lower > 0.3
    assert not found.classifier.startswith("linear")


def test_the_best_region_of_a_binned_law_is_found():
    """Bernoulli laws of 0.2 and 0.7: TV is 0.5."""
    coins = [(torch.rand(2000, 1, generator=stream(i, "coin")) < p).double() for i, p in enumerate((0.2, 0.7))]
    found = two_sample(coins[0], coins[1], rng=stream(0, "split"))
    assert found.lower <= 0.5
    assert found.estimate == pytest.approx(0.5, abs=0.07)


def test_deterministic_laws_are_equal_or_as_far_apart_as_can_be():
    one, other = torch.full((50, 3), 0.1), torch.full((50, 3), 0.1 + 1e-7)
    equal = two_sample(one, one, rng=stream(0, "split"))
    assert (equal.constant, equal.estimate, equal.lower) == (True, 0.0, 0.0)
    apart = two_sample(one, other, rng=stream(0, "split"))
    assert (apart.constant, apart.estimate, apart.tested) == (True, 1.0, 50)
    assert apart.lower == pytest.approx(2 * 0.05 ** (1 / 50) - 1)


def test_an_atom_is_told_from_a_density(gaussian):
    found = two_sample(torch.zeros(100, 1).double(), 1e-3 * gaussian(0, 100, 1), rng=stream(0, "split"))
    assert found.estimate == 1


@pytest.mark.parametrize(("epsilon", "truth"), [(0.5, 1.0), (0.999, 1.0), (1.001, 0.0)])
def test_points_nearer_than_epsilon_are_equal(epsilon, truth):
    one, other = torch.zeros(80, 2).double(), torch.zeros(80, 2).double()
    other[:, 1] = 1.0
    assert two_sample(one, other, rng=stream(0, "split"), epsilon=epsilon).estimate == truth


def test_relaxed_distances_of_shifted_gaussians_stay_under_the_truth(gaussian):
    """In one dimension the best coupling at tolerance ε leaves TV at the distance less ε."""
    truth, below = shifted_tv(2.0 - 0.8), 0
    estimates = []
    for repetition in range(40):
        draws = gaussian(repetition, 2, 100, 1)
        found = two_sample(draws[0], draws[1] + 2.0, rng=stream(repetition, "split"), epsilon=0.8)
        below += found.lower <= truth
        estimates.append(2 * found.correct / found.tested - 1)
    assert below >= 36
    assert truth - 0.1 <= sum(estimates) / 40 <= truth + 0.02


def test_pooling_adds_the_counts_and_sharpens_the_bound():
    parts = [TwoSample(correct=70, tested=100, classifier="atoms")] * 4
    whole = pooled(parts)
    assert (whole.correct, whole.tested) == (280, 400)
    assert whole.estimate == parts[0].estimate
    assert parts[0].lower < whole.lower < whole.estimate
    assert whole.lower_at(0.999) < whole.lower


def test_too_little_is_refused(gaussian):
    draws = gaussian(0, 40, 2)
    with pytest.raises(DataError, match=r"39 samples .* at least 40"):
        two_sample(draws[:39], draws[:39], rng=stream(0, "split"))
    with pytest.raises(ShapeError, match="equally often"):
        two_sample(draws, draws[:39], rng=stream(0, "split"))
    with pytest.raises(DataError, match="not finite"):
        two_sample(draws, draws * torch.nan, rng=stream(0, "split"))
    with pytest.raises(DataError, match="epsilon of 0 or above"):
        two_sample(draws, draws, rng=stream(0, "split"), epsilon=-1.0)
