"""Contraction: closed forms of linear systems, and what a set of points says of a nonlinear one."""

import math

import pytest
import torch
from torch.testing import assert_close

from holdfast.control import Linear, double_integrator, finite_differences, scalar, tvlqr
from holdfast.control.contraction_rates import Metric, common_metric, contraction, contraction_metric
from holdfast.errors import DataError, RecipeError, ShapeError

ORIGIN = torch.zeros(1, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)


@pytest.mark.parametrize(("a", "b", "k"), [(0.9, 1.0, 0.0), (-0.5, 2.0, 0.0), (1.2, 0.5, -1.0)])
def test_scalar_systems_by_hand(a, b, k):
    found = contraction(scalar(a, b), *ORIGIN, gains=torch.tensor([[k]], dtype=torch.float64))
    assert_close(found.alpha, abs(a + b * k))
    assert_close(found.beta, abs(b))
    assert_close(found.gain, abs(b) / (1 - abs(a + b * k)))
    assert found.exact
    assert found.contracting


def test_diagonal_systems_contract_at_their_largest_entry():
    system = Linear(A=torch.diag(torch.tensor([0.3, -0.8, 0.5])), B=torch.diag(torch.tensor([1.0, 2.0, 0.1])))
    found = contraction(system, torch.zeros(3), torch.zeros(3))
    assert_close((found.alpha, found.beta, found.gain), (0.8, 2.0, 10.0), rtol=1e-6, atol=0)
    weighted = contraction(system, torch.zeros(3), torch.zeros(3), metric=Metric(torch.diag(torch.tensor([1.0, 9, 4]))))
    # a diagonal metric leaves diagonal loops as they are and scales the inputs by √p
    assert_close((weighted.alpha, weighted.beta), (0.8, 6.0), rtol=1e-6, atol=0)


def test_no_pair_of_states_and_actions_exceeds_the_constants(rng):
    system, gains = double_integrator(), _lqr()
    metric = contraction_metric(system.A + system.B @ gains, margin=0.02)
    found = contraction(system, torch.zeros(4), torch.zeros(2), gains=gains, metric=metric)
    x, y = torch.randn(2, 500, 4, dtype=torch.float64, generator=rng)
    u, v = torch.randn(2, 500, 2, dtype=torch.float64, generator=rng)
    after = metric.norm(system.step(x, x @ gains.mT + u) - system.step(y, y @ gains.mT + v))
    claimed = found.alpha * metric.norm(x - y) + found.beta * (u - v).norm(dim=-1)
    assert bool((after <= claimed * (1 + 1e-12)).all())
    assert float((after / claimed).max()) > 0.7


def test_the_metric_s_factor_lies_just_above_the_spectral_radius():
    loop = double_integrator().A + double_integrator().B @ _lqr()
    radius = float(torch.linalg.eigvals(loop).abs().max())
    euclidean = float(torch.linalg.matrix_norm(loop, 2))
    for margin in (1e-3, 1e-2):
        metric = contraction_metric(loop, margin=margin)
        alpha = float(torch.linalg.matrix_norm(metric.transform_loops(loop), 2))
        assert radius <= alpha < radius * (1 + margin) < 1
        # P solves AᵀPA = r² (P − I)
        r = radius * (1 + margin)
        assert_close(loop.mT @ metric.P @ loop, r**2 * (metric.P - torch.eye(4)), rtol=1e-9, atol=1e-9)
    assert euclidean > 1  # the Euclidean norm does not see that this loop contracts


def test_an_unstable_loop_has_gain_infinity():
    found = contraction(scalar(1.0), *ORIGIN)
    assert not found.contracting
    assert found.gain == math.inf


def test_a_common_metric_contracts_every_step_or_is_none():
    slow, turn = torch.tensor([[0.9, 0.4], [0.0, 0.7]]), torch.tensor([[0.7, 0.0], [0.1, 0.9]])
    metric, alpha = common_metric(torch.stack([slow, turn]).double())
    for loop in (slow, turn):
        assert float(torch.linalg.matrix_norm(metric.transform_loops(loop), 2)) <= alpha + 1e-12 < 1
    # each of these contracts in some metric, but their product has spectral radius 4
    up = torch.tensor([[0.0, 2.0], [0.0, 0.0]])
    assert common_metric(torch.stack([up, up.mT])) is None


def test_points_of_a_nonlinear_system_are_an_estimate(quadrotor, rng):
    states = 0.3 * torch.randn(20, 6, dtype=torch.float64, generator=rng)
    actions = torch.tensor([7.84, 0.0], dtype=torch.float64).expand(20, 2)
    found = contraction(quadrotor, states, actions)
    assert not found.exact
    assert found.points == 20
    by_differences = contraction(quadrotor, states, actions, derivatives=finite_differences)
    assert_close((by_differences.alpha, by_differences.beta), (found.alpha, found.beta), rtol=1e-6, atol=0)
    assert found.alpha >= contraction(quadrotor, states[:5], actions[:5]).alpha


class Numpy(Linear):
    """A simulator that leaves torch."""

    def step(self, state, action):
        return torch.as_tensor(0.5 * state.numpy() + action.numpy())


class Detached(Linear):
    def step(self, state, action):
        return super().step(state.detach(), action.detach())


@pytest.mark.parametrize("kind", [Numpy, Detached])
def test_a_system_without_derivatives_is_referred_to_finite_differences(kind):
    system = kind(A=torch.tensor([[0.5]]), B=torch.tensor([[1.0]]), name="simulator")
    with pytest.raises(DataError, match=r"simulator has no derivatives.*derivatives=finite_differences"):
        contraction(system, *ORIGIN)
    found = contraction(system, *ORIGIN, derivatives=finite_differences)
    assert_close((found.alpha, found.beta), (0.5, 1.0), rtol=1e-6, atol=0)
    assert not found.exact


def test_bad_input():
    with pytest.raises(ShapeError, match="at least one point"):
        contraction(scalar(), torch.zeros(0, 1), torch.zeros(0, 1))
    with pytest.raises(DataError, match="symmetric positive definite"):
        Metric(torch.diag(torch.tensor([1.0, -1.0])))
    with pytest.raises(DataError, match="symmetric positive definite"):
        Metric(torch.tensor([[2.0, 1.0], [0.0, 2.0]]))
    with pytest.raises(RecipeError, match="margin > 0"):
        contraction_metric(torch.eye(1), margin=0.0)
    with pytest.raises(DataError, match="finite derivatives"):
        contraction(scalar(math.nan), *ORIGIN)


def _lqr():
    system = double_integrator()
    A, B = (part.expand(300, *part.shape) for part in (system.A, system.B))
    eye = torch.eye(4, dtype=torch.float64)
    return tvlqr(A, B, eye, torch.eye(2, dtype=torch.float64), eye)[0][0]
