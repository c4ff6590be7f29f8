"""First observations of flights against those of demonstrations."""

import math

import pytest
import torch

from holdfast.policy import Coordinates
from holdfast.policy.first_observations import fewest_outside, outside, scaled


def coordinates(first: torch.Tensor, rest: torch.Tensor | None = None) -> Coordinates:
    every = first if rest is None else torch.cat([first, rest])
    bounds = (every.amin(0), every.amax(0), first.amin(0), first.amax(0))
    low, high, first_low, first_high = (tuple(float(v) for v in bound) for bound in bounds)
    return Coordinates(low=low, high=high, first_low=first_low, first_high=first_high)


def uniform(rng: torch.Generator, *size: int) -> torch.Tensor:
    return 2 * torch.rand(*size, generator=rng, dtype=torch.float64) - 1


@pytest.mark.parametrize(
    ("flights", "episodes", "level"), [(50, 60, 1e-3), (16, 200, 1e-4), (10, 5, 1e-2), (32, 2, 0.05)]
)
def test_the_count_of_flights_has_the_beta_binomial_tail(flights, episodes, level):
    """By the law of the range of n uniform numbers: its width w has the density n (n − 1) w^(n − 2) (1 − w)."""
    widths = (torch.arange(20000, dtype=torch.float64) + 0.5) / 20000
    density = episodes * (episodes - 1) * widths ** (episodes - 2) * (1 - widths) / 20000
    binomials = [math.comb(flights, k) * (1 - widths) ** k * widths ** (flights - k) for k in range(flights + 1)]
    law = torch.stack([(density * one).sum() for one in binomials])
    tails = law.flip(0).cumsum(0).flip(0)
    expected = next((k for k in range(1, flights + 1) if tails[k] <= level), flights + 1)
    assert fewest_outside(flights, episodes, level) == expected


def test_one_demonstration_raises_no_alarm():
    rng = torch.Generator().manual_seed(0)
    trained = coordinates(uniform(rng, 1, 3), uniform(rng, 100, 3))
    assert outside(trained, 1, uniform(rng, 50, 3)) == []


@pytest.mark.parametrize("law", ["uniform", "normal", "cauchy"])
@pytest.mark.parametrize(("episodes", "flights"), [(6, 50), (60, 50), (200, 16), (30, 1)])
def test_equal_laws_of_starts_raise_no_alarm(law, episodes, flights):
    """At most 1 in 1000 batches by the test's level; a single flight of heavy tails may lie far outside."""
    alarms, rng = 0, torch.Generator().manual_seed(1)
    for _ in range(100):
        draw = torch.randn(episodes + flights, 6, generator=rng, dtype=torch.float64)
        if law == "uniform":
            draw = uniform(rng, episodes + flights, 6)
        elif law == "cauchy":
            draw = (3.0 * uniform(rng, episodes + flights, 6) / 2).tan()
        alarms += bool(outside(coordinates(draw[:episodes]), episodes, draw[episodes:]))
    assert alarms <= (20 if law == "cauchy" and flights == 1 else 4 if flights == 1 else 1)


def test_a_coordinate_that_always_begins_at_zero_tells_another_order():
    rng = torch.Generator().manual_seed(2)
    first = torch.cat([uniform(rng, 60, 2), torch.zeros(60, 1, dtype=torch.float64)], dim=1)
    trained = coordinates(first, 2 * uniform(rng, 1000, 3))
    flights = torch.cat([uniform(rng, 50, 2), torch.zeros(50, 1, dtype=torch.float64)], dim=1)
    assert outside(trained, 60, flights) == []
    found = outside(trained, 60, flights[:, [2, 0, 1]])
    assert [one.index for one in found] == [2]
    assert (found[0].low, found[0].high, found[0].of_first) == (0.0, 0.0, True)
    assert abs(found[0].value) == pytest.approx(float(flights[:, 1].abs().max()))


def test_degrees_in_place_of_radians():
    rng = torch.Generator().manual_seed(3)
    first = uniform(rng, 40, 2)
    (one, two) = outside(coordinates(first), 40, 180 / math.pi * uniform(rng, 20, 2))
    assert (one.count, two.count) >= (18, 18)
    assert one.factor == pytest.approx(math.pi / 180)
    assert [one.index for one in outside(coordinates(first), 40, 180 / math.pi * uniform(rng, 1, 2))]


def test_radians_in_place_of_degrees_fill_the_range_after_a_change_of_unit():
    rng = torch.Generator().manual_seed(4)
    first = torch.stack([180 * uniform(rng, 60, 1)[:, 0], uniform(rng, 60, 1)[:, 0]], dim=1)
    flights = torch.stack([math.pi * uniform(rng, 50, 1)[:, 0], uniform(rng, 50, 1)[:, 0]], dim=1)
    assert outside(coordinates(first), 60, flights) == []
    assert scaled(coordinates(first), 60, flights) == [(0, 180 / math.pi)]
    assert scaled(coordinates(first), 60, first[:50]) == []


def test_rounding_to_single_precision_is_no_alarm():
    first = torch.tensor([[0.1, 0.82]] * 10, dtype=torch.float64)
    assert outside(coordinates(first), 10, first.float()) == []
    assert [one.index for one in outside(coordinates(first), 10, first + torch.tensor([0.0, 0.05]))] == [1]


def test_numbers_that_are_not_finite_are_left_to_others():
    first = torch.zeros(10, 1, dtype=torch.float64)
    assert outside(coordinates(first), 10, torch.full((3, 1), torch.nan)) == []
