"""Contract: what every built-in system owes to the protocol `Task`."""

import pytest
import torch
from torch.testing import assert_close

from holdfast.control import SYSTEMS, Linear, Quadrotor2D, System, Task, system
from holdfast.errors import ShapeError, UnknownNameError
from holdfast.seeding import stream


@pytest.fixture(params=SYSTEMS)
def task(request) -> Task:
    return system(request.param)


def _points(task: Task, *batch: int) -> tuple[torch.Tensor, torch.Tensor]:
    rng = stream(1, task.name)
    draw = lambda size: torch.randn(*batch, size, dtype=torch.float64, generator=rng)  # noqa: E731
    return draw(task.n_states), draw(task.n_actions)


def test_satisfies_the_protocols(task):
    assert isinstance(task, System)
    assert isinstance(task, Task)


def test_names_fit_the_sizes(task):
    assert system(task.name).name == task.name
    assert len(task.state_names) == task.n_states
    assert len(task.action_names) == task.n_actions
    assert task.dt > 0
    assert task.steps > 0


def test_a_batched_step_is_a_loop_of_steps(task):
    states, actions = _points(task, 3, 4)
    batched = task.step(states, actions)
    assert batched.shape == states.shape
    for i in range(3):
        for j in range(4):
            assert_close(batched[i, j], task.step(states[i, j], actions[i, j]), rtol=0, atol=1e-15)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_values_keep_the_dtype(task, dtype):
    states, actions = (x.to(dtype) for x in _points(task, 2))
    assert task.step(states, actions).dtype == dtype
    assert task.cost(states, actions).dtype == dtype


def test_step_and_cost_are_differentiable(task):
    states, actions = (x.requires_grad_() for x in _points(task, 2))
    assert torch.autograd.gradcheck(task.step, (states, actions))
    assert torch.autograd.gradcheck(task.cost, (states, actions))


def test_the_equilibrium_stays_and_costs_nothing(task):
    state, action = task.equilibrium()
    assert_close(task.step(state, action), state, rtol=0, atol=1e-14)
    assert float(task.cost(state, action)) == 0


def test_the_cost_is_its_weights_about_the_equilibrium(task):
    states, actions = _points(task, 5)
    rest = task.equilibrium()
    Q, R = task.weights()
    dx, du = states - rest[0], actions - rest[1]
    expected = torch.einsum("bi,ij,bj->b", dx, Q, dx) + torch.einsum("bi,ij,bj->b", du, R, du)
    assert_close(task.cost(states, actions), expected)


def test_initial_states_are_the_seed_s(task):
    first, second = (task.initial_states(7, rng=stream(3, "x0")) for _ in range(2))
    assert first.shape == (7, task.n_states)
    assert first.dtype == torch.float64
    assert torch.equal(first, second)


def test_initial_law_of_the_quadrotor():
    half = torch.tensor([2, 2, 1, 3, 3, 0.3], dtype=torch.float64)
    draws = Quadrotor2D().initial_states(20_000, rng=stream(0, "x0"))
    assert (draws.abs() <= half).all()
    assert_close(draws.abs().amax(0), half, rtol=2e-3, atol=0)
    assert_close(draws.mean(0) / half, torch.zeros_like(half), rtol=0, atol=0.02)
    assert_close(draws.std(0), half / 3**0.5, rtol=0.02, atol=0)


def test_quadrotor_falls_freely_without_thrust():
    drone = Quadrotor2D()
    state = torch.zeros(6, dtype=torch.float64)
    for _ in range(20):
        state = drone.step(state, torch.zeros(2, dtype=torch.float64))
    # Explicit Euler: z after k steps is -g dt² k (k - 1) / 2.
    assert_close(state, torch.tensor([0, -9.8 * 0.05**2 * 190, 0, 0, -9.8, 0], dtype=torch.float64))


def test_quadrotor_pitched_to_the_left_flies_to_the_left():
    drone = Quadrotor2D()
    pitched = torch.tensor([0, 0, 0.1, 0, 0, 0], dtype=torch.float64)
    after = drone.step(pitched, torch.tensor([8.0, 1.0], dtype=torch.float64))
    assert after[3] < 0 < after[5]


def test_unknown_names_list_the_known_ones():
    with pytest.raises(UnknownNameError, match=r"'quadrotr'.*double_integrator, quadrotor2d, scalar"):
        system("quadrotr")


def test_linear_refuses_matrices_that_do_not_fit():
    with pytest.raises(ShapeError, match=r"expected A \[n, n\] and B \[n, m\], got \[2, 3\] and \[2, 1\]"):
        Linear(A=torch.zeros(2, 3), B=torch.zeros(2, 1))
