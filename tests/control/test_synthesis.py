"""The synthesis oracle: consistent with its demonstrations, stabilising, and the same for one as for many."""

import pytest
import torch
from torch.testing import assert_close

from holdfast.control import (
    Dare,
    Linear,
    MpcExpert,
    NoFeedback,
    Receding,
    Tvlqr,
    dare,
    gain,
    linearize,
    synthesize,
    synthesize_episodes,
)
from holdfast.errors import RecipeError, ShapeError, SynthesisError
from holdfast.schema import from_plain, to_plain
from holdfast.seeding import stream
from holdfast.types import Episodes, Trajectory

METHODS = [Tvlqr(), Tvlqr(terminal="cost"), Dare(action_weight=(0.5, 0.1)), Receding(horizon=8), NoFeedback()]


def _short(demonstrations: Trajectory, count: int = 3, steps: int = 25) -> Trajectory:
    return Trajectory(actions=demonstrations.actions[:count, :steps], states=demonstrations.states[:count, : steps + 1])


@pytest.mark.parametrize("method", METHODS, ids=repr)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_controllers_are_consistent_with_their_demonstration(method, dtype, demonstrations, quadrotor):
    short = _short(demonstrations)
    short = Trajectory(actions=short.actions.to(dtype), states=short.states.to(dtype))
    controllers = synthesize(method, quadrotor, short)
    assert controllers.gains.shape == (3, 25, 2, 6)
    assert controllers.gains.dtype == dtype
    assert torch.equal(controllers(short.states[:, :-1]), short.actions)


@pytest.mark.parametrize("method", METHODS, ids=repr)
def test_one_demonstration_is_a_slice_of_many(method, demonstrations, quadrotor):
    short = _short(demonstrations)
    many = synthesize(method, quadrotor, short)
    one = synthesize(method, quadrotor, Trajectory(actions=short.actions[1], states=short.states[1]))
    assert_close(many.gains[1], one.gains, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("method", METHODS, ids=repr)
def test_episodes_of_unequal_length_are_synthesised_one_by_one(method, demonstrations, quadrotor):
    lengths = [7, 25, 1, 12]
    states = [demonstrations.states[i, : length + 1] for i, length in enumerate(lengths)]
    actions = [demonstrations.actions[i, :length] for i, length in enumerate(lengths)]
    episodes = Episodes(
        actions=torch.cat(actions), states=torch.cat([x[:-1] for x in states]), lengths=torch.tensor(lengths)
    )
    alone = [
        synthesize(method, quadrotor, Trajectory(actions=u, states=x)).gains
        for u, x in zip(actions, states, strict=True)
    ]
    together = synthesize_episodes(method, quadrotor, episodes)
    assert_close(together.gains, torch.cat(alone), rtol=1e-8, atol=1e-8)
    assert torch.equal(together(episodes.states), episodes.actions)


@pytest.mark.parametrize("method", [Tvlqr(), Dare()], ids=repr)
def test_on_a_linear_system_both_regulators_are_the_same_constant(method):
    toy = Linear(torch.tensor([[1.1, 0.3], [0.0, 0.9]]), torch.tensor([[0.0], [1.0]]))
    still = Trajectory(actions=torch.ones(2, 9, 1).double(), states=torch.ones(2, 10, 2).double())
    A, B, R = toy.A.double(), toy.B.double(), torch.eye(1)
    K = gain(A, B, R, dare(A, B, torch.eye(2), R))
    assert_close(synthesize(method, toy, still).gains, K.expand(2, 9, 1, 2), rtol=1e-9, atol=1e-9)


def test_a_recursion_from_the_cost_ends_with_the_one_step_optimum():
    # with Q = R = 1, x' = 2x + u minimises x² + u² + (2x + u)² at u = −x, and a step earlier at u = −(3/2) x
    system = Linear(A=torch.tensor([[2.0]]), B=torch.tensor([[1.0]]))
    still = Trajectory(actions=torch.zeros(2, 1).double(), states=torch.zeros(3, 1).double())
    gains = synthesize(Tvlqr(terminal="cost"), system, still).gains
    assert_close(gains.flatten(), torch.tensor([-1.5, -1.0]).double())


def test_a_recursion_from_the_cost_needs_no_reachable_end():
    system = Linear(A=torch.diag(torch.tensor([1.2, 0.5])), B=torch.tensor([[0.0], [1.0]]))
    still = Trajectory(actions=torch.zeros(5, 1), states=torch.zeros(6, 2))
    gains = synthesize(Tvlqr(terminal="cost"), system, still).gains
    assert torch.equal(gains[..., 0], torch.zeros(5, 1))


def test_a_recursion_from_the_cost_names_a_broken_step(demonstrations, quadrotor):
    short = _short(demonstrations)
    states = short.states.clone()
    states[2, 4, 2] = torch.nan
    with pytest.raises(SynthesisError, match="at step 4 of trajectory 2 it contains NaN"):
        synthesize(Tvlqr(terminal="cost"), quadrotor, Trajectory(actions=short.actions, states=states))


def test_recipes_from_before_the_choice_of_the_end_are_read():
    assert from_plain(Tvlqr, {"kind": "Tvlqr", "state_weight": 2.0, "action_weight": 1.0}) == Tvlqr(2.0, 1.0, "value")
    method = Tvlqr(terminal="cost")
    assert from_plain(Tvlqr, to_plain(method)) == method


def test_the_receding_gain_is_the_expert_s_own_on_a_linear_system():
    rng = stream(0, "receding")
    A = 0.8 * torch.randn(3, 3, dtype=torch.float64, generator=rng)
    B = torch.randn(3, 2, dtype=torch.float64, generator=rng)
    Q, R = (1.0, 0.3, 2.0), (0.5, 0.1)
    task = Linear(A, B, *(torch.tensor(weight, dtype=torch.float64).diag() for weight in (Q, R)))
    expert = MpcExpert(task, horizon=6, tolerance=1e-11)
    state = torch.randn(1, 3, dtype=torch.float64, generator=rng)
    demonstration = expert.rollout(state, 4)
    gains = synthesize(Receding(Q, R, horizon=6), task, demonstration).gains

    # The law is linear, so that differences of any size are exact.
    moved = expert.plan(state + torch.eye(3, dtype=torch.float64)).actions[:, 0]
    jacobian = (moved - expert.plan(state).actions[:, 0]).mT
    assert_close(gains, jacobian.expand(1, 4, 2, 3), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("method", [Tvlqr(), Dare(), Receding()], ids=repr)
def test_feedback_brings_a_disturbed_flight_back(method, demonstrations, quadrotor):
    controllers = synthesize(method, quadrotor, demonstrations)
    steady = synthesize(NoFeedback(), quadrotor, demonstrations)
    held = drifting = demonstrations.states[:, 20] + 0.02
    for t in range(20, 100):
        held = quadrotor.step(held, controllers.at(t)(held))
        drifting = quadrotor.step(drifting, steady.at(t)(drifting))
    end = demonstrations.states[:, -1]
    assert float((held - end).norm(dim=-1).median()) < 0.02
    assert float((drifting - end).norm(dim=-1).median()) > 0.5


@pytest.mark.parametrize(("method", "step"), [(Dare(), 2), (Tvlqr(), 4)], ids=repr)
def test_a_step_that_no_feedback_stabilises_is_named(method, step, quadrotor):
    state, action = quadrotor.equilibrium()
    actions = action.repeat(2, 5, 1)
    actions[1, step, 0] = 0  # Upright and without thrust, nothing moves the quadrotor sideways.
    trajectory = Trajectory(actions=actions, states=state.expand(2, 6, 6))
    with pytest.raises(SynthesisError, match=rf"step {step} of trajectory 1 .* eigenvalue 1 .* mostly x_dot"):
        synthesize(method, quadrotor, trajectory)


def test_the_last_step_of_a_short_episode_is_named(quadrotor):
    state, action = quadrotor.equilibrium()
    actions = action.repeat(9, 1)
    actions[2, 0] = 0
    episodes = Episodes(actions=actions, states=state.repeat(9, 1), lengths=torch.tensor([3, 6]))
    with pytest.raises(SynthesisError, match="step 2 of trajectory 0"):
        synthesize_episodes(Tvlqr(), quadrotor, episodes)


def test_a_broken_demonstration_is_named(demonstrations, quadrotor):
    short = _short(demonstrations)
    states = short.states.clone()
    states[2, 4, 2] = torch.nan
    with pytest.raises(SynthesisError, match="at step 4 of trajectory 2 it contains NaN"):
        synthesize(Dare(), quadrotor, Trajectory(actions=short.actions, states=states))


@pytest.mark.parametrize("thrust", [1e-1, 1e-2, 1e-3, 1e-4])
def test_a_mode_that_is_hard_to_reach_is_still_stabilised(thrust, quadrotor):
    # Upright, the thrust is all that moves the quadrotor sideways.
    trajectory = Trajectory(actions=torch.tensor([[thrust, 0.0]]).double(), states=torch.zeros(2, 6).double())
    K = synthesize(Dare(), quadrotor, trajectory).gains[0]
    point = linearize(quadrotor, trajectory.states[0], trajectory.actions[0])
    assert float(torch.linalg.eigvals(point.A + point.B @ K).abs().max()) < 1


def test_no_false_alarm_along_demonstrations(demonstrations, quadrotor):
    for weight in (0.01, 1.0, 100.0):
        assert synthesize(Dare(1.0, weight), quadrotor, demonstrations).gains.isfinite().all()
        assert synthesize(Tvlqr(1.0, weight), quadrotor, demonstrations).gains.isfinite().all()


def test_weights_of_the_wrong_length_are_refused(demonstrations, quadrotor):
    with pytest.raises(ShapeError, match="action_weight to be one number or 2, for thrust, torque"):
        synthesize(Dare(1.0, (1.0, 1.0, 1.0)), quadrotor, _short(demonstrations))


@pytest.mark.parametrize("weights", [(-1.0, 1.0), (1.0, 0.0), (1.0, (1.0, -1.0))])
def test_weights_without_an_optimum_are_refused(weights):
    with pytest.raises(RecipeError, match="action_weight > 0"):
        Tvlqr(*weights)


def test_a_horizon_without_actions_is_refused():
    with pytest.raises(RecipeError, match="at least 2"):
        Receding(horizon=1)


@pytest.mark.parametrize("method", [Tvlqr(), Dare(), Receding()], ids=repr)
def test_a_mode_that_no_action_reaches_is_named_by_every_method(method):
    system = Linear(A=torch.diag(torch.tensor([1.2, 0.5])), B=torch.tensor([[0.0], [1.0]]))
    still = Trajectory(actions=torch.zeros(5, 1), states=torch.zeros(6, 2))
    with pytest.raises(SynthesisError, match=r"1\.2.*x0"):
        synthesize(method, system, still)
