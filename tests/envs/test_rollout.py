"""Closed loops: equal to a loop by hand, disturbed on demand, never NaN."""

from dataclasses import dataclass

import pytest
import torch

from holdfast.control import Linear
from holdfast.envs import Actor, SystemEnvironment, rollout
from holdfast.envs.actors import Intervention
from holdfast.errors import RecipeError, ShapeError


def run(system, policy, starts, *, steps, limit=1e3, **options):
    return rollout(policy, SystemEnvironment(system, steps=steps, limit=limit), starts=starts, **options)


@dataclass
class Feedback:
    """u = k x, or NaN for one episode from one step on."""

    k: float = -0.4
    nan_episode: int | None = None
    resets: int = -1

    def reset(self, seed=0):
        self.resets, self.step = seed, 0

    def act(self, observation, state):
        assert torch.equal(observation.state, state)
        action = self.k * state
        self.step += 1
        if self.nan_episode is not None and self.step > 2:
            action[self.nan_episode] = float("nan")
        return action


@pytest.fixture
def system() -> Linear:
    return Linear(torch.tensor([[1.2]], dtype=torch.float64), torch.tensor([[1.0]]).double())


def test_equals_a_loop_by_hand(system, gaussian):
    starts, push = gaussian(0, 5, 1), gaussian(1, 5, 7, 1)
    policy, done = Feedback(), []
    assert isinstance(policy, Actor)
    found = run(system, policy, starts, steps=7, seed=9, disturbance=push, on_step=done.append)
    assert policy.resets == 9
    assert done == list(range(1, 8))
    for b in range(5):
        x = float(starts[b])
        for t in range(7):
            assert float(found.trajectory.states[b, t]) == pytest.approx(x, abs=1e-12)
            u = -0.4 * x
            assert float(found.trajectory.actions[b, t]) == pytest.approx(u, abs=1e-12)
            x = 1.2 * x + u + float(push[b, t])
        assert float(found.trajectory.states[b, 7]) == pytest.approx(x, abs=1e-12)
    assert not bool(found.escaped.any())


def test_a_disturbance_is_shared_by_those_who_are_given_it(system, gaussian):
    """The difference of two disturbed runs of a linear system does not see the disturbance."""
    push, a, b = gaussian(1, 5, 7, 1), gaussian(0, 5, 1), gaussian(2, 5, 1)
    disturbed = [run(system, Feedback(), x, steps=7, disturbance=push).trajectory.states for x in (a, b)]
    calm = [run(system, Feedback(), x, steps=7).trajectory.states for x in (a, b)]
    torch.testing.assert_close(disturbed[0] - disturbed[1], calm[0] - calm[1])
    assert not torch.allclose(disturbed[0], calm[0])


def test_escaped_episodes_stand_still_and_leave_the_others_alone(system):
    """Growth by 2.2 a step from 1: 2.2, 4.84, 10.6 is beyond 6; from 0 and 0.01 nothing happens."""
    starts = torch.tensor([[1.0], [0.0], [0.01]], dtype=torch.float64)
    found = run(system, Feedback(k=1.0), starts, steps=6, limit=6.0)
    assert found.escaped.tolist() == [True, False, False]
    assert found.trajectory.states[0, :, 0].tolist() == pytest.approx([1.0, 2.2, 4.84, 4.84, 4.84, 4.84, 4.84])
    alone = run(system, Feedback(k=1.0), starts[1:], steps=6, limit=6.0)
    assert torch.equal(found.trajectory.states[1:], alone.trajectory.states)
    assert torch.equal(found.trajectory.actions[1:], alone.trajectory.actions)


def test_an_action_that_is_no_number_stops_its_episode_only(system, gaussian):
    starts = gaussian(0, 3, 1)
    found = run(system, Feedback(nan_episode=1), starts, steps=6)
    assert found.escaped.tolist() == [False, True, False]
    assert bool(found.trajectory.states.isfinite().all() & found.trajectory.actions.isfinite().all())
    assert bool((found.trajectory.states[1, 2:] == found.trajectory.states[1, 2]).all())
    plain = run(system, Feedback(), starts, steps=6).trajectory
    assert torch.equal(found.trajectory.states[[0, 2]], plain.states[[0, 2]])


class Saturating(Linear):
    """A system whose actuator ignores commands that are no numbers."""

    def step(self, state, action):
        return super().step(state, action.nan_to_num(0.0))


def test_an_action_that_is_no_number_counts_even_where_the_system_survives_it(system, gaussian):
    found = run(Saturating(system.A, system.B), Feedback(nan_episode=1), gaussian(0, 3, 1), steps=6)
    assert found.escaped.tolist() == [False, True, False]
    assert bool((found.trajectory.states[1, 2:] == found.trajectory.states[1, 2]).all())


def test_overflow_stays_finite(system):
    found = run(system, Feedback(k=1e200), torch.ones(1, 1).double(), steps=4)
    assert bool(found.escaped.all())
    assert bool(found.trajectory.states.isfinite().all() & found.trajectory.actions.isfinite().all())


@pytest.mark.parametrize(
    ("disturbance", "error"),
    [
        (torch.zeros(3, 7, 1), ShapeError),
        (torch.zeros(2, 3, 1), ShapeError),
        (torch.zeros(2, 7, 2), ShapeError),
        (torch.full((2, 7, 1), float("nan")), RecipeError),
        (torch.full((2, 7, 1), float("inf")), RecipeError),
    ],
)
def test_odd_disturbances_are_refused(system, disturbance, error):
    starts = torch.zeros(2, 1, dtype=torch.float64)
    with pytest.raises(error, match="expected a disturbance of"):
        run(system, Feedback(), starts, steps=7, disturbance=disturbance.double())


@pytest.mark.parametrize(
    ("actor", "action", "error"),
    [
        (torch.ones(3, dtype=torch.long), torch.zeros(3, 1), ShapeError),
        (torch.ones(2, dtype=torch.long), torch.zeros(2, 4), ShapeError),
        (torch.tensor([1, 7]), torch.zeros(2, 1), RecipeError),
        (torch.tensor([1, -1]), torch.zeros(2, 1), RecipeError),
    ],
)
def test_odd_interventions_are_refused(system, actor, action, error):
    starts = torch.zeros(2, 1, dtype=torch.float64)
    with pytest.raises(error, match=r"expected (an Intervention|actors)"):
        run(system, Feedback(), starts, steps=7, intervene=lambda *_: Intervention(actor, action.double()))
    with pytest.raises(RecipeError, match="expected intervene to return an Intervention or None, got str"):
        run(system, Feedback(), starts, steps=7, intervene=lambda *_: "me")
