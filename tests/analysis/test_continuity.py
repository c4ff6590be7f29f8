"""The modulus of continuity: closed forms beside integrals, and policies whose modulus is known."""

import math

import pytest
import torch

from holdfast.analysis.continuity import modulus
from holdfast.analysis.noised_distance import noise_of, noised_tv, pinsker, smoothed_tv
from holdfast.analysis.relaxed import bin_widths, binned_rtvc
from holdfast.data import Covariance, MeanShift, MinMax, PerCoordinate, UniformAsPublished
from holdfast.errors import DataError, RecipeError, ShapeError
from holdfast.policy import EmpiricalDeconvolution, Smoothed
from holdfast.seeding import stream
from holdfast.tokens import Binning
from holdfast.tokens.binning import BinningTokenizer
from holdfast.types import Episodes, PrimitiveControllers


def test_the_exact_distance_is_the_integral_of_the_densities():
    x = torch.linspace(-9, 9, 300_001, dtype=torch.float64)
    for distance, sigma in ((0.05, 0.3), (0.4, 0.3), (2.0, 0.5)):
        one, other = (torch.exp(-((x - m) ** 2) / (2 * sigma**2)) for m in (0.0, distance))
        integral = torch.trapezoid((one - other).abs(), x) / (2 * sigma * math.sqrt(2 * math.pi))
        exact = noised_tv(torch.tensor(distance, dtype=torch.float64), sigma)
        assert float(exact) == pytest.approx(float(integral), abs=1e-7)
        assert exact < pinsker(torch.tensor(distance), sigma)


def test_small_distances_have_slopes_of_one_over_sigma():
    tiny = torch.tensor(1e-6, dtype=torch.float64)
    assert float(noised_tv(tiny, 0.2) / tiny) == pytest.approx(1 / (0.2 * math.sqrt(2 * math.pi)))
    assert float(pinsker(tiny, 0.2) / tiny) == pytest.approx(1 / 0.4)
    assert noised_tv(torch.tensor([0.0, 1e-9]), 0.0).tolist() == [0, 1]
    with pytest.raises(RecipeError, match=r"got -1\.0"):
        noised_tv(tiny, -1.0)


def test_windows_are_stacked_and_clipping_brings_them_together(tiny_planner, demos):
    """Two observations moved by 0.3 and 0.4 in normalised units are 0.5 apart; outside [-1, 1] clipping ends both."""
    scale = tiny_planner.observation_scale
    window = scale.denormalize(torch.zeros(1, 2, 6).double())
    moved = window.clone()
    moved[0, 0, 1] += 0.3 * scale.half[1]
    moved[0, 1, 4] += 0.4 * scale.half[4]
    plain, clipped = (Smoothed(tiny_planner, sigma=0.25, clip=clip) for clip in (None, 0.1))
    normal = torch.distributions.Normal(0.0, 1.0)
    assert float(smoothed_tv(plain, window, moved)) == pytest.approx(float(2 * normal.cdf(torch.tensor(1.0)) - 1))
    assert float(smoothed_tv(clipped, window, moved)) == pytest.approx(
        float(noised_tv(torch.tensor(math.hypot(0.1, 0.1)), 0.25))
    )
    uniform = Smoothed(tiny_planner, sigma=0.5, law=UniformAsPublished())
    assert float(smoothed_tv(uniform, window, moved)) == pytest.approx(1 - 0.4 * 0.2)
    apart = torch.tensor([0.05, 0.5]).double()
    assert (noise_of(uniform).modulus(apart, numbers=12) >= noise_of(uniform).tv(torch.eye(2).double() * 0.05)).all()
    assert float(smoothed_tv(Smoothed(tiny_planner, sigma=0.5, law=MeanShift()), window, moved)) == 1
    # 0.3 along coordinate 1 and 0.4 along coordinate 4, in standard deviations of 2 and 0.5 times sigma
    scales = (1.0, 2.0, 1.0, 1.0, 0.5, 1.0)
    rows = tuple(tuple(scale**2 * (i == j) for j in range(6)) for i, scale in enumerate(scales))
    for law in (PerCoordinate(scales), Covariance(rows)):
        policy = Smoothed(tiny_planner, sigma=0.25, law=law)
        expected = noised_tv(torch.tensor(math.hypot(0.15, 0.8)), 0.25)
        assert float(smoothed_tv(policy, window, moved)) == pytest.approx(float(expected))
        largest = noise_of(policy).modulus(torch.tensor([0.4]), numbers=12)
        assert float(largest) == pytest.approx(float(noised_tv(torch.tensor(0.8), 0.25)))


def coin(windows):
    """The slides' policy: Bernoulli(min(1, .15 x)), which is .15-TVC."""
    chance = (0.15 * windows[:, -1, :1]).clamp(0, 1)
    return (torch.rand(chance.shape, generator=coin.rng, dtype=chance.dtype) < chance).to(chance)


def test_the_coin_is_continuous_and_its_mean_is_not():
    """At x = 1, 2 apart: the coins are .30 apart in law, their means as far as can be."""
    coin.rng = stream(0, "coin")
    windows, distances = torch.full((6, 1, 1), 2.5).double(), [1.0, 2.0]
    seen = modulus(coin, windows, distances, rng=stream(0, "modulus"), draws=400)
    assert seen.upper is None
    assert (seen.estimate - torch.tensor([0.15, 0.30])).abs().max() < 0.06
    assert (seen.lower <= torch.tensor([0.15, 0.30])).all()
    assert seen.lower[1] > 0.2
    mean = modulus(lambda window: 0.15 * window[:, -1], windows, distances, rng=stream(0, "modulus"), draws=40)
    assert mean.constant.all()
    assert (mean.estimate == 1).all()
    assert (mean.lower > 0.95).all()
    same = modulus(lambda window: torch.ones(len(window)), windows, [1.0], rng=stream(0, "modulus"), draws=40)
    assert float(same.estimate) == float(same.largest) == 0


def test_the_largest_distance_of_six_pairs_is_bounded_at_a_sixth_of_the_error():
    """Where all of n are told apart, the lower end of a rate at level 1 − a is a^(1/n): n = 20 + 20, and six times."""
    windows = torch.full((6, 1, 1), 2.5).double()
    seen = modulus(lambda window: window[:, -1], windows, [1.0], rng=stream(0, "m"), draws=40)
    assert float(seen.largest) == pytest.approx(2 * (0.05 / 6) ** (1 / 40) - 1)
    assert float(seen.lower) == pytest.approx(2 * 0.05 ** (1 / 240) - 1)


def test_actions_nearer_than_epsilon_count_as_equal():
    def steep(window):
        return 0.15 * window[:, -1]

    windows = torch.zeros(3, 1, 1).double()
    seen = [modulus(steep, windows, [1.0, 2.0], rng=stream(0, "m"), draws=40, epsilon=e) for e in (0.2, 0.31)]
    assert seen[0].estimate.tolist() == [0, 1]
    assert seen[1].estimate.tolist() == [0, 0]


def replaying(sigma):
    """Demonstrations at −1, −½, … 1 whose action is where they stand: two windows tell two noised laws apart."""
    places = torch.linspace(-1, 1, 41).double()[:, None]
    episodes = Episodes(actions=places, states=places, lengths=torch.ones(41, dtype=torch.int64))
    controllers = PrimitiveControllers.open_loop(places, places)
    return EmpiricalDeconvolution(episodes, controllers, MinMax.fit(places), sigma=sigma, horizon=1)


def test_smoothed_policies_stay_between_their_bounds():
    policy, distances = replaying(0.2), [0.1, 0.4, 0.8]
    windows = torch.tensor([[[0.0]], [[0.1]], [[-0.2]], [[0.05]]]).double()
    seen = modulus(policy, windows, distances, rng=stream(1, "modulus"), draws=300)
    assert torch.equal(seen.upper, noised_tv(torch.tensor(distances, dtype=torch.float64), 0.2))
    assert (seen.upper <= seen.pinsker).all()
    assert not seen.contradicted.any()
    assert (seen.lower <= seen.estimate).all()
    assert (seen.lower[1:] > 0.3 * seen.upper[1:]).all()


def test_a_trained_planner_is_drawn_from_in_its_own_units(tiny_planner, demos):
    policy = Smoothed(tiny_planner, sigma=0.1)
    windows = demos.states[:2, None].repeat(1, 2, 1)
    seen = modulus(policy, windows, [0.3], rng=stream(0, "modulus"), draws=40, features=lambda c: c.actions[:, 0])
    assert (seen.pairs, seen.draws) == (2, 40)
    assert not seen.contradicted.any()
    raw = modulus(policy, windows, [0.3], rng=stream(0, "m"), draws=40, scale=MinMax.fit(demos.states[:9]))
    assert raw.upper is None, "nothing is proven in other units than those of the noise"


def test_a_moved_window_is_at_the_distance_that_was_asked():
    scale = MinMax.fit(torch.tensor([[0.0, 5.0, 3.0], [4.0, 5.0, 13.0]]))
    seen = []

    def policy(windows):
        seen.append(windows)
        return windows[:, 0, 0]

    modulus(policy, torch.ones(2, 3, 3).double(), [0.7], rng=stream(0, "m"), draws=40, scale=scale)
    apart = (scale.normalize(seen[1]) - scale.normalize(seen[0])).flatten(1).norm(dim=1)
    assert torch.allclose(apart, torch.full_like(apart, 0.7))
    assert torch.equal(seen[1][..., 1], torch.ones(80, 3).double()), "constant coordinates stay"


def test_too_little_is_refused():
    windows = torch.zeros(2, 1, 1).double()
    for distances in ([], [0.0], [-1.0]):
        with pytest.raises(DataError, match="distances above 0"):
            modulus(coin, windows, distances, rng=stream(0, "m"))
    with pytest.raises(DataError, match="at least 40"):
        modulus(coin, windows, [1.0], rng=stream(0, "m"), draws=10)
    with pytest.raises(ShapeError, match="one sample for each of 80 windows, got 1"):
        modulus(lambda window: window[:1], windows, [1.0], rng=stream(0, "m"), draws=40)


def test_bins_bound_what_a_lipschitz_policy_does():
    """Of all pairs of a grid, none moves farther than the modulus allows, and some pairs use it up."""
    tables = {"low": torch.tensor([-1.0, -1]), "high": torch.tensor([1.0, 3])}
    tokenizer = BinningTokenizer(options=Binning(bins=10), horizon=1, width=2, tables=tables)
    widths = bin_widths(tokenizer)
    assert widths.tolist() == pytest.approx([0.2, 0.4])
    rng = stream(0, "bins")
    u = 3 * torch.rand(4000, 1, 2, generator=rng) - 1.5
    step = torch.randn(4000, 1, 2, generator=rng)
    other = u + 0.05 * step / step.norm(dim=-1, keepdim=True)
    moved = (tokenizer.decode(tokenizer.encode(u)) - tokenizer.decode(tokenizer.encode(other))).flatten(1).norm(dim=1)
    reach = 0.05 + math.hypot(0.2, 0.4)
    assert float(moved.max()) <= reach
    at = torch.tensor([0.025])
    assert binned_rtvc(widths, at, epsilon=reach + 1e-3, lipschitz=2.0).tolist() == [0]
    assert binned_rtvc(widths, at, epsilon=float(moved.max()) - 1e-3, lipschitz=2.0).tolist() == [1]


def test_bins_keep_a_stochastic_modulus():
    widths, at = torch.tensor([0.3, 0.4]), torch.tensor([0.0, 0.1])
    raw = noised_tv(at, 0.1)
    assert torch.equal(binned_rtvc(widths, at, epsilon=0.0, raw=raw), raw)
    assert torch.equal(binned_rtvc(widths, at, epsilon=0.7, raw=raw, raw_epsilon=0.1), raw)
    assert binned_rtvc(widths, at, epsilon=0.5, raw=raw, raw_epsilon=0.1).tolist() == [0, 1]
    for wrong in ({}, {"lipschitz": 1.0, "raw": raw}):
        with pytest.raises(RecipeError, match="either lipschitz"):
            binned_rtvc(widths, at, epsilon=0.1, **wrong)
    with pytest.raises(RecipeError, match="0 or above"):
        binned_rtvc(widths, at, epsilon=-0.1, lipschitz=1.0)
