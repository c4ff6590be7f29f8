"""Paired differences: Tango's interval against its own likelihood, several differences at once, lost episodes."""

import math

import pytest
import torch
from scipy.optimize import brentq, minimize_scalar
from scipy.stats import norm, t

from holdfast.errors import DataError
from holdfast.evaluation import Arm, differences, intervals
from holdfast.evaluation.comparing import of_outcomes
from holdfast.evaluation.intervals import crossed
from holdfast.seeding import stream


def likelihood_root(wins: int, losses: int, total: int, level: float, upper: bool) -> float:
    """An end of Tango's interval, where the nuisance rate is found by maximizing the multinomial likelihood."""

    def statistic(delta: float) -> float:
        def negative(rate: float) -> float:  # of losses; that of wins is rate + delta
            parts = ((wins, rate + delta), (losses, rate), (total - wins - losses, 1 - 2 * rate - delta))
            return -sum(count * math.log(max(p, 1e-300)) for count, p in parts if count)

        bounds = max(0.0, -delta), (1 - delta) / 2
        rate = minimize_scalar(negative, bounds=bounds, method="bounded", options={"xatol": 1e-13}).x
        variance = (2 * rate + delta * (1 - delta)) / total
        return ((wins - losses) / total - delta) / math.sqrt(variance)

    found, z = (wins - losses) / total, norm.ppf((1 + level) / 2)
    if upper:
        return brentq(lambda delta: statistic(delta) + z, found + 1e-9, 1 - 1e-9)
    return brentq(lambda delta: statistic(delta) - z, -1 + 1e-9, found - 1e-9)


@pytest.mark.parametrize("level", [0.95, 0.99])
@pytest.mark.parametrize(("wins", "losses", "total"), [(12, 2, 50), (3, 3, 40), (1, 0, 44), (30, 10, 60)])
def test_tangos_interval_is_that_of_its_likelihood(wins, losses, total, level):
    found = of_outcomes(wins, losses, total, level=level)
    assert found.mean == (wins - losses) / total
    assert found.low == pytest.approx(likelihood_root(wins, losses, total, level, upper=False), abs=1e-5)
    assert found.high == pytest.approx(likelihood_root(wins, losses, total, level, upper=True), abs=1e-5)


def test_outcomes_that_never_differ_have_an_interval_and_extremes_stay_in_range():
    z = norm.ppf(0.975)
    none = of_outcomes(0, 0, 50)
    assert (none.low, none.high) == pytest.approx((-(z**2) / (50 + z**2), z**2 / (50 + z**2)))
    every, no = of_outcomes(50, 0, 50), of_outcomes(0, 50, 50)
    assert every.high == 1.0
    assert 0.8 < every.low < 1.0
    assert (no.low, no.high) == pytest.approx((-every.high, -every.low))


@pytest.mark.parametrize(("win", "loss", "count"), [(0.02, 0.02, 50), (0.3, 0.1, 20), (0.5, 0.3, 50)])
def test_tangos_interval_covers(win, loss, count):
    rng, covered = stream(0, "tests", "tango"), 0
    for _ in range(400):
        draws = torch.rand(count, generator=rng)
        wins, losses = int((draws < win).sum()), int(((draws >= win) & (draws < win + loss)).sum())
        found = of_outcomes(wins, losses, count)
        covered += found.low <= win - loss <= found.high
    assert covered / 400 > 0.92


def test_one_difference_is_students_interval_of_paired_values():
    rng = stream(0, "tests", "compared")
    base = torch.rand(30, generator=rng, dtype=torch.float64)
    gain = 0.1 + 0.05 * torch.randn(30, generator=rng, dtype=torch.float64)
    (found,) = differences([Arm("a", base[None]), Arm("b", (base + gain)[None])])
    half = t.ppf(0.975, 29) * float(gain.std()) / 30**0.5
    assert (found.first, found.second, found.verdict) == ("b", "a", "higher")
    assert (found.together.low, found.together.high) == pytest.approx(
        (float(gain.mean()) - half, float(gain.mean()) + half)
    )
    assert found.together == found.alone


def test_several_differences_hold_together():
    rng = stream(1, "tests", "compared")
    arms = [Arm(name, torch.rand(1, 40, generator=rng, dtype=torch.float64)) for name in "abcd"]
    every = differences(arms)
    assert [(one.first, one.second) for one in every] == [
        *(("b", "a"), ("c", "a"), ("d", "a"), ("c", "b"), ("d", "b"), ("d", "c"))
    ]
    first = differences(arms, against_first=True)
    assert [(one.first, one.second) for one in first] == [("b", "a"), ("c", "a"), ("d", "a")]
    paired = (arms[1].scores - arms[0].scores)[0]
    for found, count in ((every[0], 6), (first[0], 3)):
        half = t.ppf(1 - 0.025 / count, 39) * float(paired.std()) / 40**0.5
        assert (found.together.high - found.together.low) / 2 == pytest.approx(half)
    assert every[0].alone == first[0].alone


def test_several_trainings_count_as_several():
    # starts agree perfectly, trainings do not: two trainings say little
    one, other = torch.zeros(2, 100).double(), torch.tensor([[0.1], [0.5]]).double().expand(2, 100)
    (found,) = differences([Arm("a", one), Arm("b", other + 0.001 * torch.arange(100))])
    assert found.together.mean == pytest.approx(0.3 + 0.0495)
    assert found.verdict == "no difference found"
    # outcomes too: 2 × 50 pairs of which one training wins all, the other none
    solved = torch.tensor([[0.0], [1.0]]).double().expand(2, 50)
    (found,) = differences([Arm("a", torch.zeros(2, 50).double()), Arm("b", solved)])
    assert (found.together.low, found.together.high) == (-1.0, 1.0)


def test_equal_trainings_tell_no_more_of_the_starts_than_one():
    """Ten trainings that solve the same 7 of 20 starts: Student's interval over 20 starts, not Tango's of 200 pairs."""
    row = (torch.arange(20) % 3 == 0).double()
    half = t.ppf(0.975, 19) * float(row.std()) / 20**0.5
    pooled = of_outcomes(70, 0, 200)
    assert (pooled.high - pooled.low) / 2 < 0.4 * half
    arms = [Arm("a", torch.zeros(10, 20).double()), Arm("b", row.expand(10, 20))]
    (found,) = differences(arms)
    # a bootstrap of outcomes moves in steps of a start
    for one in (found.together, arms[1].estimate):
        assert one.mean == pytest.approx(0.35)
        assert (one.high - one.low) / 2 == pytest.approx(half, rel=0.2)


def test_resampled_means_do_not_depend_on_how_many_are_computed_at_once(monkeypatch):
    values = torch.randn(3, 11, generator=stream(3, "tests", "compared"), dtype=torch.float64)
    found = crossed(values, resamples=12_001)
    monkeypatch.setattr(intervals, "BLOCK", 10**6)
    assert crossed(values, resamples=12_001) == found


def test_the_bootstrap_of_both_keeps_its_default_and_widens_with_the_level():
    values = torch.randn(4, 20, generator=stream(2, "tests", "compared"), dtype=torch.float64)
    usual, wide = crossed(values), crossed(values, level=0.99, resamples=25000)
    assert wide.low < usual.low < usual.high < wide.high


def test_two_lost_episodes_are_equal():
    returns = torch.full((1, 12), -torch.inf).double()
    (found,) = differences([Arm("a", returns), Arm("b", returns.clone())])
    assert (found.together.mean, found.verdict) == (0.0, "no difference found")
    (found,) = differences([Arm("a", torch.zeros(1, 12).double() + 0.5), Arm("b", returns)])
    assert (found.together.mean, found.verdict) == (-math.inf, "lower")


def test_few_starts_have_no_verdict():
    scores = torch.linspace(0.1, 0.5, 9)[None].double()
    (found,) = differences([Arm("a", scores), Arm("b", scores + torch.linspace(0.1, 0.2, 9))])
    assert not found.together.has_interval
    assert found.verdict == "no difference found"


def test_unequal_arms_are_refused():
    with pytest.raises(DataError, match="a: 1 × 5, b: 2 × 5"):
        differences([Arm("a", torch.zeros(1, 5)), Arm("b", torch.zeros(2, 5))])
