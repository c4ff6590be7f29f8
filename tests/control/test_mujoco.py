"""MuJoCo tasks as systems: the same steps as gymnasium's, Jacobians against MuJoCo's own, doors that stay shut."""

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from holdfast.control import Dare, Linearizable, System, Tvlqr, linearize, mujoco_system, products, synthesize
from holdfast.errors import MissingExtraError, RecipeError, ShapeError, SynthesisError, UnknownNameError
from holdfast.seeding import stream
from holdfast.types import Trajectory

gymnasium = pytest.importorskip("gymnasium")
mujoco = pytest.importorskip("mujoco")


@pytest.fixture(scope="module")
def cheetah():
    return mujoco_system("HalfCheetah-v4")


@pytest.fixture(scope="module")
def hopper():
    return mujoco_system("mujoco:Hopper-v4", threads=2)


def _path(system, count, steps, *, size=0.3):
    """States along rollouts of random actions, and these."""
    rng = stream(0, "tests", system.name)
    actions = size * torch.randn(count, steps, system.n_actions, dtype=torch.float64, generator=rng)
    return Trajectory(actions=actions, states=system.simulate(system.initial_states(count, rng=rng), actions))


def test_it_is_a_system_with_a_linearisation_of_its_own(hopper):
    assert isinstance(hopper, System)
    assert isinstance(hopper, Linearizable)
    assert (hopper.name, hopper.n_states, hopper.n_actions, hopper.steps) == ("mujoco:Hopper-v4", 12, 3, 1000)
    assert hopper.dt == pytest.approx(0.008)
    assert hopper.state_names[:3] == ("rootx", "rootz", "rooty")
    assert hopper.state_names[6:9] == ("rootx_dot", "rootz_dot", "rooty_dot")
    assert hopper.action_names == ("thigh_joint", "leg_joint", "foot_joint")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("task", ["Hopper-v4", "HalfCheetah-v5", "InvertedDoublePendulum-v5"])
def test_recorded_actions_lead_where_gymnasium_s_lead(task):
    system, env = mujoco_system(task), gymnasium.make(task).unwrapped
    env.reset(seed=5)
    state = torch.tensor(np.concatenate([env.data.qpos, env.data.qvel]))
    rng = np.random.default_rng(0)
    for _ in range(20):
        action = rng.uniform(-1.3, 1.3, system.n_actions)  # beyond the range, which the simulator clips
        env.step(action)
        state = system.step(state, torch.tensor(action))
        assert_close(state.numpy(), np.concatenate([env.data.qpos, env.data.qvel]), rtol=0, atol=1e-9)


def test_steps_depend_on_state_and_action_alone(cheetah):
    path = _path(cheetah, 6, 25)
    states, actions = path.states[:, :-1], path.actions
    again = cheetah.step(states.flip(0), actions.flip(0)).flip(0)
    assert torch.equal(again, path.states[:, 1:])
    assert torch.equal(cheetah.step(states[3, 7], actions[3, 7]), path.states[3, 8])
    assert torch.equal(mujoco_system("HalfCheetah-v4", threads=1).step(states, actions), again)


def test_jacobians_are_those_of_mujoco_through_the_substeps(cheetah):
    # of the three tasks only this one has an integrator whose transition MuJoCo differentiates itself
    path = _path(cheetah, 2, 40)
    states, actions = path.states[:, 5:-1:7].flatten(0, 1), path.actions[:, 5::7].flatten(0, 1).clamp(-0.99, 0.99)
    point = linearize(cheetah, states, actions)
    model, data = cheetah.simulation.model, mujoco.MjData(cheetah.simulation.model)
    a, b = np.zeros((18, 18)), np.zeros((18, 6))
    for index, (state, action) in enumerate(zip(states.numpy(), actions.numpy(), strict=True)):
        data.qpos[:], data.qvel[:], data.ctrl[:], data.qacc_warmstart[:] = state[:9], state[9:], action, 0
        A, B = np.eye(18), np.zeros((18, 6))
        for _ in range(5):
            mujoco.mjd_transitionFD(model, data, 1e-6, True, a, b, None, None)
            A, B = a @ A, a @ B + b
            mujoco.mj_step(model, data)
        assert_close(point.A[index].numpy(), A, rtol=0, atol=1e-3 * np.abs(A).max())
        assert_close(point.B[index].numpy(), B, rtol=0, atol=1e-3 * np.abs(B).max())


def test_jacobians_of_free_fall_by_hand(hopper):
    # in the air, the whole body moves as if no joint did: where it is says nothing about where it will go
    state = torch.zeros(12, dtype=torch.float64)
    state[1] = 3.0
    point = linearize(hopper, state, torch.zeros(3, dtype=torch.float64))
    column = torch.zeros(12, dtype=torch.float64)
    column[0] = 1.0
    assert_close(point.A[:, 0], column, rtol=0, atol=1e-8)
    # the joint of the root has no damping: a push forward is kept
    column[6], column[0] = 1.0, 0.008
    assert_close(point.A[:, 6], column, rtol=0, atol=1e-5)
    fall = Trajectory(actions=torch.zeros(1, 3), states=torch.stack([state, state]))
    for method in (Dare(), Tvlqr()):
        with pytest.raises(SynthesisError, match=r"mostly root[xz]"):
            synthesize(method, hopper, fall)
    assert synthesize(Tvlqr(terminal="cost"), hopper, fall).gains.isfinite().all()


def test_an_action_at_its_limit_is_felt_inwards_and_none_beyond(hopper):
    state = _path(hopper, 1, 30).states[0, -1]
    inside, limit, beyond = (
        hopper.linearize(state, torch.tensor([value, 0.0, 0.0], dtype=torch.float64)).B for value in (0.999, 1.0, 1.5)
    )
    assert float(inside[:, 0].norm()) > 1e-3
    assert_close(limit, inside, rtol=1e-2, atol=1e-2)
    assert torch.equal(beyond[:, 0], torch.zeros(12, dtype=torch.float64))


def test_values_keep_their_dtype_and_shape(cheetah):
    path = _path(cheetah, 2, 3)
    states, actions = path.states[:, :-1].float(), path.actions.float()
    assert cheetah.step(states, actions).dtype == torch.float32
    assert cheetah.linearize(states, actions).A.shape == (2, 3, 18, 18)
    assert cheetah.observation(states).shape == (2, 3, 17)
    rewards, over = cheetah.rewards(states, actions)
    assert (rewards.shape, over.shape, over.any().item()) == ((2, 3), (2, 3), False)
    assert cheetah.step(states[:0], actions[:0]).shape == (0, 3, 18)


@pytest.mark.filterwarnings("ignore")
def test_observations_and_rewards_are_the_task_s(hopper):
    env = gymnasium.make("Hopper-v4").unwrapped
    first, _ = env.reset(seed=1)
    state = torch.tensor(np.concatenate([env.data.qpos, env.data.qvel]))
    assert_close(hopper.observation(state).numpy(), first)
    assert hopper.observation(torch.cat([state[:6], 20 + state[6:]]))[5:].tolist() == [10.0] * 6
    action = np.array([0.3, -0.2, 0.1])
    _, reward, over, _, _ = env.step(action)
    found, ended = hopper.rewards(state, torch.tensor(action))
    assert_close(float(found), float(reward))
    assert bool(ended) == over
    fallen = state.clone()
    fallen[1] = 0.4
    assert bool(hopper.rewards(fallen, torch.tensor(action))[1])


def test_initial_states_are_the_seed_s_and_the_task_s(hopper):
    first, again = (hopper.initial_states(50, rng=stream(2, "x0")) for _ in range(2))
    assert torch.equal(first, again)
    assert not torch.equal(first[0], first[1])
    rest = torch.zeros(12, dtype=torch.float64)
    rest[1] = 1.25
    assert float((first - rest).abs().max()) <= 0.005


def test_gains_contract_where_the_open_loop_grows(hopper):
    path = _path(hopper, 2, 60)
    method = Tvlqr((1.0,) * 6 + (0.1,) * 6, 0.1, terminal="cost")
    gains = synthesize(method, hopper, path).gains
    along = linearize(hopper, path.states[:, :-1], path.actions)
    free, held = (torch.linalg.matrix_norm(products(J, 50), 2) for J in (along.A, along.A + along.B @ gains))
    assert bool((held < 0.7 * free).all())
    assert torch.equal(gains, synthesize(method, hopper, path).gains)


def test_a_broken_state_gives_nan_and_leaves_the_others(cheetah):
    path = _path(cheetah, 3, 1)
    broken = path.states[:, 0].clone()
    broken[0, 3], broken[1, 3] = torch.nan, 1e20
    after = cheetah.step(broken, path.actions[:, 0])
    assert after[:2].isnan().all()
    assert torch.equal(after[2], path.states[2, 1])
    without = path.actions[:, 0].clone()
    without[2, 1] = torch.nan
    assert cheetah.step(path.states[:, 0], without).isnan().all(-1).tolist() == [False, False, True]
    with pytest.raises(SynthesisError, match="step 0 of trajectory 0 it contains NaN"):
        synthesize(
            Tvlqr(terminal="cost"), cheetah, Trajectory(actions=path.actions, states=torch.stack([broken, after], 1))
        )


@pytest.mark.parametrize(
    ("task", "message"),
    [("Hoper-v4", "unknown MuJoCo task 'Hoper-v4'.*Hopper-v4"), ("CartPole-v1", "MuJoCo"), ("os:Hopper-v4", "MuJoCo")],
)
def test_unknown_tasks_list_the_known_ones(task, message):
    with pytest.raises(UnknownNameError, match=message):
        mujoco_system(task)


def test_states_that_are_no_vectors_are_refused():
    with pytest.raises(RecipeError, match=r"Ant-v5: its joint 'root' is a free joint.*15 positions for 14 velocities"):
        mujoco_system("Ant-v5")
    with pytest.raises(RecipeError, match="at least 1 thread, got 0"):
        mujoco_system("Hopper-v4", threads=0)


def test_gradients_and_wrong_lengths_are_refused(hopper):
    state, action = torch.zeros(12), torch.zeros(3)
    with pytest.raises(RecipeError, match="cannot be differentiated"):
        hopper.step(state.requires_grad_(), action)
    with pytest.raises(RecipeError, match="cannot be differentiated"):
        torch.func.jacrev(hopper.step)(torch.zeros(12), action)
    with pytest.raises(ShapeError, match="expected 12 coordinates, got 11"):
        hopper.step(torch.zeros(11), action)


def test_a_missing_simulator_is_named(monkeypatch):
    monkeypatch.setattr("holdfast.control.systems.mujoco_model.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"holdfast\[mujoco\]"):
        mujoco_system("Hopper-v4")
