"""Derivative: Jacobians against differences and closed forms."""

import subprocess
import sys
from dataclasses import replace

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
    scalar,
    system,
)
from holdfast.control.systems import Avoid, obstacle_system


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


class Bare:
    """A user's system, without derivatives of its own: autodiff differentiates the built-in step."""

    def __init__(self, task):
        for name in ("name", "dt", "n_states", "n_actions", "state_names", "action_names", "step"):
            setattr(self, name, getattr(task, name, 1.0))


@pytest.mark.parametrize("task", [*map(system, SYSTEMS), obstacle_system(), Avoid()], ids=lambda task: task.name)
def test_closed_forms_are_what_autodiff_finds(task, rng):
    states = 3 * torch.randn(2, 5, task.n_states, dtype=torch.float64, generator=rng)
    actions = 3 * torch.randn(2, 5, task.n_actions, dtype=torch.float64, generator=rng)
    found, expected = linearize(task, states, actions), linearize(Bare(task), states, actions)
    assert isinstance(task, Linearizable)
    assert not isinstance(Bare(task), Linearizable)
    assert_close(found.A, expected.A, rtol=1e-10, atol=1e-10)
    assert_close(found.B, expected.B, rtol=1e-10, atol=1e-10)


def test_a_subclass_with_another_step_is_differentiated_again():
    class Half(Linear):
        def step(self, state, action):
            return super().step(state, action) / 2

    half = Half(torch.tensor([[0.9]]), torch.tensor([[1.0]]))
    point = linearize(half, torch.zeros(4, 1), torch.zeros(4, 1))
    assert_close(point.A.flatten(), torch.full((4,), 0.45))
    assert_close(point.B.flatten(), torch.full((4,), 0.5))
    quiet = replace(scalar(), name="quiet")
    object.__setattr__(quiet, "step", half.step)
    assert_close(linearize(quiet, torch.zeros(1, 1), torch.zeros(1, 1)).A, torch.tensor([[[0.45]]]))


WITHOUT_A_COMPILER = """
import sys, torch
from holdfast.control import MpcExpert, Tvlqr, synthesize, system
for name in ("quadrotor2d", "double_integrator", "scalar"):
    task = system(name)
    flown = MpcExpert(task).rollout(task.initial_states(2, rng=torch.Generator()), 3)
    synthesize(Tvlqr(), task, flown)
assert "torch._dynamo" not in sys.modules
torch.func.jacrev(torch.sin)(torch.ones(1))
print("torch._dynamo" in sys.modules)
"""


def test_experts_and_gains_of_built_in_systems_import_no_compiler():
    # autodiff imports it, which takes longer than the gains
    found = subprocess.run([sys.executable, "-c", WITHOUT_A_COMPILER], capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr
    assert found.stdout == "True\n"


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
