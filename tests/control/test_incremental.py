"""Incremental stability: closed forms, and the envelope around perturbed rollouts."""

import math

import pytest
import torch
from torch.testing import assert_close

from holdfast.analysis.incremental import check_envelope, stability_region
from holdfast.control import Dare, NoFeedback, Tvlqr, double_integrator, products, regulator, scalar, synthesize
from holdfast.control.incremental import (
    IncrementalStability,
    incremental_stability,
    incremental_stability_along,
    stability_in_metric,
)
from holdfast.errors import DataError, RecipeError, ShapeError
from holdfast.seeding import stream
from holdfast.types import PrimitiveControllers, Trajectory

STILL = Trajectory(actions=torch.zeros(60, 2, dtype=torch.float64), states=torch.zeros(61, 4, dtype=torch.float64))


@pytest.mark.parametrize("m", [0.5, -0.9])
def test_scalar_loops_by_hand(m):
    loops, inputs = torch.full((20, 1, 1), m), torch.full((20, 1, 1), 2.0)
    found = incremental_stability(loops, inputs)
    assert_close(found.c_beta.item(), 1.0)
    assert_close(found.L_beta.item(), -math.log(abs(m)), rtol=1e-6, atol=0)
    assert_close(found.c_gamma.item(), 2 * (1 - abs(m) ** 20) / (1 - abs(m)), rtol=1e-6, atol=0)
    envelope = found.envelope(torch.tensor(3.0), torch.tensor(0.1))
    by_hand = [3 * abs(m) ** i + (0.1 * found.c_gamma.item() if i else 0) for i in range(21)]
    assert_close(envelope, torch.tensor(by_hand, dtype=torch.float64), rtol=1e-6, atol=0)


def test_fast_loops_have_the_paper_s_largest_rate():
    found = incremental_stability(torch.full((5, 1, 1), 0.01), torch.ones(5, 1, 1))
    assert found.L_beta.item() == 1
    assert found.c_beta.item() == 1


def test_diagonal_loops_decay_like_their_slowest_part():
    loops = torch.diag(torch.tensor([0.5, 0.8], dtype=torch.float64)).expand(10, 2, 2)
    found = incremental_stability(loops, torch.eye(2, dtype=torch.float64).expand(10, 2, 2))
    assert_close(found.L_beta.item(), -math.log(0.8))
    assert_close(found.c_gamma.item(), (1 - 0.8**10) / 0.2)


def test_a_loop_that_grows_before_it_shrinks():
    # norms 3, 0.3·3, …: one step in two triples, the next divides by ten
    loops = torch.tensor([3.0, 0.1] * 10, dtype=torch.float64).reshape(20, 1, 1)
    found = incremental_stability(loops, torch.zeros(20, 1, 1))
    assert_close(found.L_beta.item(), -math.log(0.3) / 2)
    assert_close(found.c_beta.item(), 3 / math.sqrt(0.3))
    slower = incremental_stability(loops, torch.zeros(20, 1, 1), rate=0.1)
    assert_close(slower.c_beta.item(), 3 * math.exp(0.1))


def test_constants_are_smallest_over_all_products(rng):
    loops = 0.45 * torch.randn(2, 12, 3, 3, dtype=torch.float64, generator=rng)
    found = incremental_stability(loops, torch.eye(3, dtype=torch.float64).expand(2, 12, 3, 3))
    slack = [
        (found.c_beta * (-k * found.L_beta).exp()) / torch.linalg.matrix_norm(products(loops, k), 2).amax(-1)
        for k in range(1, 13)
    ]
    tightest = torch.stack([*slack, found.c_beta], -1).amin(-1)
    assert_close(tightest, torch.ones(2, dtype=torch.float64))
    # for B = I the sum of norms at the last state is that of all products that end there
    at_end = [torch.linalg.matrix_norm(products(loops, k)[:, -1], 2) for k in range(1, 12)]
    assert bool((found.c_gamma >= 1 + sum(at_end) - 1e-12).all())


def test_destabilised_loops_are_said_to_be_unstable():
    found = incremental_stability(torch.full((30, 1, 1), 1.05), torch.ones(30, 1, 1))
    assert_close(found.L_beta.item(), -math.log(1.05), rtol=1e-6, atol=0)
    assert not found.stable
    assert "1 of 1 loops are not stable" in found.warning
    assert incremental_stability(torch.full((30, 1, 1), 0.9), torch.ones(30, 1, 1)).warning is None
    assert stability_in_metric(double_integrator(), synthesize(NoFeedback(), double_integrator(), STILL), STILL) is None


def test_the_worst_envelope_covers_the_batch(rng):
    loops = 0.5 * torch.randn(6, 8, 2, 2, dtype=torch.float64, generator=rng)
    found = incremental_stability(loops, torch.ones(6, 8, 2, 1, dtype=torch.float64))
    one, size = torch.ones(6, dtype=torch.float64), torch.full((6,), 0.3, dtype=torch.float64)
    assert bool((found.worst().envelope(one[0], size[0]) >= found.envelope(one, size) - 1e-12).all())


@pytest.mark.parametrize("metric", [False, True])
def test_the_envelope_holds_on_a_linear_system_exactly(metric):
    system = double_integrator()
    controllers = synthesize(Dare(), system, STILL)
    found = stability_in_metric(system, controllers, STILL) if metric else None
    found = found or incremental_stability_along(system, controllers, STILL)
    assert found.stable
    assert (found.metric is None) != metric
    if metric:
        assert_close(found.c_beta.item(), 1.0)
    check = check_envelope(
        system, controllers, STILL, found, start_radius=5.0, input_radius=2.0, samples=200, rng=stream(0, "envelope")
    )
    assert check.held.mean == 1
    assert check.held.low > 0.98
    assert check.lost == 0
    assert 0.2 < float(check.ratio.max()) <= 1 + 1e-9


def test_the_scalar_envelope_is_attained():
    system = scalar(0.5)
    still = Trajectory(actions=torch.zeros(20, 1), states=torch.zeros(21, 1))
    controllers = synthesize(NoFeedback(), system, still)
    found = incremental_stability_along(system, controllers, still)
    start = check_envelope(
        system, controllers, still, found, start_radius=1.0, input_radius=0.0, samples=20, rng=stream(1)
    )
    assert_close(start.ratio, torch.ones(20, dtype=torch.float64))
    push = check_envelope(
        system, controllers, still, found, start_radius=0.0, input_radius=1.0, samples=20, rng=stream(2)
    )
    # a constant push, the first half, reaches Σ 0.5^j at the last state
    assert_close(push.ratio[:10], torch.ones(10, dtype=torch.float64))
    assert push.held.mean == 1


def test_a_false_envelope_is_found_out():
    system, controllers = double_integrator(), synthesize(Dare(), double_integrator(), STILL)
    true = incremental_stability_along(system, controllers, STILL)
    false = IncrementalStability(true.c_beta / 10, true.L_beta, true.c_gamma, true.steps)
    check = check_envelope(
        system, controllers, STILL, false, start_radius=1.0, input_radius=0.0, samples=50, rng=stream(3)
    )
    assert check.held.mean < 0.1


def test_shared_noise_leaves_a_linear_envelope_as_it_is():
    system, controllers = double_integrator(), synthesize(Dare(), double_integrator(), STILL)
    found = incremental_stability_along(system, controllers, STILL)
    noise = torch.randn(50, 60, 4, dtype=torch.float64, generator=stream(4))
    check = check_envelope(
        system,
        controllers,
        STILL,
        found,
        start_radius=1.0,
        input_radius=0.1,
        samples=50,
        rng=stream(5),
        disturbance=noise,
    )
    assert check.held.mean == 1


def test_a_quadrotor_s_region(quadrotor):
    flight = _flight(quadrotor)
    controllers = synthesize(Tvlqr(), quadrotor, flight)
    found = incremental_stability_along(quadrotor, controllers, flight)
    assert found.stable
    assert found.c_beta.item() > 1.5
    claim = found.widened(0.1)
    region = stability_region(
        quadrotor, controllers, flight, claim, start_radius=10.0, input_radius=10.0, samples=40, halvings=6
    )
    assert 0 < region.c_xi < 10
    assert region.c_gamma == region.c_xi
    assert not region.at_limit
    assert any(share < 1 for _, share in region.evaluated)
    fresh = check_envelope(
        quadrotor,
        controllers,
        flight,
        claim,
        start_radius=region.c_xi / 2,
        input_radius=region.c_gamma / 2,
        samples=200,
        rng=stream(6),
    )
    assert fresh.held.mean == 1


def _flight(quadrotor):
    """Sixty steps of a hover regulator that brings the quadrotor home."""
    state, hover = quadrotor.equilibrium()
    law = regulator(quadrotor, state, hover).law
    states, actions = [torch.tensor([1.0, -1.0, 0.4, 1.0, 1.0, 0.1], dtype=torch.float64)], []
    for _ in range(60):
        actions.append(law(states[-1]))
        states.append(quadrotor.step(states[-1], actions[-1]))
    return Trajectory(actions=torch.stack(actions), states=torch.stack(states))


def test_bad_input():
    with pytest.raises(RecipeError, match=r"L_beta in \(0, 1\], got 2"):
        incremental_stability(torch.ones(3, 1, 1), torch.ones(3, 1, 1), rate=2.0)
    with pytest.raises(ShapeError, match="at least one step"):
        incremental_stability(torch.ones(0, 1, 1), torch.ones(0, 1, 1))
    with pytest.raises(DataError, match="finite closed loops"):
        incremental_stability(torch.full((3, 1, 1), math.nan), torch.ones(3, 1, 1))
    system = double_integrator()
    controllers = synthesize(Dare(), system, STILL)
    short = PrimitiveControllers(actions=STILL.actions[:5], states=STILL.states[:5], gains=controllers.gains[:5])
    with pytest.raises(ShapeError, match="one controller per step"):
        incremental_stability_along(system, short, STILL)
    found = incremental_stability_along(system, controllers, STILL)
    with pytest.raises(RecipeError, match="slack >= 0"):
        found.widened(-0.5)
    with pytest.raises(RecipeError, match="samples >= 1"):
        check_envelope(system, controllers, STILL, found, start_radius=1.0, input_radius=1.0, samples=0, rng=stream(0))
    few = IncrementalStability(found.c_beta, found.L_beta, found.c_gamma, 10)
    with pytest.raises(ShapeError, match="holds for 10 steps, but the trajectory has 60"):
        check_envelope(system, controllers, STILL, few, start_radius=1.0, input_radius=1.0, samples=1, rng=stream(0))
