"""Exact: regulators against closed-loop costs, scipy and dense least squares."""

import pytest
import torch
from scipy.linalg import solve_discrete_are
from torch.testing import assert_close

from holdfast.control import dare, gain, linearize, tvlqr, unreachable_mode
from holdfast.errors import SynthesisError
from holdfast.seeding import stream


def _random_pairs(seed: int, count: int, n: int, m: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Pairs with random, mostly unstable A; a random pair is reachable with probability one."""
    rng = stream(seed, "pairs")
    A = torch.randn(count, n, n, dtype=torch.float64, generator=rng)
    B = torch.randn(count, n, m, dtype=torch.float64, generator=rng)
    return A * 1.5 / n**0.5, B


def _weights(seed: int, n: int, m: int) -> tuple[torch.Tensor, torch.Tensor]:
    rng = stream(seed, "weights")
    roots = (torch.randn(k, k, dtype=torch.float64, generator=rng) for k in (n, m))
    Q, R = (root @ root.mT + 0.1 * torch.eye(len(root)).double() for root in roots)
    return Q, R


def _closed_loop_cost(A, B, Q, R, K, state, steps: int) -> torch.Tensor:
    total = torch.zeros((), dtype=torch.float64)
    for _ in range(steps):
        action = K @ state
        total = total + state @ Q @ state + action @ R @ action
        state = A @ state + B @ action
    return total


@pytest.mark.parametrize(("n", "m"), [(1, 1), (2, 1), (4, 2), (6, 3)])
def test_measured_cost_is_the_value(n, m):
    (A,), (B,) = _random_pairs(n, 1, n, m)
    Q, R = _weights(n, n, m)
    P = dare(A, B, Q, R)
    state = torch.randn(n, dtype=torch.float64, generator=stream(n, "state"))
    cost = _closed_loop_cost(A, B, Q, R, gain(A, B, R, P), state, 4000)
    assert_close(cost, state @ P @ state, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize(("n", "m"), [(1, 1), (3, 1), (4, 4), (6, 2), (9, 3)])
def test_dare_is_scipy_s(n, m):
    A, B = _random_pairs(n, 20, n, m)
    Q, R = _weights(n + 1, n, m)
    P = dare(A.reshape(4, 5, n, n), B.reshape(4, 5, n, m), Q, R).reshape(20, n, n)
    for each in range(20):
        expected = torch.from_numpy(solve_discrete_are(A[each], B[each], Q, R))
        assert_close(P[each], expected, rtol=1e-7, atol=1e-8 * float(expected.abs().max()))


def test_dare_is_scipy_s_along_demonstrations(demonstrations, quadrotor):
    along = linearize(quadrotor, demonstrations.states[:, :-1], demonstrations.actions)
    Q, R = torch.eye(6, dtype=torch.float64), torch.eye(2, dtype=torch.float64)
    P = dare(along.A, along.B, Q, R)
    for episode, step in [(i, 13 * i % 100) for i in range(40)]:
        expected = torch.from_numpy(solve_discrete_are(along.A[episode, step], along.B[episode, step], Q, R))
        assert_close(P[episode, step], expected, rtol=1e-6, atol=1e-8 * float(expected.abs().max()))


def test_dare_solves_its_equation_along_demonstrations(demonstrations, quadrotor):
    along = linearize(quadrotor, demonstrations.states[:, :-1], demonstrations.actions)
    A, B, Q, R = along.A, along.B, torch.eye(6, dtype=torch.float64), torch.eye(2, dtype=torch.float64)
    P = dare(A, B, Q, R)
    again = Q + A.mT @ P @ A - A.mT @ P @ B @ torch.linalg.inv(R + B.mT @ P @ B) @ B.mT @ P @ A
    scale = P.abs().amax((-2, -1), keepdim=True)
    assert_close(again / scale, P / scale, rtol=0, atol=1e-10)


def test_hover_gains_are_the_published_ones(quadrotor):
    point = linearize(quadrotor, *quadrotor.equilibrium())
    R = torch.eye(2, dtype=torch.float64)
    K = gain(point.A, point.B, R, dare(point.A, point.B, torch.eye(6, dtype=torch.float64), R))
    expected = torch.tensor([[0, -0.951, 0, 0, -1.581, 0], [0.845, 0, -9.933, 1.579, 0, -3.325]], dtype=torch.float64)
    assert_close(K, expected, rtol=0, atol=6e-4)
    radii = torch.linalg.eigvals(point.A + point.B @ K).abs()
    assert_close(torch.stack(torch.aminmax(radii)), torch.tensor([0.866, 0.951]).double(), rtol=0, atol=6e-4)


@pytest.mark.parametrize("steps", [1, 4, 15])
def test_tvlqr_is_dense_least_squares(steps):
    n, m = 3, 2
    A, B = _random_pairs(5, steps, n, m)
    Q, R = _weights(5, n, m)
    terminal = _weights(6, n, m)[0]
    x0 = torch.randn(n, dtype=torch.float64, generator=stream(5, "state"))
    # x_t = F_t x0 + G_t u, all actions u stacked; then minimise |L (rows)|² over u.
    F, G = torch.eye(n).double(), torch.zeros(n, steps * m).double()
    rows, right = [], []
    for t in range(steps):
        pick = torch.zeros(m, steps * m).double()
        pick[:, t * m : (t + 1) * m] = torch.eye(m)
        F, G = A[t] @ F, A[t] @ G + B[t] @ pick
        root = torch.linalg.cholesky(terminal if t == steps - 1 else Q).mT
        rows += [torch.linalg.cholesky(R).mT @ pick, root @ G]
        right += [torch.zeros(m).double(), -root @ F @ x0]
    best = torch.linalg.lstsq(torch.cat(rows), torch.cat(right)[:, None]).solution.reshape(steps, m)

    K, P = tvlqr(A, B, Q, R, terminal)
    state, actions = x0, []
    for t in range(steps):
        actions.append(K[t] @ state)
        state = A[t] @ state + B[t] @ actions[-1]
    assert_close(torch.stack(actions), best, rtol=1e-7, atol=1e-8)
    residual = torch.cat(rows) @ best.flatten() - torch.cat(right)
    assert_close(residual.square().sum() + x0 @ Q @ x0, x0 @ P[0] @ x0)


def test_a_long_tvlqr_forgets_its_end():
    A, B = _random_pairs(9, 1, 4, 2)
    Q, R = _weights(9, 4, 2)
    P = tvlqr(A.expand(300, 4, 4), B.expand(300, 4, 2), Q, R, torch.zeros(4, 4))[1]
    assert_close(P[0], dare(A[0], B[0], Q, R), rtol=1e-9, atol=1e-9)


def test_a_batch_of_one_is_a_slice():
    A, B = _random_pairs(2, 6, 3, 2)
    Q, R = _weights(2, 3, 2)
    assert_close(dare(A, B, Q, R)[4], dare(A[4], B[4], Q, R), rtol=1e-12, atol=1e-12)


def test_an_unreachable_mode_is_named_with_its_step():
    A, B = _random_pairs(3, 6, 2, 1)
    A, B = A.reshape(2, 3, 2, 2).clone(), B.reshape(2, 3, 2, 1).clone()
    A[1, 2], B[1, 2] = torch.tensor([[0.5, 1.0], [0.0, 1.2]]), torch.tensor([[1.0], [0.0]])
    with pytest.raises(SynthesisError, match=r"at step 2 of trajectory 1 .* eigenvalue 1\.2 .* mostly altitude"):
        dare(A, B, torch.eye(2), torch.eye(1), state_names=("speed", "altitude"))


def test_an_unweighted_mode_is_distinguished_from_an_unreachable_one():
    A, B = torch.tensor([[2.0]]), torch.tensor([[1.0]])
    with pytest.raises(SynthesisError, match="no state weight"):
        dare(A, B, torch.zeros(1, 1), torch.eye(1))


def test_a_decaying_unreachable_mode_is_no_obstacle():
    A, B = torch.diag(torch.tensor([1.5, 0.9])), torch.tensor([[1.0], [0.0]])
    P = dare(A, B, torch.eye(2), torch.eye(1))
    assert_close(P[1, 1], torch.tensor(1 / (1 - 0.81)).double(), rtol=1e-6, atol=0)


def test_defective_eigenvalues_raise_no_false_alarm(quadrotor):
    # At hover all six eigenvalues are 1, in Jordan blocks; computed ones scatter by 1e-4.
    point = linearize(quadrotor, *quadrotor.equilibrium())
    assert unreachable_mode(point.A, point.B) is None


@pytest.mark.parametrize("seed", range(5))
def test_an_unreachable_mode_is_found_in_any_coordinates(seed):
    rng = stream(seed, "coordinates")
    A = torch.zeros(5, 5, dtype=torch.float64)
    A[:3, :3] = torch.randn(3, 3, dtype=torch.float64, generator=rng)
    A[:3, 3:] = torch.randn(3, 2, dtype=torch.float64, generator=rng)
    A[3:, 3:] = torch.tensor([[1.0, 1.0], [0.0, 1.0]])  # a Jordan block that the action does not reach
    B = torch.cat([torch.randn(3, 1, dtype=torch.float64, generator=rng), torch.zeros(2, 1).double()])
    turn = torch.linalg.qr(torch.randn(5, 5, dtype=torch.float64, generator=rng))[0]
    mode = unreachable_mode(turn @ A @ turn.mT, turn @ B)
    assert mode is not None
    assert abs(mode.eigenvalue - 1) < 1e-5
    assert_close(mode.direction.abs(), turn[:, 4].abs(), rtol=0, atol=1e-4)
