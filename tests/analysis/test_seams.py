"""Seams between chunks: planted jumps are found, and only there."""

import pytest
import torch

from holdfast.analysis.chunk_seams import seams
from holdfast.errors import DataError, RecipeError
from holdfast.seeding import stream
from holdfast.types import Trajectory


def rollouts(seed, *, episodes=12, steps=40, period=8, jump=0.0):
    """Actions of smooth noise, with a jump of random sign at every plan; states are their sums."""
    rng = stream(seed, "seams")
    walk = 0.1 * torch.randn(episodes, steps, 2, generator=rng, dtype=torch.float64)
    plans = torch.randint(2, (episodes, steps, 1), generator=rng).double() * 2 - 1
    starts = (torch.arange(steps) % period == 0) & (torch.arange(steps) > 0)
    actions = (walk + jump * plans * starts[:, None]).cumsum(1)
    states = torch.cat([torch.zeros(episodes, 1, 2).double(), actions.cumsum(1)], 1)
    return Trajectory(actions=actions, states=states)


def test_a_smooth_policy_has_no_seams():
    ratios = [seams(rollouts(seed), n_action_steps=8, resamples=100) for seed in range(12)]
    assert sum(one.jump.ratio.low <= 1 <= one.jump.ratio.high for one in ratios) >= 10
    assert sum(one.jerk.ratio.low <= 1 <= one.jerk.ratio.high for one in ratios) >= 10


def test_planted_jumps_are_found():
    found = seams(rollouts(0, jump=2.0), n_action_steps=8, resamples=100)
    assert found.jump.across == pytest.approx(2 * 2**0.5, rel=0.05)
    assert found.jump.inside < 0.2
    assert found.jump.ratio.low > 10
    assert found.velocity.ratio.low > 5
    assert found.jerk.ratio.low > 5
    wrong = seams(rollouts(0, jump=2.0), n_action_steps=7, resamples=100)
    assert wrong.jump.ratio.mean < 2, "seams are looked for where plans begin"


def test_every_difference_is_counted_once():
    """Plans of 8 over 40 steps: 4 seams; a difference of order p across each at p places."""
    found = seams(rollouts(0), n_action_steps=8, resamples=20)
    for order, seam in enumerate((found.jump, found.velocity, found.jerk), start=1):
        assert seam.seams == 12 * 4 * order
        assert seam.seams + seam.steps == 12 * (40 - order)


def test_states_meet_their_seams_a_difference_later():
    """x_{t+1} = x_t + u_t: second differences of states are first differences of actions."""
    simulated = rollouts(0, jump=1.0)
    states, actions = (seams(simulated, n_action_steps=8, signal=of, resamples=50) for of in ("states", "actions"))
    assert states.jump is None
    for one, other in ((states.velocity, actions.jump), (states.jerk, actions.velocity)):
        assert (one.seams, one.steps) == (other.seams, other.steps)
        assert (one.across, one.inside) == pytest.approx((other.across, other.inside))
        assert one.ratio.low == pytest.approx(other.ratio.low)


def test_units():
    simulated = rollouts(0, jump=1.0)
    plain, timed = (seams(simulated, n_action_steps=8, dt=dt, resamples=20) for dt in (None, 0.1))
    assert timed.jerk.across == pytest.approx(1000 * plain.jerk.across)
    assert timed.jerk.ratio.mean == pytest.approx(plain.jerk.ratio.mean)
    half = seams(simulated, n_action_steps=8, scale=torch.tensor([2.0, 2.0]), resamples=20)
    assert half.jump.across == pytest.approx(plain.jump.across / 2)


def test_what_is_over_does_not_count():
    simulated = rollouts(0)
    over = torch.zeros(12, 40, dtype=torch.bool)
    over[:, 20:] = True
    broken = Trajectory(actions=simulated.actions.masked_fill(over[..., None], 1e6), states=simulated.states)
    short = Trajectory(actions=simulated.actions[:, :20], states=simulated.states[:, :21])
    assert seams(broken, n_action_steps=8, over=over) == seams(short, n_action_steps=8)


def test_constant_actions_have_a_ratio_of_one_and_steps_at_seams_alone_an_infinite_one():
    plan = torch.arange(40) // 8
    stairs = plan.double()[None, :, None].expand(12, 40, 1).clone()
    states = torch.zeros(12, 41, 1).double()
    found = seams(Trajectory(actions=stairs, states=states), n_action_steps=8, resamples=20)
    assert (found.jump.across, found.jump.inside, found.jump.ratio.mean) == (1, 0, float("inf"))
    still = seams(Trajectory(actions=0 * stairs, states=states), n_action_steps=8, resamples=20)
    assert (still.jump.ratio.mean, still.jump.ratio.low, still.jump.ratio.high) == (1, 1, 1)


def test_short_plans_and_few_rollouts():
    found = seams(rollouts(0, period=3), n_action_steps=3, resamples=20)
    assert found.velocity is not None
    assert found.jerk is None, "four actions never come of one plan of three"
    with pytest.raises(RecipeError, match="every step is a seam"):
        seams(rollouts(0), n_action_steps=1)
    with pytest.raises(DataError, match=r"9 rollouts .* at least 10"):
        seams(rollouts(0, episodes=9), n_action_steps=8)
    with pytest.raises(DataError, match="Run longer"):
        seams(rollouts(0, steps=6), n_action_steps=8)
