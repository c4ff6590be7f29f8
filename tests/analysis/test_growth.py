"""Growth: planted rates come back, kinds are told apart, and what cannot be said is not."""

import math

import pytest
import torch

from holdfast.analysis.error_growth import growth, growth_of
from holdfast.analysis.perturbation import perturbed_growth
from holdfast.control import scalar
from holdfast.envs import SystemEnvironment, rollout
from holdfast.errors import DataError, RecipeError, ShapeError
from holdfast.seeding import stream
from holdfast.types import Trajectory

T = torch.arange(41, dtype=torch.float64)


def noisy(law, seed, *, episodes=16, spread=0.2):
    """A law times a factor for each episode and noise that persists from step to step, both of median 1."""
    rng = stream(seed, "growth")
    scale = torch.randn(episodes, 1, generator=rng, dtype=torch.float64)
    fresh = torch.randn(episodes, len(law), generator=rng, dtype=torch.float64)
    noise = fresh.clone()
    for step in range(1, len(law)):
        noise[:, step] = 0.8 * noise[:, step - 1] + 0.6 * fresh[:, step]
    return 0.01 * law * (0.4 * scale + spread * noise).exp()


LAWS = {
    "exponential": (1.05**T, 1.05),
    "contracting": (0.93**T, 0.93),
    "linear": (0.2 + 0.1 * T, 0.001),
    "bounded": (T * 0 + 1, None),
}


@pytest.mark.parametrize("kind", list(LAWS))
def test_planted_rates_lie_in_their_intervals(kind):
    law, rate = LAWS[kind]
    found = [growth_of(noisy(law, seed), resamples=40, seed=seed) for seed in range(15)]
    assert sum(one.kind == kind for one in found) >= 12
    inside = [one.rate.low <= rate <= one.rate.high for one in found if rate and one.kind == kind]
    levels = [one.level.low <= 0.01 <= one.level.high for one in found if kind == "bounded" and one.kind == kind]
    covered = inside or levels
    assert sum(covered) >= 0.8 * len(covered)
    assert not {one.kind for one in found} & {"exponential": {"contracting", "bounded"}, "contracting": {"linear"}}.get(
        kind, {"exponential", "contracting"}
    )


def exact(law):
    return law.expand(12, len(law)).clone()


@pytest.mark.parametrize(
    ("law", "kind", "rate"),
    [
        (1e-3 * (1.05**T - 1) / 0.05, "exponential", 1.05),  # the slides' learner, which errs by 1e-3 a step
        (1.05**T, "exponential", 1.05),
        (0.93**T, "contracting", 0.93),
        (0.8**T + 0.1, "contracting", 0.8),
        (0.01 * T, "linear", 0.01),
        (T.clamp(max=1), "bounded", None),
        (1 - 0.8**T, "bounded", None),
        (0 * T, "floor", None),
        ((T < 3).double(), "contracting", None),
        (T.sqrt(), "unclear", None),
    ],
)
def test_exact_curves(law, kind, rate):
    found = growth_of(exact(law), resamples=20)
    assert found.kind == kind
    if rate is not None:
        assert found.rate.mean == pytest.approx(rate, abs=2e-4)
        assert found.rate.high - found.rate.low < 1e-4
    if kind in ("exponential", "linear"):
        fitted = found.fitted[found.window[0] :]
        assert torch.allclose(fitted, law[found.window[0] :], rtol=3e-3)


def test_levels_are_told():
    assert growth_of(exact(2 * (1 - 0.8**T))).level.mean == pytest.approx(2, rel=1e-3)
    assert growth_of(exact(0.8**T + 0.1)).level.mean == pytest.approx(0.1, rel=1e-3)
    assert growth_of(exact(T * 0 + 3)).level.mean == pytest.approx(3)


def test_growth_ends_where_it_saturates():
    """A logistic curve: the rise is fitted, the plateau left out; a ceiling does the same by hand."""
    law = 1 / (1 + 400 * 1.5**-T)
    found = growth_of(noisy(law, 0, spread=0.02), resamples=40)
    assert found.kind == "exponential"
    assert found.rate.mean == pytest.approx(1.5, abs=0.03)
    assert 8 < found.window[1] < 20
    capped = growth_of(exact(law), ceiling=0.2, resamples=20)
    assert capped.kind == "exponential"
    assert int(capped.saturated[-1]) == 12
    assert torch.isinf(capped.bands[1, -1])
    assert torch.isnan(capped.fitted[-1])


def test_lost_episodes_count_as_infinitely_far():
    error = noisy(LAWS["exponential"][0], 3)
    lost = torch.zeros(16, 41, dtype=torch.bool)
    lost[:4, 20:] = True
    some = growth_of(error.masked_fill(lost, torch.nan), lost=lost, resamples=40)
    assert some.lost[-1] == 4
    assert torch.isinf(some.error[lost]).all()
    assert torch.isinf(some.bands[2, -1])
    assert torch.isfinite(some.bands[1]).all()
    assert some.window == (0, 40)
    assert some.kind == "exponential"
    lost[:9, 30:] = True
    many = growth_of(error, lost=lost, resamples=40)
    assert many.window == (0, 29)
    assert torch.isinf(many.bands[1, 30:]).all()
    lost[:, 5:] = True
    none = growth_of(error, lost=lost)
    assert (none.kind, none.rate) == ("unclear", None)
    assert "only 5 steps" in none.reason


def test_the_median_is_that_of_the_sorted_episodes():
    """Eleven episodes at 1 … 11, two of them lost, then one over: sixth of eleven, fifth and sixth of ten."""
    error = torch.arange(1.0, 12).double()[:, None].expand(11, 20).clone()
    lost, over = torch.zeros(11, 20, dtype=torch.bool), torch.zeros(11, 20, dtype=torch.bool)
    lost[:2, 5:] = True
    over[5, 10:] = True
    bands = growth_of(error, lost=lost, over=over).bands
    assert bands[:, 0].tolist() == pytest.approx([2, 6, 10])
    assert bands[1, 5:11].tolist() == pytest.approx([8, 8, 8, 8, 8, 8.5])
    assert torch.isinf(bands[2, 5:]).all()


def test_loops_are_compared_from_equal_starts():
    """Expert u = 0 and the slides' learner u = .15 x + ε on x' = .9 x + u, by rollouts."""
    system = scalar()
    starts = torch.zeros(10, 1).double()
    expert, learner = (
        rollout(Law(*law), SystemEnvironment(system, steps=60), starts=starts) for law in ((0.0, 0.0), (0.15, 1e-3))
    )
    found = growth(expert.trajectory, learner.trajectory, lost=learner.lost)
    assert found.kind == "exponential"
    assert found.rate.mean == pytest.approx(1.05, abs=2e-3)
    assert found.error[0, 2] == pytest.approx(1e-3 * 2.05)
    assert growth(expert.trajectory, expert.trajectory).kind == "floor"
    away = Trajectory(actions=expert.trajectory.actions, states=expert.trajectory.states + 0.5)
    with pytest.raises(DataError, match=r"initial states differ: .* by 0\.5"):
        growth(expert.trajectory, away)


class Law:
    """u = slope · x + offset, and noise of its own."""

    def __init__(self, slope, offset, noise=0.0):
        self.slope, self.offset, self.noise = slope, offset, noise
        self.rng = stream(0, "law")

    def reset(self, seed=None):
        if seed is not None:
            self.rng = stream(seed, "law")

    def act(self, observation, state):
        drawn = torch.randn(state.shape, generator=self.rng, dtype=state.dtype)
        return self.slope * state + self.offset + self.noise * drawn


@pytest.mark.parametrize("at", [0, 7])
def test_a_push_dies_or_grows_at_the_loops_own_rate(at):
    """Whatever the noise, which both rollouts share: .9 + k to the power of the steps since the push."""
    system, starts = scalar(), torch.linspace(-1, 1, 12).double()[:, None]

    def rollouts(policy):
        return lambda x, w: rollout(policy, SystemEnvironment(system, steps=40), starts=x, disturbance=w, seed=3)

    for slope, kind in ((-0.2, "contracting"), (0.1 + 0.04, "exponential")):
        found = perturbed_growth(
            rollouts(Law(slope, 0.2, noise=0.05)),
            starts,
            steps=40,
            size=1e-2,
            at=at,
            rng=stream(0, "push"),
        )
        assert found.kind == kind
        assert found.rate.mean == pytest.approx(0.9 + slope, abs=1e-4)
        assert found.bands[1, at] == pytest.approx(1)
        assert found.bands[1, at + 5] == pytest.approx((0.9 + slope) ** 5)
        assert found.window[0] == at


def test_rollouts_that_do_not_repeat_are_noticed():
    system, policy, seeds = scalar(), Law(0.0, 0.0, noise=0.1), iter(range(9))

    def forgetful(x, w):
        return rollout(policy, SystemEnvironment(system, steps=20), starts=x, disturbance=w, seed=next(seeds))

    starts = torch.zeros(10, 1).double()
    push = {"steps": 20, "rng": stream(0, "p")}
    with pytest.raises(DataError, match="before the perturbation"):
        perturbed_growth(forgetful, starts, size=0.1, at=5, **push)
    for wrong in ({"size": 0.0}, {"size": 0.1, "at": 20}, {"size": 0.1, "direction": torch.zeros(1)}):
        with pytest.raises(RecipeError, match=r"perturb|expected a size"):
            perturbed_growth(forgetful, starts, **wrong, **push)


def test_episodes_that_end_count_no_more():
    error = exact(1.05**T)
    over = torch.zeros(12, 41, dtype=torch.bool)
    over[:5, 15:] = True
    found = growth_of(error.masked_fill(over, torch.nan), over=over, resamples=20)
    assert found.rate.mean == pytest.approx(1.05)
    assert (int(found.over[-1]), int(found.lost[-1]), found.window) == (5, 0, (0, 40))
    over[:8, 30:] = True
    assert growth_of(error, over=over, resamples=20).window == (0, 29)


def test_too_little_is_refused():
    error = exact(1.05**T)
    with pytest.raises(DataError, match=r"9 rollouts are too few .* at least 10"):
        growth_of(error[:9])
    with pytest.raises(DataError, match=r"7 steps are too few .* at least 8"):
        growth_of(error[:, :7])
    for wrong in (torch.nan, torch.inf, -1.0):
        broken = error.clone()
        broken[3, 5] = wrong
        with pytest.raises(DataError, match="Mark the others as lost"):
            growth_of(broken)
    one = Trajectory(actions=torch.zeros(10, 9, 1), states=torch.zeros(10, 10, 1))
    two = Trajectory(actions=torch.zeros(10, 8, 1), states=torch.zeros(10, 9, 1))
    with pytest.raises(ShapeError, match="equal numbers of episodes and steps"):
        growth(one, two)


def test_equal_seeds_give_equal_intervals():
    error = noisy(LAWS["exponential"][0], 1)
    first, again, other = (growth_of(error, seed=seed, resamples=40).rate for seed in (0, 0, 1))
    assert first == again
    assert first != other
    assert math.isfinite(first.mean)
