"""iLQR and the receding-horizon expert."""

from dataclasses import dataclass
from itertools import pairwise

import pytest
import torch
from torch.testing import assert_close

from holdfast.control import Linear, MpcExpert, Objective, Quadrotor2D, ilqr, mean_cost, tvlqr
from holdfast.control._typed import gradient_and_hessian
from holdfast.errors import RecipeError
from holdfast.seeding import stream


def test_a_linear_quadratic_problem_takes_one_round():
    rng = stream(0, "lq")
    A = torch.randn(3, 3, dtype=torch.float64, generator=rng)
    B = torch.randn(3, 2, dtype=torch.float64, generator=rng)
    Q, R = torch.diag(torch.tensor([1.0, 2.0, 0.5])).double(), torch.diag(torch.tensor([0.3, 1.0])).double()
    task = Linear(A, B, Q, R)
    x0 = torch.randn(5, 3, dtype=torch.float64, generator=rng)
    objective = Objective(task.cost, lambda x: 3 * x.square().sum(-1))
    plan = ilqr(task, objective, x0, torch.randn(5, 12, 2, dtype=torch.float64, generator=rng), tolerance=1e-8)

    K, P = tvlqr(A.expand(12, 3, 3), B.expand(12, 3, 2), Q, R, 3 * torch.eye(3))
    assert plan.rounds.tolist() == [1] * 5
    assert_close(plan.cost, torch.einsum("bi,ij,bj->b", x0, P[0], x0))
    assert_close(plan.actions[:, 0], x0 @ K[0].mT, rtol=1e-9, atol=1e-9)


def test_plans_are_stationary_and_consistent(quadrotor):
    expert = MpcExpert(quadrotor)
    x0 = quadrotor.initial_states(6, rng=stream(1, "plans"))
    plan = expert.plan(x0)
    assert plan.actions.shape == (6, 29, 2)
    assert (plan.gradient_norm <= 1e-5).all()

    actions = plan.actions.clone().requires_grad_()
    states = [x0]
    for action in actions.unbind(1):
        states.append(quadrotor.step(states[-1], action))
    stacked = torch.stack(states, 1)
    hover = 0.8 * 9.8
    effort = (actions[..., 0] - hover).square() + 0.2 * actions[..., 1].square()
    cost = stacked.square().sum(-1).mean(-1) + 0.5 * effort.mean(-1)
    assert_close(plan.states, stacked.detach())
    assert_close(plan.cost, cost.detach())
    (slope,) = torch.autograd.grad(cost.sum(), actions)
    assert_close(slope.flatten(1).norm(dim=-1), plan.gradient_norm, rtol=1e-4, atol=1e-9)


def test_problems_of_a_batch_do_not_influence_one_another(quadrotor):
    expert = MpcExpert(quadrotor, horizon=15)
    x0 = quadrotor.initial_states(6, rng=stream(2, "plans"))
    together = expert.plan(x0)
    for each in range(6):
        alone = expert.plan(x0[each, None])
        assert torch.equal(alone.rounds[0], together.rounds[each])
        assert_close(alone.actions[0], together.actions[each], rtol=1e-7, atol=1e-7)


def test_the_cost_never_rises_with_more_rounds(quadrotor):
    x0 = 2 * quadrotor.initial_states(8, rng=stream(3, "plans"))
    costs = [MpcExpert(quadrotor, max_rounds=rounds).plan(x0).cost for rounds in range(1, 8)]
    for before, after in pairwise(costs):
        assert (after <= before).all()


def test_a_non_convex_cost_is_still_lowered():
    task = Linear(torch.eye(1), torch.eye(1))
    objective = Objective(lambda x, u: 0.1 * u.square().sum(-1), lambda x: x[..., 0].cos())
    plan = ilqr(task, objective, torch.full((1, 1), 0.5).double(), torch.zeros(1, 3, 1).double(), tolerance=1e-9)
    # Stationary: 0.2 u = sin(x) at each step, x = 0.5 + 3 u.
    end = plan.states[0, -1, 0]
    assert_close(0.2 * plan.actions[0, :, 0], end.sin().expand(3), rtol=0, atol=1e-8)
    assert float(plan.cost) < 0


def test_a_negative_curvature_counts_as_none():
    """One round from u = 0 with x' = x + u: the curvature −cos x of the final cost is left out, so u = sin(x) / 0.2."""
    task = Linear(torch.eye(1), torch.eye(1))
    objective = Objective(lambda x, u: 0.1 * u.square().sum(-1), lambda x: x[..., 0].cos())
    start, still = torch.full((1, 1), 0.5).double(), torch.zeros(1, 1, 1).double()
    plan = ilqr(task, objective, start, still, tolerance=1e-9, max_rounds=1)
    assert_close(plan.actions[0, 0], start[0].sin() / 0.2)


def test_a_shortened_step_keeps_the_whole_feedback():
    """x' = x + u from 3 with the costs 0.025 u² and √(1 + x²): a quarter of the Newton step is the first to gain.

    The quadratic model has its minimum at u₀ = u₁ = −g / (r + 2h), with slope g = 3 / √10 and curvature h = 10^−1.5 of
    the final cost and r = 0.05. A policy that is affine in the deviation leads a quarter of the way there, both steps.
    """
    task = Linear(torch.eye(1), torch.eye(1))
    objective = Objective(lambda x, u: 0.025 * u.square().sum(-1), lambda x: (1 + x[..., 0].square()).sqrt())
    start, still = torch.full((1, 1), 3.0).double(), torch.zeros(1, 2, 1).double()
    newton = -(3 / 10**0.5) / (0.05 + 2 * 10**-1.5)
    cost = [0.05 * (a * newton) ** 2 + (1 + (3 + 2 * a * newton) ** 2) ** 0.5 for a in (0.0, 0.25, 0.5, 1.0)]
    assert cost[1] < cost[0] < min(cost[2:])
    plan = ilqr(task, objective, start, still, tolerance=1e-9, max_rounds=1)
    assert_close(plan.actions.flatten(), torch.full((2,), newton / 4).double())


def test_a_start_that_is_optimal_takes_no_round(quadrotor):
    state, action = quadrotor.equilibrium()
    plan = MpcExpert(quadrotor).plan(state.expand(2, 6), action.expand(2, 29, 2))
    assert plan.rounds.tolist() == [0, 0]


def test_the_warm_start_is_left_as_it_was(quadrotor):
    guess = torch.zeros(2, 29, 2, dtype=torch.float64)
    MpcExpert(quadrotor).plan(quadrotor.initial_states(2, rng=stream(4, "plans")), guess)
    assert (guess == 0).all()


def test_the_mean_cost_counts_30_states_and_29_actions(quadrotor):
    objective = mean_cost(quadrotor, 30)
    ones = torch.ones(30, 6, dtype=torch.float64)
    hover = quadrotor.equilibrium()[1].expand(29, 2)
    assert_close(objective(hover, ones), torch.tensor(6.0).double())
    assert_close(objective(hover + 1, 0 * ones), torch.tensor(0.5 * 1.2).double())


def test_the_derivatives_of_the_mean_cost_are_what_autodiff_finds(quadrotor, rng):
    @dataclass(frozen=True)
    class Same(Quadrotor2D):
        """Of the same cost, which a subclass defines: it is differentiated."""

        def cost(self, state, action):
            return super().cost(state, action)

    closed, open_ = mean_cost(quadrotor, 30), mean_cost(Same(), 30)
    assert open_.stage_derivatives is open_.final_derivatives is None
    points = 3 * torch.randn(20, 8, dtype=torch.float64, generator=rng)
    by_autodiff = gradient_and_hessian(lambda z: closed.stage(z[..., 2:], z[..., :2]))(points)
    assert_close(closed.stage_derivatives(points), by_autodiff, rtol=1e-10, atol=1e-10)
    assert_close(
        closed.final_derivatives(points[:, 2:]), gradient_and_hessian(closed.final)(points[:, 2:]), rtol=1e-10, atol=0
    )
    x0 = quadrotor.initial_states(4, rng=stream(7, "plans"))
    found, expected = (MpcExpert(task).rollout(x0, 5) for task in (quadrotor, Same()))
    assert_close(found.states, expected.states, rtol=1e-9, atol=1e-12)
    assert_close(found.actions, expected.actions, rtol=1e-9, atol=1e-12)


def test_the_expert_arrives(demonstrations):
    end = demonstrations.states[:, -1].norm(dim=-1)
    assert float((end < 0.3).double().mean()) >= 0.95


def test_demonstrations_obey_the_system(demonstrations, quadrotor):
    after = quadrotor.step(demonstrations.states[:, :-1], demonstrations.actions)
    assert_close(after, demonstrations.states[:, 1:], rtol=0, atol=1e-12)


def test_the_same_start_gives_the_same_demonstration_and_progress_counts_steps():
    drone = Quadrotor2D()
    x0 = drone.initial_states(3, rng=stream(5, "plans"))
    seen: list[int] = []
    first = MpcExpert(drone, horizon=8).rollout(x0, 4, progress=seen.append)
    second = MpcExpert(drone, horizon=8).rollout(x0, 4)
    assert seen == [1, 2, 3, 4]
    assert torch.equal(first.states, second.states)


def test_single_precision_flies_too(demonstrations, quadrotor):
    flight = MpcExpert(quadrotor).rollout(demonstrations.states[:3, 0].float(), 10)
    assert flight.states.dtype == torch.float32
    assert_close(flight.states.double(), demonstrations.states[:3, :11], rtol=0, atol=1e-3)


def test_a_horizon_without_actions_is_refused(quadrotor):
    with pytest.raises(RecipeError, match="at least 2"):
        MpcExpert(quadrotor, horizon=1)
