"""Bounds against what is measured, on systems where every ingredient has a closed form.

Expert and policy act by Gaussians of one spread whose means differ, on linear systems: all laws are Gaussian, TV_ε of
two Gaussians shifted by δ is 2Φ((|δ| − ε)/2s) − 1, and any halfspace gives a lower bound on L_marg,ε.
"""

import math

import numpy as np
import pytest
import torch
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import maximum_bipartite_matching
from scipy.spatial.distance import cdist
from scipy.stats import norm

from holdfast.analysis.bounds import Bound, contractive_bound, regret_bound, tvc_bound, tvc_tolerance
from holdfast.analysis.chunk_bounds import AffineLoop, theorem1_bound, theorem2_bound
from holdfast.analysis.raw_units import in_raw_units
from holdfast.control import Dare, double_integrator, synthesize
from holdfast.control.contraction_rates import Metric
from holdfast.control.incremental import incremental_stability, incremental_stability_along
from holdfast.data import MinMax
from holdfast.errors import RecipeError, ShapeError
from holdfast.evaluation.intervals import Estimate, rate
from holdfast.types import Trajectory

EPS = (0.03, 0.1, 0.3, 1.0)


def shifted(gap, eps, spread):
    """TV_ε of two Gaussians of one spread whose means are `gap` apart; spread 0 is a point."""
    if spread == 0:
        return float(gap > eps)
    return max(0.0, 2 * norm.cdf((gap - eps) / (2 * spread)) - 1)


def halflines(laws, eps):
    """sup over halflines of P(A) − Q(A^ε), both ways, of rows (mean, spread, mean', spread')."""
    m, s, n, r = (column[:, None] for column in np.array(laws).T)
    low, high = np.minimum(m, n) - 4 * np.maximum(s, r), np.maximum(m, n) + 4 * np.maximum(s, r)
    cuts = low + (high - low) * np.linspace(0, 1, 400)
    found = [
        norm.cdf(sign * (cuts - p) / q) - norm.cdf((sign * (cuts - p_) + eps) / q_)
        for p, q, p_, q_ in ((m, s, n, r), (n, r, m, s))
        for sign in (1, -1)
    ]
    return max(0.0, float(np.max(found)))


def matched(x, y, eps):
    """Share of samples that no pairing brings within eps, `x` and `y` as lists of parts compared by the largest."""
    apart = np.max([cdist(a, b) for a, b in zip(x, y, strict=True)], 0)
    return float((maximum_bipartite_matching(csr_matrix(apart <= eps)) < 0).mean())


def test_contractive_bound_is_attained_by_a_scalar_system():
    for a, steps in ((0.9, 50), (1.0, 7), (1.05, 40)):
        x = y = 0.0
        for _ in range(steps):
            x, y = a * x + 0.0, a * y + 0.1
        bound = contractive_bound(a, 1.0, 0.1, steps=steps, measured=abs(x - y))
        assert bound.ratio == pytest.approx(1)
    assert contractive_bound(0.9, 1.0, 0.1).value == pytest.approx(1.0)
    endless = contractive_bound(1.05, 1.0, 0.1)
    assert endless.value == math.inf
    assert "α < 1, but α = 1.05" in str(endless)


def test_tvc_tolerance_by_hand():
    assert tvc_tolerance(0.5, 0.75, 0.5) == pytest.approx(0.25)
    assert tvc_tolerance(0.5, 0.1, 0.3) == 0.5  # states follow more closely than actions
    assert tvc_tolerance(0.5, 1.0, 0.3) == 0


def scalar_gaps(a, k, spread, bias, steps):
    """Gap of means and spread of the actions and of the states that follow: x' = a x + u, u ~ N(k x, s²) (+ bias)."""
    gap, variance, found = 0.0, 0.0, []
    for _ in range(steps):
        found.append((k * gap + bias, math.sqrt(k**2 * variance + spread**2)))
        gap, variance = (a + k) * gap + bias, (a + k) ** 2 * variance + spread**2
        found.append((gap, math.sqrt(variance)))
    return found


@pytest.mark.parametrize("spread", [0.1, 0.5, 2.0])
@pytest.mark.parametrize("steps", [2, 10, 50])
def test_tvc_bound_on_scalar_systems(spread, steps):
    tight = []
    for a, k in ((0.5, 0.2), (0.9, -0.3), (0.9, 0.05), (-0.7, 0.1)):
        for bias in (0.003, 0.03, 0.3):
            for eps in EPS:
                bound = tvc_bound(
                    eps,
                    alpha=abs(a),
                    beta=1.0,
                    steps=steps,
                    modulus=lambda r, k=k: shifted(abs(k) * r, 0, spread),
                    policy_error=lambda tolerance, bias=bias: steps * shifted(bias, tolerance, spread),
                    measured=max(shifted(gap, eps, s) for gap, s in scalar_gaps(a, k, spread, bias, steps)),
                )
                assert bound.holds, (a, k, bias, eps, bound)
                tight.append((bound.value, bound.measured))
    assert any(measured > 0.01 and value < 1 for value, measured in tight)


def test_tvc_bound_above_matched_rollouts():
    """The same on rollouts: optimal matching of 800 final states and actions, which errs upwards."""
    rng, a, k, spread, bias, steps, count = np.random.default_rng(0), 0.5, 0.1, 1.0, 0.1, 5, 800
    x, y = np.ones((2, count))
    for _ in range(steps):
        u, v = k * x + spread * rng.normal(size=count), k * y + bias + spread * rng.normal(size=count)
        x, y = a * x + u, a * y + v
    eps = 0.5
    measured = matched((x[:, None], u[:, None]), (y[:, None], v[:, None]), eps)
    bound = tvc_bound(
        eps,
        alpha=a,
        beta=1.0,
        steps=steps,
        modulus=lambda r: shifted(k * r, 0, spread),
        policy_error=lambda tolerance: steps * shifted(bias, tolerance, spread),
        measured=measured,
    )
    assert bound.holds
    assert not bound.vacuous
    assert measured > 0.01


# Theorem 1: a double integrator under LQR, ū = N x + s z over a chunk, z ~ N(0, I₂); the policy's mean is off by
# `bias`.
CHUNK = 60


@pytest.fixture(scope="module")
def lqr():
    system = double_integrator()
    still = Trajectory(
        actions=torch.zeros(CHUNK, 2, dtype=torch.float64), states=torch.zeros(CHUNK + 1, 4, dtype=torch.float64)
    )
    controllers = synthesize(Dare(), system, still)
    gains = controllers.gains[0]
    stability = incremental_stability_along(system, controllers, still)
    loop = AffineLoop.of(stability, chunk=CHUNK, gain_radius=float(gains.norm(p=2)), same_gains=True)
    return (system.A + system.B @ gains).numpy(), system.B.numpy(), gains.numpy(), loop


def chunk_laws(M, B, K, feedback, spread, bias, chunks):
    """Gap of means and covariance of every state and action."""
    gap, cov, found = np.zeros(4), np.zeros((4, 4)), []
    for _ in range(chunks):
        # what is left of the chunk's first state and of its (ū, bias): x = P x_1 + G (ū)
        carried, pushed = np.eye(4), np.zeros((4, 2))
        for _ in range(CHUNK):
            state, drive = carried + pushed @ feedback, pushed
            action, lead = K @ state + feedback, K @ drive + np.eye(2)
            found.append((action @ gap + lead @ bias, action @ cov @ action.T + spread**2 * lead @ lead.T))
            carried, pushed = M @ carried, M @ pushed + B
        whole = carried + pushed @ feedback
        gap, cov = whole @ gap + pushed @ bias, whole @ cov @ whole.T + spread**2 * pushed @ pushed.T
        found.append((gap, cov))
    return found


@pytest.mark.parametrize("spread", [0.05, 0.3, 1.0])
@pytest.mark.parametrize("chunks", [1, 3, 10])
def test_theorem1_on_a_double_integrator(lqr, spread, chunks):
    *matrices, loop = lqr
    feedback, tight, unit = np.array([[0.02, 0, 0, 0], [0, 0.01, 0, 0.0]]), [], np.array([0.6, 0.8])
    assert loop.decay(CHUNK) < 1
    rows = []
    for gap, cov in chunk_laws(*matrices, feedback, spread, unit, chunks):
        for v in (gap, np.linalg.solve(cov + 1e-12 * np.eye(len(gap)), gap)) if gap.any() else ():
            rows.append((abs(v @ gap) / np.linalg.norm(v), math.sqrt(v @ cov @ v) / np.linalg.norm(v)))
    gaps, spreads = np.array(rows).T
    for size in (0.001, 0.01, 0.1):  # gaps are linear in the bias
        for eps in EPS:
            exact = max(0.0, float((2 * norm.cdf((size * gaps - eps) / (2 * spreads)) - 1).max()))
            bound = theorem1_bound(
                eps,
                loop=loop,
                chunks=chunks,
                modulus=lambda r: shifted(0.02 * r, 0, spread),
                policy_error=lambda tolerance, size=size: chunks * shifted(size, tolerance, spread),
                measured=exact,
            )
            assert bound.holds, (size, eps, bound)
            tight.append((bound.value, exact))
    assert any(value < 1 for value, _ in tight)


# Theorem 2: x' = 1.1 x + u, unstable by itself; the expert plans from x the nominal path ū = k₀ x̄ and holds it with K.
A, K0, K, TAU = 1.1, -0.1, -0.8, 10


def replica_laws(m, s, sigma, bias, chunks):
    """Means, spreads of expert and smoothed policy at the states 2 … T + 1 and actions; x_1 ~ N(m, s²) for both."""
    law, nominal = np.array([m, s**2]), A + K0
    mean, variance, found = m, s**2, []
    for _ in range(chunks):
        shrink = law[1] / (law[1] + sigma**2)
        # replica x' = m + shrink (x̂ + σw − m) + posterior noise + bias; its covariance with x̂ is shrink · var
        plan_mean = law[0] + shrink * (mean - law[0]) + bias
        plan_var = shrink**2 * (variance + sigma**2) + law[1] * (1 - shrink)
        joint = np.array([[variance, shrink * variance], [shrink * variance, plan_var]])
        held, planned = 1.0, 0.0  # x_k = held x̂ + planned x'
        for k in range(TAU):
            act = np.array([K * held, K * planned + (K0 - K) * nominal**k])
            found.append(
                (
                    K0 * nominal**k * law[0],
                    abs(K0 * nominal**k) * law[1] ** 0.5,
                    act @ [mean, plan_mean],
                    math.sqrt(act @ joint @ act),
                )
            )
            held, planned = A * held + act[0], A * planned + act[1]
            row = np.array([held, planned])
            found.append(
                (
                    nominal ** (k + 1) * law[0],
                    nominal ** (k + 1) * law[1] ** 0.5,
                    row @ [mean, plan_mean],
                    math.sqrt(row @ joint @ row),
                )
            )
        mean, variance = row @ [mean, plan_mean], row @ joint @ row
        law = np.array([nominal**TAU * law[0], nominal ** (2 * TAU) * law[1]])
    return found


LOOP = AffineLoop(1.0, 1.0, 1 / (1 - abs(A + K)), chunk=TAU, gain_radius=abs(K), same_gains=True)


def replica_bound(eps, sigma, bias, chunks, measured=None, error=0.0):
    tolerance = (1 + abs(K0)) * bias  # d_max of two plans that start `bias` apart: exact, so that no error is left
    return theorem2_bound(
        eps,
        loop=LOOP,
        chunks=chunks,
        sigma=sigma,
        n_states=1,
        tolerance=tolerance,
        policy_error=error,
        measured=measured,
    )


@pytest.mark.parametrize("sigma", [0.01, 0.03, 0.1, 0.3])
@pytest.mark.parametrize("chunks", [1, 3, 10])
def test_theorem2_on_an_unstable_scalar_system(sigma, chunks):
    tight = []
    for bias in (0.0001, 0.001, 0.01):
        laws = replica_laws(1.0, 0.5, sigma, bias, chunks)
        for eps in EPS:
            exact = halflines(laws, eps)
            bound = replica_bound(eps, sigma, bias, chunks, exact)
            assert bound.holds, (eps, bias, bound)
            tight.append(bound)
    assert any(not bound.vacuous for bound in tight) or sigma == 0.3


def test_theorem2_above_matched_rollouts():
    rng, sigma, bias, chunks, eps, count = np.random.default_rng(1), 0.05, 0.0005, 3, 0.3, 700
    x, y = 1 + 0.5 * rng.normal(size=(2, count))
    mean, variance, worst = 1.0, 0.25, 0.0
    for _ in range(chunks):
        shrink = variance / (variance + sigma**2)
        seen = y + sigma * rng.normal(size=count)
        plan = mean + shrink * (seen - mean) + (variance * (1 - shrink)) ** 0.5 * rng.normal(size=count) + bias
        for k in range(TAU):
            nominal = (A + K0) ** k
            u, v = K0 * x, K0 * nominal * plan + K * (y - nominal * plan)
            x, y = A * x + u, A * y + v
            if k in (0, TAU - 1):
                worst = max(worst, matched((x[:, None], u[:, None]), (y[:, None], v[:, None]), eps))
        mean, variance = mean * (A + K0) ** TAU, variance * (A + K0) ** (2 * TAU)
    bound = replica_bound(eps, sigma, bias, chunks, worst)
    assert bound.holds
    assert not bound.vacuous


@pytest.mark.parametrize("sigma", [0.02, 0.05])
@pytest.mark.parametrize("chunks", [1, 3, 10])
def test_theorem2_on_a_policy_that_slips(sigma, chunks):
    """Exact but for plans that start 5 off with probability p: Δ_δ = p, and states beyond 2.5 are nearly all slips."""
    for slip in (0.003, 0.03):
        slips = slipped_states(sigma, slip, chunks, 20000, np.random.default_rng(2))
        measured = rate(torch.as_tensor(slips))
        bound = replica_bound(0.5, sigma, 0.0, chunks, measured, error=chunks * slip)
        assert bound.holds, (slip, bound)
        # every slip is seen, so that the bound is nearly attained
        assert bound.value < 1.5 * measured.high + 0.02, (slip, bound)


def slipped_states(sigma, slip, chunks, count, rng):
    """Which final states lie more than half a unit beyond all of the expert's, x_1 ~ N(1, ¼)."""
    y, mean, variance = 1 + 0.5 * rng.normal(size=count), 1.0, 0.25
    for _ in range(chunks):
        shrink = variance / (variance + sigma**2)
        plan = mean + shrink * (y + sigma * rng.normal(size=count) - mean)
        plan = plan + (variance * (1 - shrink)) ** 0.5 * rng.normal(size=count) + 5 * (rng.random(count) < slip)
        nominal = (A + K0) ** TAU
        y = nominal * plan + (A + K) ** TAU * (y - plan)
        mean, variance = mean * nominal, variance * nominal**2
    return y > mean + 5 * variance**0.5 + 0.5


def test_theorem2_by_hand_without_policy_error():
    """With an exact policy and r the only choice, the three parts are elementary."""
    bound = replica_bound(0.3, 0.05, 0.0, 4)
    r, left = bound.ingredients["radius"], math.exp(-TAU)
    apart = 2 * left * 0.05 * r / (1 - left)
    assert bound.ingredients["continuity"] == pytest.approx(3 * (2 * norm.cdf(apart / 0.1) - 1))
    assert bound.ingredients["tail"] == pytest.approx(2 * 4 * 2 * norm.sf(r))
    # the start may be moved by 2σr while states and actions stay within ε
    assert 2 * 0.05 * r / (1 - left) <= 0.3 + 1e-9


def test_c1_by_hand():
    loop = AffineLoop(2.0, math.log(2), 3.0, chunk=3, gain_radius=0.5)
    # a chunk leaves 2/8, one step 2/2: q = 3 (1 + 1 / (3/4)) = 7; |u| ≤ 1/2 · 7 + 1; m = 1
    assert loop.reach() == pytest.approx(7)
    assert loop.c1(0.4) == pytest.approx(7)
    assert AffineLoop(2.0, math.log(2), 3.0, chunk=3, gain_radius=4.0, same_gains=True).c1(0.4) == pytest.approx(4 * 29)


def test_errors_within_eps_over_c1_never_leave_eps():
    """Adversarial composite actions, off by exactly ε/c₁ in ū, x̄ or K, on a scalar loop over many chunks."""
    eps, worst = 0.5, 0.0
    loop = AffineLoop(1.0, -math.log(0.3), 1 / 0.7, chunk=4, gain_radius=0.8)
    off = eps / loop.c1(eps)
    for parts in ((1, 0, 0), (0, 1, 0), (0, 0, 1), (0.5, 0, 0.5), (0, -1, 0)):
        x, y = 1.0, 1.0
        for t in range(40):
            u = 0.1 * math.sin(t)
            v = u + off * parts[0] + (-0.8 - off * parts[2]) * (y - x - off * parts[1])
            worst = max(worst, abs(u - v))
            x, y = A * x + u, A * y + v
            worst = max(worst, abs(x - y))
    assert 0.3 * eps < worst <= eps


def test_regret_of_a_coupling_by_hand():
    # half of the runs cost 1 more in each of 10 steps, the others differ by ε in the state
    measured = 10 * (0.5 * 1 + 0.5 * 0.1)
    bound = regret_bound(0.1, 0.5, steps=10, slope=1.0, span=1.0, measured=measured)
    assert bound.holds
    assert bound.value == pytest.approx(10 * (0.2 + 0.5))
    assert regret_bound(0.1, 1.0, steps=10, slope=1.0, span=1.0).vacuous


def test_a_vacuous_bound_is_marked():
    assert Bound(1.0, {}, ()).vacuous
    assert Bound(1.0, {}, ()).holds is None
    assert Bound(1.0, {}, ()).ratio is None
    assert Bound(0.2, {}, (), measured=Estimate(0.25, 0.15, 0.35)).holds
    assert not Bound(0.2, {}, (), measured=Estimate(0.4, 0.3, 0.5)).holds
    assert Bound(0.2, {}, (), measured=Estimate(0.4, 0.3, 0.5)).ratio == pytest.approx(0.5)
    assert Bound(0.2, {}, (), measured=0.0).ratio == math.inf
    assert "vacuous" in str(Bound(1.5, {}, ()))


def test_broken_assumptions_are_named():
    zero = {"modulus": lambda r: 0.0, "policy_error": lambda r: 0.0}
    growing = AffineLoop(1.0, -0.1, 1.0, chunk=5, gain_radius=1.0)
    bound = theorem1_bound(0.1, loop=growing, chunks=3, **zero)
    assert bound.value == math.inf
    assert bound.vacuous
    assert any("L_β > 0" in text for text in bound.violated)
    short = AffineLoop(5.0, 0.1, 1.0, chunk=5, gain_radius=1.0)
    assert "lengthen" in str(theorem1_bound(0.1, loop=short, chunks=3, **zero))
    local = AffineLoop(1.0, 1.0, 1.0, chunk=5, gain_radius=1.0, c_xi=0.05)
    assert any("c_ξ = 0.05" in text for text in theorem1_bound(0.1, loop=local, chunks=3, **zero).violated)
    coarse = theorem2_bound(0.1, loop=LOOP, chunks=2, sigma=0.1, n_states=1, tolerance=0.2, policy_error=0.0)
    assert "lower the tolerance" in str(coarse)
    assert tvc_bound(0.1, alpha=1.0, beta=1.0, steps=3, **zero).violated


def test_constants_must_fit_the_chunk_and_the_norm():
    loops, inputs = torch.full((2, 5, 1, 1), 0.5), torch.ones(2, 5, 1, 1)
    loops[1] = 0.8
    worst = AffineLoop.of(incremental_stability(loops, inputs), chunk=5, gain_radius=1.0)
    assert worst.L_beta == pytest.approx(-math.log(0.8))
    assert worst.c_gamma == pytest.approx((1 - 0.8**5) / 0.2)
    with pytest.raises(ShapeError, match="over 5 steps do not cover chunks of 6"):
        AffineLoop.of(incremental_stability(loops, inputs), chunk=6, gain_radius=1.0)
    with pytest.raises(RecipeError, match="Euclidean norm"):
        AffineLoop.of(incremental_stability(loops, inputs, metric=Metric(torch.eye(1))), chunk=5, gain_radius=1.0)


def test_bad_input():
    with pytest.raises(RecipeError, match="eps > 0, got 0"):
        theorem1_bound(0.0, loop=LOOP, chunks=3, modulus=lambda r: 0.0, policy_error=lambda r: 0.0)
    with pytest.raises(RecipeError, match="c_beta >= 1"):
        AffineLoop(0.5, 1.0, 1.0, chunk=5, gain_radius=1.0)
    with pytest.raises(RecipeError, match="window <= chunk"):
        theorem2_bound(0.1, loop=LOOP, chunks=2, sigma=0.1, n_states=1, tolerance=0.0, policy_error=0.0, window=11)


def test_a_modulus_in_raw_units_bounds_that_of_normalised_windows(gaussian):
    """A policy that is smoothed by σ: the total variation of noised windows, by the normal distribution."""
    scale = MinMax(low=torch.tensor([-1.0, -3.0]).double(), high=torch.tensor([3.0, 5.0]).double())
    sigma, steps = 0.3, 3

    def smoothed(distance):
        return math.erf(distance / (2 * sigma) / math.sqrt(2))

    raw = in_raw_units(smoothed, scale=scale, n_obs_steps=steps)
    for index in range(20):
        one, other = gaussian(index, steps, 2), gaussian(100 + index, steps, 2)
        farthest = max(float((one[k] - other[k]).norm()) for k in range(steps))
        apart = float((scale.normalize(one) - scale.normalize(other)).norm())
        assert smoothed(apart) <= raw(farthest) + 1e-12
    # attained if all steps differ along the coordinate with the smallest range, whose half is 2
    assert raw(1.0) == pytest.approx(smoothed(math.sqrt(3) / 2))
    with pytest.raises(RecipeError, match="at least 1 observation"):
        in_raw_units(smoothed, scale=scale, n_obs_steps=0)
