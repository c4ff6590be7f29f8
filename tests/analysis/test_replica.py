"""The replica lemma: it holds for exact replicas, and its check fails for what are none."""

import math

import pytest
import torch

from holdfast.analysis.replica import GaussianMixture, gaussian_tail, planned_replicas, replica_check, swap_test
from holdfast.data import MinMax
from holdfast.errors import DataError, RecipeError
from holdfast.policy import EmpiricalDeconvolution, Smoothed
from holdfast.seeding import stream
from holdfast.types import Episodes, PrimitiveControllers

SIGMA = 0.5


@pytest.fixture
def mixture() -> GaussianMixture:
    means = torch.tensor([[-1.0, 0.0], [1.0, 0.0], [0.0, 2.0]]).double()
    return GaussianMixture(torch.tensor([0.2, 0.5, 0.3]).double(), means, torch.tensor([0.0, 0.3, 0.6]).double())


def pairs(mixture, count, seed, gaussian):
    x = mixture.draw(count, rng=stream(seed, "states"))
    noised = x + SIGMA * gaussian(seed + 1000, count, 2)
    return x, mixture.replicas(noised, SIGMA, rng=stream(seed, "replicas")), noised


def test_replicas_are_drawn_from_the_posterior(mixture):
    """Its mean at a point, against Bayes' rule on a fine grid of states, and the share of the mixture's point."""
    at = torch.tensor([[-0.4, 0.5]]).double()
    drawn = mixture.replicas(at.expand(40_000, 2), SIGMA, rng=stream(0, "replicas"))
    axis = torch.linspace(-4, 4, 401).double()
    grid = torch.cartesian_prod(axis, axis)

    def density(points, mean, std):
        return torch.exp(-(points - mean).square().sum(-1) / (2 * std**2)) / (2 * math.pi * std**2)

    likelihood = density(grid, at, SIGMA)
    smooth = sum(
        p * density(grid, m, s) for p, m, s in zip(mixture.weights[1:], mixture.means[1:], (0.3, 0.6), strict=True)
    )
    mass = smooth * likelihood * float(axis[1] - axis[0]) ** 2
    point = 0.2 * float(density(mixture.means[:1], at, SIGMA))
    whole = float(mass.sum()) + point
    mean = ((mass[:, None] * grid).sum(0) + point * mixture.means[0]) / whole
    assert torch.allclose(drawn.mean(0), mean, atol=0.02)
    share = (drawn == mixture.means[0]).all(1).double().mean()
    assert float(share) == pytest.approx(point / whole, abs=0.01)


def test_the_lemma_holds_on_a_mixture(mixture, gaussian):
    x, replicas, _ = pairs(mixture, 1500, 0, gaussian)
    found = replica_check(x, replicas, sigma=SIGMA, rng=stream(0, "check"))
    assert not found.exceeded
    assert found.p_value > 0.01
    assert all(tail.mean <= bound for tail, bound in zip(found.tail, found.bound, strict=True))
    assert found.bound.tolist() == pytest.approx([1.0, 0.2, 0.02])


def test_true_replicas_are_seldom_refused(mixture, gaussian):
    p_values = []
    for repetition in range(24):
        x, replicas, _ = pairs(mixture, 100, repetition, gaussian)
        p_values.append(replica_check(x, replicas, sigma=SIGMA, rng=stream(repetition, "check")).p_value)
    assert sum(p < 0.05 for p in p_values) <= 4


def test_what_is_no_replica_is_noticed(mixture, gaussian):
    """The noised state itself, the posterior mean, and a replica at twice the noise."""
    x, replicas, noised = pairs(mixture, 1500, 0, gaussian)
    assert replica_check(x, noised, sigma=SIGMA, rng=stream(0, "check")).p_value < 0.01
    averages = torch.stack([mixture.replicas(noised, SIGMA, rng=stream(i, "average")) for i in range(60)]).mean(0)
    assert replica_check(x, averages, sigma=SIGMA, rng=stream(0, "check")).p_value < 0.01
    far = x + 4 * (replicas - x)
    assert replica_check(x, far, sigma=SIGMA, rng=stream(0, "check")).exceeded


def test_tails_of_the_noise_have_closed_forms(gaussian):
    tau = torch.tensor([0.5, 1.0, 2.0]).double()
    assert torch.allclose(gaussian_tail(tau, 1), torch.erfc(tau / math.sqrt(2)))
    assert torch.allclose(gaussian_tail(tau, 2), torch.exp(-(tau**2) / 2))
    x = gaussian(0, 100, 1)
    given = replica_check(x, x, sigma=0.1, rng=stream(0, "c"), thresholds=tau, noise_tail=lambda t: 0.1 * t)
    assert given.bound.tolist() == pytest.approx([0.1, 0.2, 0.4])
    assert [tail.mean for tail in given.tail] == [0, 0, 0]
    assert (given.exceeded, given.swap_p_value) == (False, 1.0)


def test_the_largest_swap_statistic_is_exact(gaussian):
    """Exchangeable pairs whose parts depend on one another: p-values are spread evenly."""
    p_values = []
    for repetition in range(60):
        shared = gaussian(repetition, 50, 1)
        own = gaussian(repetition + 500, 2, 50, 1)
        p_values.append(swap_test(shared + own[0], shared + own[1], rng=stream(repetition, "swap")))
    assert 0.3 < sum(p_values) / 60 < 0.7
    assert min(p_values) > 1e-4
    assert swap_test(own[0], own[1] + 2, rng=stream(0, "swap")) < 0.01


def test_the_law_of_demonstrations_is_its_own_replica():
    """Points on a circle: what is drawn from a noised point is a replica, and told to be none at half the noise."""
    angle = torch.arange(24) * 2 * math.pi / 24
    places = torch.stack([angle.cos(), angle.sin()], 1).double()
    places[:6] = places[:1]  # a state that is frequent, so that swaps matter
    episodes = Episodes(actions=places[:, :1], states=places, lengths=torch.ones(24, dtype=torch.int64))
    scale = MinMax.fit(places)
    controllers = PrimitiveControllers.open_loop(places[:, :1], places)
    policy = EmpiricalDeconvolution(episodes, controllers, scale, sigma=SIGMA, horizon=1)
    chosen = torch.randint(24, (1000,), generator=stream(0, "rows"))
    states, replicas = planned_replicas(policy, places[chosen][:, None], scale, rng=stream(0, "plan"))
    found = replica_check(states, replicas, sigma=SIGMA, rng=stream(0, "check"))
    assert not found.exceeded
    assert found.p_value > 0.01
    assert not torch.equal(states, replicas)
    assert replica_check(states, replicas, sigma=SIGMA / 8, rng=stream(0, "check")).exceeded


def test_a_trained_policy_can_be_checked(tiny_planner, demos):
    chosen = torch.randint(len(demos.states), (100,), generator=stream(0, "rows"))
    windows = demos.states[chosen][:, None].repeat(1, 2, 1)
    scale = tiny_planner.observation_scale
    states, replicas = planned_replicas(Smoothed(tiny_planner, sigma=0.1), windows, scale, rng=stream(0, "plan"))
    assert torch.allclose(states, scale.normalize(demos.states[chosen]))
    found = replica_check(states, replicas, sigma=0.1, rng=stream(0, "check"))
    assert found.exceeded, "forty updates teach nothing: what it imagines is far from where it stands"


def test_bad_input_is_refused(gaussian, mixture):
    x = gaussian(0, 80, 2)
    with pytest.raises(DataError, match=r"79 pairs .* at least 80"):
        replica_check(x[:79], x[:79], sigma=1.0, rng=stream(0, "c"))
    with pytest.raises(RecipeError, match="sigma > 0"):
        replica_check(x, x, sigma=0.0, rng=stream(0, "c"))
    with pytest.raises(DataError, match="not finite"):
        replica_check(x, x / 0.0, sigma=1.0, rng=stream(0, "c"))
    with pytest.raises(RecipeError, match="with sum 1"):
        GaussianMixture(torch.tensor([0.5]), torch.zeros(1, 2), torch.ones(1))

    class OpenLoop:
        def plan(self, window, *, rng, prefix=None):
            window = window.vector
            return PrimitiveControllers.open_loop(window[:, :, :1], torch.zeros_like(window[..., : self.n]))

    policy = OpenLoop()
    for policy.n, message in ((2, "codec Affine"), (1, "observations that are the states")):
        with pytest.raises(RecipeError, match=message):
            planned_replicas(policy, x[:, None], MinMax.fit(x), rng=stream(0, "p"))


def test_the_tail_counts_distances_above_two_sigma_tau():
    """Of 100 pairs at σ = ½, 30 are 0.9 apart, 20 are 1.5 and 10 are 3: beyond 2στ = τ lie 60, 30, 10 and 0."""
    apart = torch.tensor([0.0] * 40 + [0.9] * 30 + [1.5] * 20 + [3.0] * 10).double()
    states = torch.stack([apart, torch.zeros(100).double()], 1)
    thresholds = torch.tensor([0.5, 1.0, 2.0, 4.0]).double()
    found = replica_check(states, torch.zeros_like(states), sigma=0.5, rng=stream(0), thresholds=thresholds)
    assert [share.mean for share in found.tail] == pytest.approx([0.6, 0.3, 0.1, 0.0])
    # in two dimensions P[‖w‖ > τ] = e^(−τ²/2)
    assert found.bound.tolist() == pytest.approx([min(1.0, 2 * math.exp(-(tau**2) / 2)) for tau in (0.5, 1, 2, 4)])


def test_the_tail_exceeds_its_bound_from_sixteen_of_a_hundred_on():
    """At a bound of 0.1 the probability of at least 15 far pairs is 0.073, and of at least 16 it is 0.040."""
    at_least = [sum(math.comb(100, k) * 0.1**k * 0.9 ** (100 - k) for k in range(few, 101)) for few in (15, 16)]
    assert at_least[0] > 0.05 > at_least[1]
    for far in (15, 16):
        states = torch.zeros(100, 1, dtype=torch.float64)
        states[:far] = 3.0
        found = replica_check(
            states,
            torch.zeros_like(states),
            sigma=1.0,
            rng=stream(0),
            thresholds=torch.ones(1, dtype=torch.float64),
            noise_tail=lambda tau: 0.05 * tau,
        )
        assert found.bound.tolist() == pytest.approx([0.1])
        assert found.exceeded == (at_least[far - 15] < 0.05)
