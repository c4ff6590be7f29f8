"""Loss against behavior: Spearman against scipy, planted oscillations, intervals that hold what they promise."""

import itertools
import math
import statistics

import pytest
import torch
from scipy import stats

from holdfast.analysis.loss_against_behavior import (
    _effective_pairs,
    loss_behavior,
    oscillation,
    oscillation_ratio,
    rank_correlation,
    roughness,
)
from holdfast.errors import DataError
from holdfast.seeding import stream


def noise(rng, *shape, alike=0.0):
    """Gaussian series of std 1, each value `alike` to the one before."""
    fresh = torch.randn(*shape, dtype=torch.float64, generator=rng)
    values = [fresh[..., 0]]
    for step in range(1, shape[-1]):
        values.append(alike * values[-1] + math.sqrt(1 - alike**2) * fresh[..., step])
    return torch.stack(values, -1)


@pytest.mark.parametrize("ties", [False, True])
def test_spearman_is_scipys(gaussian, ties):
    for seed in range(5):
        x, y = gaussian(seed, 2, 23)
        y = y + 0.5 * x
        if ties:
            x, y = (2 * x).round(), (2 * y).round()
        assert rank_correlation(x, y).mean == pytest.approx(float(stats.spearmanr(x, y).statistic), abs=1e-12)


def test_what_does_not_move_has_no_correlation(gaussian):
    found = rank_correlation(torch.ones(10), gaussian(0, 10))
    assert math.isnan(found.mean)
    assert (found.low, found.high) == (-1.0, 1.0)
    assert rank_correlation(gaussian(0, 10), -gaussian(0, 10)).mean == -1.0


@pytest.mark.parametrize("alike", [0.0, 0.8])
def test_the_interval_knows_that_neighbours_are_alike(alike):
    """Unrelated series: no correlation lies inside in nine of ten or more; without the correction for 0.8 in 70 %."""
    rng = stream(0, "unrelated series")
    pairs = noise(rng, 200, 2, 40, alike=alike)
    found = [rank_correlation(*pair) for pair in pairs]
    assert sum(one.low <= 0 <= one.high for one in found) >= 180
    naive = math.tanh(1.96 / math.sqrt(37))
    outside = sum(abs(one.mean) > naive for one in found)
    assert outside >= 40 if alike else outside <= 20


def test_a_line_of_ten_values_counts_as_fewer_independent_pairs():
    """Bartlett: n / (1 + 2 Σ (1 − l/n) r_l²) over lags up to n/5, r₁ = 57.75 / 82.5 and r₂ = 34 / 82.5 of a line."""
    line = torch.arange(10, dtype=torch.float64) - 4.5
    total = 0.9 * (57.75 / 82.5) ** 2 + 0.8 * (34 / 82.5) ** 2
    assert _effective_pairs(line, -line) == pytest.approx(10 / (1 + 2 * total))


def test_oscillation_is_the_std_about_a_trend():
    """Noise of std 0.3 on a straight line: over 20,000 values within two per cent; the line alone has none."""
    rng = stream(0, "about a trend")
    line = torch.linspace(0, 50, 20_000, dtype=torch.float64)
    assert float(oscillation(line)) < 1e-12
    assert float(oscillation(line + 0.3 * noise(rng, 20_000))) == pytest.approx(0.3, rel=0.02)


@pytest.mark.parametrize("alike", [0.0, 0.7])
def test_a_planted_ratio_is_in_its_interval(alike):
    """A quarter of the oscillation, on another trend, in single trainings of 30 checkpoints."""
    rng = stream(1, "planted ratio")
    trend = torch.arange(30, dtype=torch.float64)
    base, other = noise(rng, 2, 200, 1, 30, alike=alike)
    found = [oscillation_ratio(0.25 * a - 0.1 * trend, b + trend) for a, b in zip(other, base, strict=True)]
    assert sum(one.low <= 0.25 <= one.high for one in found) >= 180
    # and it says something: no oscillation saved is outside as a rule
    assert sum(one.high < 1 for one in found) >= 150


def test_over_trainings_the_ratio_is_a_geometric_mean():
    """Ratios of 1/2 and 1/8, exactly: 1/4, and Student's interval over two logarithms, t = 12.7062."""
    base = noise(stream(2, "base"), 2, 20)
    found = oscillation_ratio(base * torch.tensor([[0.5], [0.125]]), base)
    assert found.mean == pytest.approx(0.25)
    half = 12.7062 * math.log(4) / math.sqrt(2) / math.sqrt(2)
    assert found.high == pytest.approx(0.25 * math.exp(half), rel=1e-4)


def test_the_interval_of_one_training_is_a_jackknife_by_hand():
    """17 checkpoints have 16 changes, in 4 blocks: (3/4) Σ (θ_j − mean θ)², and Student's t of 3 degrees, 3.18245."""
    both = noise(stream(4, "jackknife"), 2, 17)
    changes = [[b - a for a, b in itertools.pairwise(row)] for row in both.tolist()]

    def log_ratio(left_out: set[int]) -> float:
        kept = [[change for i, change in enumerate(row) if i not in left_out] for row in changes]
        return math.log(statistics.stdev(kept[0]) / statistics.stdev(kept[1]))

    without = [log_ratio(set(range(4 * j, 4 * j + 4))) for j in range(4)]
    variance = 3 / 4 * sum((one - statistics.fmean(without)) ** 2 for one in without)
    found, middle, half = oscillation_ratio(both[:1], both[1:]), log_ratio(set()), 3.182446 * math.sqrt(variance)
    assert found.mean == pytest.approx(math.exp(middle))
    assert (found.low, found.high) == pytest.approx((math.exp(middle - half), math.exp(middle + half)), rel=1e-5)


def test_a_planted_training():
    """The loss ranks nothing of a score that oscillates by itself, and all of one that follows it."""
    rng = stream(3, "planted training")
    loss = 1 + 0.01 * noise(rng, 40)
    wild = loss_behavior(loss, noise(rng, 40))
    assert wild.levels.low < 0 < wild.levels.high
    assert wild.score > 20 * wild.loss
    told = loss_behavior(loss, 5 - 3 * loss)
    assert (told.levels.mean, told.changes.mean) == pytest.approx((-1.0, -1.0))
    assert told.score == pytest.approx(3 * told.loss)


def test_roughness():
    x = torch.linspace(-1, 1, 41, dtype=torch.float64)
    assert roughness(x) == pytest.approx(1.0)
    assert roughness(1 - x**2) == pytest.approx(2.0)
    assert roughness(torch.sin(20 * torch.pi * x)) > 10
    assert math.isnan(roughness(torch.zeros(4)))


def test_bad_input():
    with pytest.raises(DataError, match="at least 8"):
        rank_correlation(torch.ones(7), torch.ones(7))
    with pytest.raises(DataError, match="finite"):
        rank_correlation(torch.full((9,), torch.nan), torch.ones(9))
    with pytest.raises(DataError, match="at least 3"):
        oscillation(torch.ones(2))
