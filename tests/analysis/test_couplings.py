"""Couplings: linear programs, closed forms, planted couplings, invariance, intervals by simulation, errors."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.optimize import linprog
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import maximum_bipartite_matching

from holdfast.analysis.couplings import PairedRollouts, expert_floor, imitation_losses
from holdfast.analysis.imitation_intervals import bootstrap_over_starts, permutation_test, population_intervals
from holdfast.analysis.matching import pairwise, total_variation, wasserstein
from holdfast.analysis.sample_bounds import total_variation_interval, wasserstein_interval
from holdfast.errors import DataError, RecipeError, ShapeError
from holdfast.seeding import stream
from holdfast.types import Trajectory

EPSILONS = [0.1, 0.3, 0.8, 2.0]


def normal(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=stream(seed, "couplings"))


def rollouts(seed, starts=2, k=12, steps=3, push=0.0):
    """A random walk in the plane under noisy inputs, pushed along the first axis."""
    actions = 0.3 * normal(starts, k, steps, 2, seed=seed)
    actions[..., 0] += push
    first = torch.arange(starts, dtype=torch.float64)[:, None, None, None].expand(-1, k, 1, 2)
    return Trajectory(actions=actions, states=torch.cat([first, first + actions.cumsum(dim=2)], dim=2))


@pytest.fixture
def paired():
    return PairedRollouts(expert=rollouts(1), policy=rollouts(2, push=0.2))


def least_cost(costs):
    """inf E c over the couplings of two even laws, as a linear program over all pairs."""
    k = len(costs)
    margins = np.vstack([np.kron(np.eye(k), np.ones(k)), np.kron(np.ones(k), np.eye(k))])
    return linprog(np.asarray(costs, dtype=float).ravel(), A_eq=margins, b_eq=np.full(2 * k, 1 / k)).fun


def of_shifted_gaussians(shift, epsilon, sigma=1.0):
    """Total variation of N(0, σ²) and N(shift − ε, σ²), by integrating the densities' overlap."""
    gap = max(shift - epsilon, 0.0)
    grid = torch.linspace(-12 * sigma, 12 * sigma + gap, 200_001, dtype=torch.float64)
    densities = [torch.distributions.Normal(mean, sigma).log_prob(grid).exp() for mean in (0.0, gap)]
    return 1 - float(torch.trapezoid(torch.minimum(*densities), grid))


@pytest.mark.parametrize("k", [1, 2, 7])
@pytest.mark.parametrize("dims", [1, 3])
def test_matching_and_w1_are_linear_programs(k, dims):
    distances = pairwise(normal(k, dims, seed=k), normal(k, dims, seed=k + 1) + 0.3)
    levels = [*EPSILONS, float(distances.median())]
    expected = [least_cost((distances > level).double()) for level in levels]
    assert total_variation(distances, levels).tolist() == pytest.approx(expected, abs=1e-9)
    assert float(wasserstein(distances)) == pytest.approx(least_cost(distances), abs=1e-9)


@pytest.mark.parametrize("density", [0.01, 0.03, 0.1, 0.9])
def test_matching_is_that_of_scipy_on_larger_graphs(density):
    near = torch.rand(150, 150, generator=stream(0, "graph")) < density
    found = (maximum_bipartite_matching(csr_matrix(near.numpy())) >= 0).sum()
    assert float(total_variation(1.0 - near.double(), [0.5])) == pytest.approx(1 - found / 150, abs=1e-12)


def test_matching_of_a_chain_needs_the_longest_path():
    """Row i reaches columns i and i + 1, the last row the first column alone: all must move over by one."""
    k = 400
    distances = torch.full((k, k), 9.0)
    distances[torch.arange(k), torch.arange(k)] = distances[torch.arange(k - 1), torch.arange(1, k)] = 0.0
    distances[-1] = 9.0
    distances[-1, 0] = 0.0
    assert float(total_variation(distances, [1.0])) == 0.0
    distances[-1, 0] = 9.0
    assert float(total_variation(distances, [1.0])) == pytest.approx(1 / k)


def test_distances_keep_their_last_digits_and_wrap_with_the_system():
    far = 1e6 + normal(40, 3)
    by_hand = (far[:, None] - far).square().sum(dim=-1).sqrt()
    torch.testing.assert_close(pairwise(far, far), by_hand, rtol=1e-12, atol=0.0)

    def wrapped(x, y):
        return torch.remainder(x - y + math.pi, 2 * math.pi) - math.pi

    assert float(pairwise(torch.tensor([[3.1]]), torch.tensor([[-3.1]]), wrapped)) == pytest.approx(0.0832, abs=1e-4)
    stretched = pairwise(far, far, lambda x, y: x - y, torch.tensor([2.0, 0.0, 1.0]))
    torch.testing.assert_close(stretched, (by_hand.new_tensor([2.0, 0, 1]) * (far[:, None] - far)).norm(dim=-1))


def test_planted_coupling_is_found_exactly():
    """Of 40 policy rollouts 30 are the expert's moved by less than ε, shuffled; the others are far from everything."""
    k, planted = 40, 30
    expert = rollouts(0, starts=1, k=k)
    move = torch.tensor([0.06, 0.0]).double()
    actions, states = expert.actions + move, expert.states.clone()
    states[:, :, 1:] += move
    actions[:, planted:, 1], states[:, planted:, 2] = 50.0, 70.0
    order = torch.randperm(k, generator=stream(0, "order"))
    policy = Trajectory(actions=actions[:, order], states=states[:, order])
    losses = imitation_losses(PairedRollouts(expert=expert, policy=policy), [0.0625, 200.0])
    assert losses.marginal[0].tolist() == [0.0, 0.25, 0.0]
    assert (losses.worst[0], losses.final[0], losses.joint[0]) == (0.25, 0.0, 0.25)
    assert losses.worst[1] == losses.joint[1] == 0.0
    assert imitation_losses(PairedRollouts(expert=expert, policy=policy), [1e-6]).worst == 1.0


def test_losses_by_hand():
    """One start, two rollouts: the pairing that is best for the first step is worst for the second."""
    expert = torch.tensor([[0.0, 0.0], [1.0, 1.0]])[None, :, :, None]
    policy = torch.tensor([[0.0, 1.0], [1.0, 0.0]])[None, :, :, None]
    one, other = (
        Trajectory(actions=torch.zeros(1, 2, 2, 1), states=torch.cat([torch.zeros(1, 2, 1, 1), x], dim=2))
        for x in (expert, policy)
    )
    losses = imitation_losses(PairedRollouts(expert=one, policy=other), [0.5, 1.0])
    assert losses.worst.tolist() == [0, 0]
    assert losses.joint.tolist() == [1, 0]
    assert losses.w1.tolist() == [0, 0]
    acted = replace(other, actions=torch.full((1, 2, 2, 1), 0.75))
    losses = imitation_losses(PairedRollouts(expert=one, policy=acted), [0.5, 1.0])
    # the actions differ everywhere; the final states not at all
    assert losses.worst.tolist() == [1, 0]
    assert losses.final.tolist() == [0, 0]
    assert losses.w1.tolist() == [0.75, 0.75]


def test_losses_are_in_order_symmetric_and_blind_to_names(paired):
    losses = imitation_losses(paired, EPSILONS)
    assert (losses.final <= losses.worst).all()
    assert (losses.worst <= losses.joint).all()
    assert (losses.marginal.diff(dim=0) <= 0).all()
    assert 0 < losses.worst[1] < 1
    mirrored = imitation_losses(replace(paired, expert=paired.policy, policy=paired.expert), EPSILONS)
    order = torch.randperm(12, generator=stream(0, "names"))
    shuffled = Trajectory(actions=paired.policy.actions[:, order], states=paired.policy.states[:, order])
    renamed = imitation_losses(replace(paired, policy=shuffled), EPSILONS)
    for other in (mirrored, renamed):
        assert torch.equal(losses.marginal, other.marginal)
        assert torch.equal(losses.joint, other.joint)
    # Markov's inequality, for the one coupling that is best for the mean
    assert (losses.w1 / losses.epsilons[:, None] >= losses.marginal - 1e-12).all()


def test_a_loss_is_the_mean_over_its_starts(paired):
    whole = imitation_losses(paired, EPSILONS)
    parts = list[torch.Tensor]()
    for start in (slice(0, 1), slice(1, 2)):
        one, other = (
            Trajectory(actions=t.actions[start], states=t.states[start]) for t in (paired.expert, paired.policy)
        )
        parts.append(imitation_losses(PairedRollouts(expert=one, policy=other), EPSILONS).marginal)
    torch.testing.assert_close(whole.marginal, (parts[0] + parts[1]) / 2)


def test_lost_rollouts_are_counted_and_match_lost_ones_only(paired):
    lost = torch.zeros(2, 12, 3, dtype=torch.bool)
    lost[0, :3, 1] = True  # and from then on
    losses = imitation_losses(replace(paired, lost=lost), [1e6])
    assert losses.lost.tolist() == [0, 3, 3]
    assert losses.diverged == 3
    assert losses.marginal[0].tolist() == pytest.approx([0, 0.125, 0.125])
    assert losses.final == losses.joint == pytest.approx(0.125)
    assert losses.w1[0].isfinite()
    assert losses.w1[1:].isinf().all()
    both = imitation_losses(replace(paired, lost=lost, expert_lost=lost), [1e6])
    assert both.worst == 0
    assert both.w1.isfinite().all()
    assert both.expert_lost.tolist() == [0, 3, 3]
    broken = paired.policy.states.clone()
    broken[0, :3, 2:] = torch.nan
    found = imitation_losses(replace(paired, policy=replace(paired.policy, states=broken)), EPSILONS)
    assert torch.equal(found.marginal, imitation_losses(replace(paired, lost=lost), EPSILONS).marginal)


def test_intervals_with_lost_rollouts_count_them():
    """Half of the policy's rollouts are lost: no ε is so large that they match."""
    lost = (torch.arange(40) >= 20)[None, :, None].expand(2, 40, 3)
    paired = PairedRollouts(expert=rollouts(1, k=40), policy=rollouts(2, k=40), lost=lost)
    found = population_intervals(paired, imitation_losses(paired, [1e3]))
    for (estimate,) in (found.worst, found.final, found.joint):
        assert estimate.mean == 0.5
        assert 0.1 < estimate.low < 0.5 < estimate.high < 0.8


def test_w1_with_lost_ones_is_that_of_the_others():
    distances = pairwise(normal(6, 2), normal(6, 2, seed=1))
    with_lost = torch.full((7, 7), torch.inf, dtype=torch.float64)
    with_lost[:6, :6], with_lost[6, 6] = distances, 0.0
    assert float(wasserstein(with_lost)) == pytest.approx(float(wasserstein(distances)) * 6 / 7)


def test_closed_forms_lie_in_the_intervals_of_two_thousand_samples():
    x = normal(4000, 1)
    x[2000:] += 1.0
    pooled = pairwise(x, x)
    for epsilon, found in zip((0.25, 0.9), total_variation_interval(pooled, (0.25, 0.9)), strict=True):
        truth = of_shifted_gaussians(1.0, epsilon)
        assert truth == pytest.approx(math.erf((1 - epsilon) / 8**0.5), abs=1e-6)
        assert found.low <= truth <= found.high
        assert found.high - found.low < 0.17
    distance = wasserstein_interval(pooled)
    assert distance.low <= 1.0 <= distance.high
    assert distance.high - distance.low < 0.22
    ordered = x.reshape(2, 2000).sort(dim=1).values
    assert distance.mean == pytest.approx(float((ordered[0] - ordered[1]).abs().mean()))


def test_the_upper_end_of_w1_by_hand():
    """Seven samples at 0 and seven at 1 of one law, and 10 beside them of the other, so that W₁ is 10.

    Efron and Stein: replacing sample i moves W₁ by at most d / k, so that its variance is at most ½ Σ_i E d² / k². Of
    two samples of one law d² is 1 for 98 of 182 ordered pairs, and there are 28 samples.
    """
    points = torch.tensor([0.0, 1.0] * 7 + [10.0, 11.0] * 7, dtype=torch.float64)[:, None]
    found = wasserstein_interval(pairwise(points, points))
    variance = 28 * (98 / 182) / 14**2 / 2
    assert found.mean == pytest.approx(10)
    assert found.high == pytest.approx(10 + 1.959964 * variance**0.5)


def repeated(draw, k, epsilon, truth, repetitions=250):
    """Share of repetitions below and above whose interval the truth is, and the mean width."""
    below = above = width = 0.0
    for repetition in range(repetitions):
        x = draw(torch.rand(2 * k, 1, dtype=torch.float64, generator=stream(repetition, "repeated")), k)
        (found,) = total_variation_interval(pairwise(x, x), [epsilon], seed=repetition)
        below, above = below + (truth < found.low), above + (truth > found.high)
        width += found.high - found.low
    return below / repetitions, above / repetitions, width / repetitions


def test_intervals_cover():
    """Gaussians, where matching is biased, and coins, where it is not and the interval alone must cover."""

    def gaussians(u, k):
        return torch.special.ndtri(u) + 3.0 * (torch.arange(2 * k) >= k)[:, None]

    def coins(u, k):
        return (u < torch.where(torch.arange(2 * k) < k, 0.3, 0.6)[:, None]).double()

    for draw, truth in ((gaussians, of_shifted_gaussians(3.0, 0.5)), (coins, 0.3)):
        below, above, width = repeated(draw, 24, 0.5, truth)
        assert below + above <= 0.07
        assert width < 0.9


def test_population_intervals_hold_the_losses_of_the_laws():
    """At step t positions are N(0, 0.09 t) and N(0.4 t, 0.09 t): the last step is the worst, and the final one."""
    k, steps, epsilon, held = 30, 2, 0.3, 0
    truth = of_shifted_gaussians(0.4 * steps, epsilon, 0.3 * steps**0.5)
    for seed in range(25):
        expert, policy = (
            Trajectory(actions=torch.zeros(4, k, steps, 1), states=t.states[..., :1])
            for t in (rollouts(2 * seed, 4, k, steps), rollouts(2 * seed + 1, 4, k, steps, push=0.4))
        )
        paired = PairedRollouts(expert=expert, policy=policy)
        found = population_intervals(paired, imitation_losses(paired, [epsilon]), seed=seed)
        assert found.worst[0].low <= found.worst[0].mean <= found.joint[0].high
        held += all(e.low <= truth <= e.high for e in (found.worst[0], found.final[0]))
    assert held >= 23
    assert found.worst[0].low > 0
    assert found.worst[0].high < 1


def test_floor_is_what_a_perfect_policy_would_get(paired):
    floor = expert_floor(paired, EPSILONS)
    assert floor.samples == 6
    halves = [Trajectory(actions=t.actions[:, part], states=t.states[:, part])
              for t in (paired.expert,) for part in (slice(0, 6), slice(6, 12))]  # fmt: skip
    by_hand = imitation_losses(PairedRollouts(expert=halves[0], policy=halves[1]), EPSILONS)
    assert torch.equal(floor.marginal, by_hand.marginal)
    perfect = expert_floor(paired, EPSILONS, second=paired.expert)
    assert not perfect.joint.any()
    assert not perfect.w1.any()
    assert expert_floor(paired, EPSILONS, second=rollouts(3)).worst[0] > 0


def test_bias_falls_with_more_rollouts():
    """Mean loss of one law against itself, at 4, 16 and 64 samples."""
    losses = [
        float(np.mean([total_variation(pairwise(*normal(2, k, 1, seed=s)), [0.2]) for s in range(30)]))
        for k in (4, 16, 64)
    ]
    assert losses[0] > losses[1] + 0.1
    assert losses[1] > losses[2] + 0.05


def test_permutation_test_separates_the_expert_from_another_policy():
    same = PairedRollouts(expert=rollouts(1), policy=rollouts(2))
    other = PairedRollouts(expert=rollouts(1), policy=rollouts(2, push=0.6))
    for paired, differs in ((same, False), (other, True)):
        losses = imitation_losses(paired, [0.6, 0.9])
        found = permutation_test(paired, losses, rng=stream(0, "relabel"), permutations=39)
        assert bool((found.worst <= 0.025).all()) == differs
        assert all((value > null.high) == differs for value, null in zip(losses.worst, found.null.worst, strict=True))
        assert all(null.low <= null.mean <= null.high for null in found.null.joint)


def test_permutation_test_has_its_nominal_error_rate():
    """p ≤ 0.1 comes up in at most a tenth of the cases where policy and expert are one law."""
    alarms = 0
    for seed in range(60):
        paired = PairedRollouts(expert=rollouts(2 * seed, 1, 6, 1), policy=rollouts(2 * seed + 1, 1, 6, 1))
        found = permutation_test(paired, imitation_losses(paired, [0.3]), rng=stream(seed, "alarm"), permutations=39)
        alarms += bool(found.worst <= 0.1)
    assert alarms <= 12


def test_intervals_over_starts_are_those_of_a_mean():
    paired = PairedRollouts(expert=rollouts(1, 60, 8, 1), policy=rollouts(2, 60, 8, 1, push=0.3))
    losses = imitation_losses(paired, [0.3])
    (found,) = bootstrap_over_starts(losses).final
    assert found.mean == losses.final
    half = 1.96 * float(losses.final_per_start.std()) / 60**0.5
    assert (found.high - found.low) / 2 == pytest.approx(half, rel=0.1)
    (worst,) = bootstrap_over_starts(losses).worst
    assert worst.low <= losses.worst <= worst.high


@pytest.mark.parametrize("epsilons", [[0.0], [0.1, -1.0], [float("nan")], [float("inf")], []])
def test_epsilons_of_zero_or_below_are_refused(paired, epsilons):
    with pytest.raises(RecipeError, match="epsilon above zero"):
        imitation_losses(paired, epsilons)


def test_other_initial_states_are_refused(paired):
    moved = paired.policy.states.clone()
    moved[1, 3] += 0.01
    with pytest.raises(DataError, match=r"differ by up to 0\.01 among the rollouts of start 1 \(1 of 2"):
        replace(paired, policy=replace(paired.policy, states=moved))
    moved[0] = torch.nan
    with pytest.raises(DataError, match="roll both out from it"):
        replace(paired, policy=replace(paired.policy, states=moved))


def test_unequal_rollouts_are_refused(paired):
    with pytest.raises(ShapeError, match="as many of the policy as of the expert"):
        PairedRollouts(expert=paired.expert, policy=rollouts(2, k=11))
    with pytest.raises(ShapeError, match="one flag per step"):
        replace(paired, lost=torch.zeros(2, 12, 4, dtype=torch.bool))
    with pytest.raises(ShapeError, match="one per state coordinate"):
        replace(paired, weights=torch.ones(3))
    with pytest.raises(ShapeError, match="equally many"):
        total_variation(torch.zeros(2, 3), [1.0])
    with pytest.raises(DataError, match="NaN"):
        total_variation(torch.full((2, 2), torch.nan), [1.0])
    with pytest.raises(ShapeError, match="of others"):
        population_intervals(
            paired, imitation_losses(PairedRollouts(expert=rollouts(1, k=4), policy=rollouts(2, k=4)), [1.0])
        )


def test_too_few_rollouts_say_how_many_would_do():
    def of(starts, k):
        paired = PairedRollouts(expert=rollouts(1, starts, k), policy=rollouts(2, starts, k))
        return paired, imitation_losses(paired, [0.1])

    # C(8, 4) / 2 = 35 ways are fewer than the 40 of which one is 2.5 %
    with pytest.raises(RecipeError, match=r"in only 35 ways.*Take 5 or more"):
        permutation_test(*of(1, 4), rng=stream(0, "x"))
    permutation_test(*of(1, 5), rng=stream(0, "x"), permutations=39)
    with pytest.raises(RecipeError, match=r"in only 9 ways.*Take 3 or more"):
        permutation_test(*of(2, 2), rng=stream(0, "x"))
    with pytest.raises(RecipeError, match="Take 39 or more"):
        permutation_test(*of(2, 5), rng=stream(0, "x"), permutations=38)
    # seven counted rollouts of each kind: 2 · 0.0125^(1/7) > 1
    with pytest.raises(RecipeError, match="Take 14 or more"):
        population_intervals(*of(1, 13))
    with pytest.raises(RecipeError, match="Take 6 or more"):
        population_intervals(*of(3, 5))
    with pytest.raises(RecipeError, match="Take 4 or more"):
        bootstrap_over_starts(of(3, 5)[1])
    with pytest.raises(RecipeError, match="at least 2 rollouts"):
        expert_floor(of(3, 1)[0], [0.1])


def test_the_fewest_rollouts_can_tell_laws_apart():
    x = torch.cat([torch.zeros(14, 1), torch.ones(14, 1)])
    (found,) = total_variation_interval(pairwise(x, x), [0.5])
    assert found.low == pytest.approx(2 * 0.0125 ** (1 / 7) - 1)
    assert found.low > 0
    assert found.high == 1.0
