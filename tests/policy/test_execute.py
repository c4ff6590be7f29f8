"""Receding-horizon execution: which controller acts when, on what window, within which limits."""

from dataclasses import dataclass, field

import pytest
import torch

from holdfast.control import Linear, dare, gain
from holdfast.envs import SystemEnvironment, rollout
from holdfast.errors import RecipeError, ShapeError
from holdfast.policy import ChunkExecutor, Plans
from holdfast.types import Observation, PrimitiveControllers

HORIZON = 6


@dataclass
class Numbered:
    """Chunk number c, step k is the constant action 10 c + k; keeps the windows that it was asked with."""

    windows: list[torch.Tensor] = field(default_factory=list)

    def plan(self, window, *, rng, prefix=None):
        window = window.vector
        number = len(self.windows)
        self.windows.append(window)
        steps = torch.arange(HORIZON).double() + 10 * number
        actions = steps[None, :, None].expand(len(window), -1, 1)
        return PrimitiveControllers.open_loop(actions, torch.zeros(len(window), HORIZON, 2).double())


def seen(*values: float) -> Observation:
    """Observations (v, −v) of a batch."""
    return Observation(state=torch.tensor([[value, -value] for value in values]).double())


def act(executor: ChunkExecutor, *values: float) -> torch.Tensor:
    observation = seen(*values)
    return executor.act(observation, observation.state)


def test_a_plan_is_anything_with_the_verb():
    assert isinstance(Numbered(), Plans)


@pytest.mark.parametrize(
    ("n_action_steps", "expected"),
    [(1, [0, 10, 20, 30, 40, 50, 60]), (3, [0, 1, 2, 10, 11, 12, 20]), (6, [0, 1, 2, 3, 4, 5, 10])],
)
def test_which_controller_acts_when(n_action_steps, expected):
    executor = ChunkExecutor(Numbered(), n_action_steps=n_action_steps)
    assert [float(act(executor, step)) for step in range(7)] == expected


def test_windows_are_padded_with_the_first_observation():
    plans = Numbered()
    executor = ChunkExecutor(plans, n_obs_steps=3, n_action_steps=1)
    for step in range(1, 5):
        act(executor, step, 100 + step)
    windows = [window[0, :, 0].tolist() for window in plans.windows]
    assert windows == [[1, 1, 1], [1, 1, 2], [1, 2, 3], [2, 3, 4]]
    assert plans.windows[2][1].tolist() == [[101, -101], [102, -102], [103, -103]]


def test_observations_between_plans_enter_the_next_window():
    plans = Numbered()
    executor = ChunkExecutor(plans, n_obs_steps=2, n_action_steps=3)
    for step in range(4):
        act(executor, step)
    assert plans.windows[1][0, :, 0].tolist() == [2, 3]


def test_reset_forgets_window_chunk_and_randomness():
    plans = Numbered()
    executor = ChunkExecutor(plans, n_obs_steps=2, n_action_steps=3, seed=5)
    first = torch.rand(3, generator=executor.rng)
    act(executor, 1.0)
    executor.reset(5)
    act(executor, 7.0)
    assert plans.windows[1][0, :, 0].tolist() == [7, 7]
    executor.reset(5)
    assert torch.equal(torch.rand(3, generator=executor.rng), first)
    executor.reset(6)
    assert not torch.equal(torch.rand(3, generator=executor.rng), first)


@dataclass
class Regulator:
    """The optimal feedback of a linear system, in chunks along its own predicted trajectory."""

    system: Linear
    K: torch.Tensor

    def plan(self, window, *, rng, prefix=None):
        window = window.vector
        states, actions = [window[:, -1]], []
        for _ in range(HORIZON):
            actions.append(states[-1] @ self.K.T)
            states.append(self.system.step(states[-1], actions[-1]))
        gains = self.K.expand(len(window), HORIZON, -1, -1)
        return PrimitiveControllers(actions=torch.stack(actions, 1), states=torch.stack(states[:-1], 1), gains=gains)


def test_with_exact_feedback_chunks_n_action_steps_does_not_matter(gaussian):
    """ū_k + K (x − x̄_k) = K x whenever x̄, ū follow the same law, also where the state was pushed off the plan."""
    A = torch.tensor([[1.1, 0.3], [0.0, 1.05]], dtype=torch.float64)
    B = torch.tensor([[0.0], [0.5]], dtype=torch.float64)
    system, eye = Linear(A, B), torch.eye(2).double()
    K = gain(A, B, torch.eye(1).double(), dare(A, B, eye, torch.eye(1).double()))
    push = 0.1 * gaussian(1, 4, 30, 2)
    runs = [
        rollout(
            ChunkExecutor(Regulator(system, K), n_action_steps=steps),
            SystemEnvironment(system, steps=30),
            starts=gaussian(0, 4, 2),
            disturbance=push,
        ).trajectory.states
        for steps in (1, 2, 5, 6)
    ]
    for other in runs[1:]:
        torch.testing.assert_close(other, runs[0], rtol=0, atol=1e-11)
    expected = gaussian(0, 4, 2)
    for step in range(30):
        expected = expected @ (A + B @ K).T + push[:, step]
    torch.testing.assert_close(runs[0][:, -1], expected, rtol=0, atol=1e-11)


def test_feedback_uses_the_state():
    @dataclass
    class Holds:
        def plan(self, window, *, rng, prefix=None):
            window = window.vector
            ones = torch.ones(len(window), 2, 1).double()
            return PrimitiveControllers(actions=0 * ones, states=3 * ones, gains=-ones[..., None])

    observation, state = Observation(state=torch.zeros(1, 1).double()), torch.tensor([[-3.0]]).double()
    assert float(ChunkExecutor(Holds()).act(observation, state)) == 6.0


@pytest.mark.parametrize(
    ("low", "high", "expected"), [(12.0, None, 12.0), (None, 5.0, 5.0), (3.0, 4.0, 4.0), (-99.0, 99.0, 10.0)]
)
def test_action_limits(low, high, expected):
    bounds = [None if bound is None else torch.tensor([bound]) for bound in (low, high)]
    executor = ChunkExecutor(Numbered(), action_low=bounds[0], action_high=bounds[1])
    act(executor, 0.0)
    assert float(act(executor, 0.0)) == expected


def test_a_horizon_shorter_than_the_action_steps_is_refused():
    executor = ChunkExecutor(Numbered(), n_action_steps=7)
    with pytest.raises(RecipeError, match=r"horizon 6 is shorter than n_action_steps 7\. Lower .* horizon >= 7"):
        act(executor, 0.0)


def test_another_batch_size_without_reset_is_refused():
    executor = ChunkExecutor(Numbered(), n_obs_steps=2)
    act(executor, 0.0, 1.0)
    with pytest.raises(ShapeError, match=r"expected observations of shape \(2, 2\).* got \(1, 2\).*reset\(\)"):
        act(executor, 0.0)
    executor.reset()
    act(executor, 0.0)
