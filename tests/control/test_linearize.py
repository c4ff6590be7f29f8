"""Derivative: Jacobians against differences and closed forms."""

import pytest
import torch
from torch.testing import assert_close

from holdfast.control import (
    SYSTEMS,
    Linear,
    Linearizable,
    Linearization,
    Quadrotor2D,
    finite_differences,
    linearize,
    system,
)


@pytest.mark.parametrize("name", SYSTEMS)
def test_jacobians_are_central_differences(name, rng):
    task = system(name)
    states = torch.randn(2, 5, task.n_states, dtype=torch.float64, generator=rng)
    actions = torch.randn(2, 5, task.n_actions, dtype=torch.float64, generator=rng)
    exact, approximate = linearize(task, states, actions), finite_differences(task, states, actions)
    assert exact.A.shape == (2, 5, task.n_states, task.n_states)
    assert exact.B.shape == (2, 5, task.n_states, task.n_actions)
    assert_close(exact.A, approximate.A, rtol=1e-8, atol=1e-8)
    assert_close(exact.B, approximate.B, rtol=1e-8, atol=1e-8)


def test_quadrotor_at_hover_by_hand():
    drone = Quadrotor2D()
    point = linearize(drone, *drone.equilibrium())
    A = torch.eye(6, dtype=torch.float64)
    A[:3, 3:] = 0.05 * torch.eye(3)
    A[3, 2] = -0.05 * 9.8
    B = torch.zeros(6, 2, dtype=torch.float64)
    B[4, 0], B[5, 1] = 0.05 / 0.8, 0.05 / 0.5
    assert_close(point.A, A)
    assert_close(point.B, B)


def test_one_point_is_a_slice_of_many(demonstrations, quadrotor):
    states, actions = demonstrations.states[:3, :-1], demonstrations.actions[:3]
    many, one = linearize(quadrotor, states, actions), linearize(quadrotor, states[2, 7], actions[2, 7])
    assert_close(many.A[2, 7], one.A, rtol=0, atol=1e-15)
    assert_close(many.B[2, 7], one.B, rtol=0, atol=1e-15)


def test_dtype_is_that_of_the_points(quadrotor):
    point = linearize(quadrotor, torch.zeros(4, 6), torch.zeros(4, 2))
    assert point.A.dtype == point.B.dtype == torch.float32


def test_a_system_s_own_linearisation_is_used():
    class Rough(Linear):
        def linearize(self, states, actions):
            ones = torch.ones(*states.shape[:-1], 1, 1)
            return Linearization(A=7 * ones, B=-ones)

    rough = Rough(torch.tensor([[0.9]]), torch.tensor([[1.0]]))
    assert isinstance(rough, Linearizable)
    point = linearize(rough, torch.zeros(4, 1), torch.zeros(4, 1))
    assert point.A.flatten().tolist() == [7.0] * 4
    assert point.B.flatten().tolist() == [-1.0] * 4
