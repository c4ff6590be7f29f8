"""The safety filter: values by hand, an independent solver, counts, and refusals."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from torch.testing import assert_close

from holdfast.control import Linear
from holdfast.envs import SystemEnvironment, rollout
from holdfast.errors import RecipeError
from holdfast.evaluation import evaluate
from holdfast.policy import Execution, PolicySpec, SafetyFilter
from holdfast.schema import from_plain, to_plain
from holdfast.seeding import stream

STILL = torch.zeros(1, 2).double()
# p' = p + 0.1 v, v' = v + 0.1 u
A, B = ((1.0, 0.1), (0.0, 1.0)), ((0.0,), (0.1,))
SLOW = SafetyFilter(half_spaces=((0.0, 1.0),), offsets=(1.0,), state_matrix=A, action_matrix=B)


def nearest(limits, action, state=None, before=None):
    action = torch.tensor([action]).double()
    state = STILL if state is None else torch.tensor([state]).double()
    found, active, infeasible = limits.nearest(action, state, None if before is None else torch.tensor([before]))
    return found[0].tolist(), bool(active), bool(infeasible)


def test_limits_and_rates_by_hand():
    limits = SafetyFilter(action_low=(-1.0, -1.0), action_high=(1.0, 2.0), rate=(0.5, 5.0))
    assert nearest(limits, [0.5, 1.0]) == ([0.5, 1.0], False, False)
    assert nearest(limits, [3.0, -4.0]) == ([1.0, -1.0], True, False)
    # from 0.2, at most 0.7 in the first coordinate
    assert nearest(limits, [0.9, 1.0], before=[0.2, 0.0]) == ([pytest.approx(0.7), 1.0], True, False)


def test_the_speed_of_the_next_state_by_hand():
    # v' = 0.8 + 0.1 u <= 1 gives u <= 2
    assert nearest(SLOW, [5.0], [0.0, 0.8]) == ([pytest.approx(2.0)], True, False)
    assert nearest(SLOW, [1.5], [0.0, 0.8]) == ([1.5], False, False)
    # a barrier with decay 0.25: 1 − v' >= 0.75 (1 − 0.8) gives u <= 0.5
    assert nearest(replace(SLOW, decay=0.25), [5.0], [0.0, 0.8]) == ([pytest.approx(0.5)], True, False)
    # with a drift of 0.1 on v, u <= 1
    assert nearest(replace(SLOW, drift=(0.0, 0.1)), [5.0], [0.0, 0.8]) == ([pytest.approx(1.0)], True, False)


def test_the_weighted_distance_moves_the_cheap_coordinate():
    both = SafetyFilter(half_spaces=((1.0,),), offsets=(0.0,), state_matrix=((1.0,),), action_matrix=((1.0, 1.0),))
    # u + w <= 0 from (1, 1): in the Euclidean norm both give way by 1; with weights 1 and 3 by 3/2 and 1/2
    assert nearest(both, [1.0, 1.0], [0.0])[0] == pytest.approx([0.0, 0.0])
    assert nearest(replace(both, weights=(1.0, 3.0)), [1.0, 1.0], [0.0])[0] == pytest.approx([-0.5, 0.5])


def test_no_action_keeps_everything_and_the_violation_is_least():
    limits = replace(SLOW, action_low=(-1.0,), action_high=(1.0,))
    # v = 3: v' <= 1 needs u <= -20, but -1 is the hardest brake
    assert nearest(limits, [0.5], [0.0, 3.0]) == ([pytest.approx(-1.0, abs=1e-6)], True, True)
    # p' = p + 0.1 v cannot be changed by u at all: nothing to do but keep the limits
    place = replace(limits, half_spaces=((1.0, 0.0),), offsets=(-1.0,))
    assert nearest(place, [4.0], [0.0, 0.0]) == ([pytest.approx(1.0)], True, True)
    # two half-spaces that exclude each other: u <= 0 and u >= 2 meet in the middle
    torn = SafetyFilter(
        half_spaces=((1.0,), (-1.0,)), offsets=(0.0, -2.0), state_matrix=((0.0,),), action_matrix=((1.0,),)
    )
    found, active, infeasible = nearest(torn, [5.0], [0.0])
    assert (found, active, infeasible) == ([pytest.approx(1.0, abs=1e-4)], True, True)


def test_it_agrees_with_another_solver_on_random_polytopes():
    rng = stream(0, "polytopes")

    def draw(*shape):
        return torch.randn(*shape, generator=rng, dtype=torch.float64)

    compared = 0
    for _ in range(40):
        G, dynamics, control = draw(4, 3), draw(3, 3), draw(3, 3)
        rows = [tuple(map(tuple, part.tolist())) for part in (G, dynamics, control)]
        limits = SafetyFilter(
            action_low=(-2.0,) * 3,
            action_high=(2.0,) * 3,
            half_spaces=rows[0],
            offsets=(1.0,) * 4,
            state_matrix=rows[1],
            action_matrix=rows[2],
            weights=(1.0, 2.0, 0.5),
        )
        wished, state = 3 * draw(1, 3), draw(1, 3)
        found, _, infeasible = limits.nearest(wished, state)
        slack = 1.0 - (G @ (dynamics @ state[0] + control @ found[0]))
        if bool(infeasible):
            continue
        assert float(slack.min()) > -1e-8
        normal, right = (G @ control).numpy(), (1.0 - G @ dynamics @ state[0]).numpy()
        weights, start = np.array([1.0, 2.0, 0.5]), wished[0].numpy()
        best = minimize(
            lambda u, w=weights, s=start: float((w * (u - s) ** 2).sum()),
            found[0].numpy() + 0.01,
            bounds=[(-2, 2)] * 3,
            constraints={"type": "ineq", "fun": lambda u, n=normal, r=right: r - n @ u},
            method="SLSQP",
            options={"ftol": 1e-14, "maxiter": 500},
        )
        cost = float((weights * (found[0].numpy() - start) ** 2).sum())
        assert cost <= best.fun * (1 + 1e-6) + 1e-9 or not best.success
        compared += best.success
    assert compared > 20


def test_a_batch_is_its_rows_and_keeps_what_is_not_finite():
    limits = replace(SLOW, action_low=(-1.0,), action_high=(1.0,))
    actions = torch.tensor([[0.5], [7.0], [float("nan")], [-0.2]], dtype=torch.float32)
    states = torch.tensor([[0.0, 0.0], [0.0, 0.95], [0.0, 0.0], [0.0, 3.0]], dtype=torch.float64)
    found, active, infeasible = limits.nearest(actions, states)
    assert found.dtype == torch.float32
    assert_close(found[[0, 1, 3]], torch.tensor([[0.5], [0.5], [-1.0]]), atol=1e-5, rtol=0)
    assert bool(found[2].isnan())
    assert active.tolist() == [False, True, False, True]
    assert infeasible.tolist() == [False, False, False, True]


class Pushing:
    """Policy that always pushes, behind a filter, as `Policy` arranges it."""

    def __init__(self, limits):
        from holdfast.policy import Filtered

        self.filtered = Filtered(self._Inner(), limits)

    class _Inner:
        def reset(self, seed=None):
            return None

        def act(self, observation, state):
            return torch.full((len(state), 1), 1.0, dtype=torch.float64)

    def reset(self, seed=None):
        self.filtered.reset(seed)

    def act(self, observation, state):
        return self.filtered.act(observation, state)


def test_a_rollout_counts_what_the_filter_did():
    system = Linear(A=torch.tensor(A).double(), B=torch.tensor(B).double(), steps=30, name="cart")
    limits = replace(SLOW, offsets=(0.25,), action_low=(-1.0,), action_high=(1.0,))
    starts = torch.tensor([[0.0, 0.0], [0.0, 0.25], [0.0, 5.0]]).double()
    found = rollout(Pushing(limits), SystemEnvironment(system), starts=starts)
    speeds = found.trajectory.states[:2, :, 1]
    assert float(speeds.max()) <= 0.25 + 1e-9
    # v rises by 0.1 a step to 0.2, then by 0.05 and no more: 28 filtered steps; the second is held from its start
    assert found.filtered.tolist()[:2] == [28.0, 30.0]
    # the third is too fast to be slow after one step, for 47 steps of the hardest brake
    assert found.infeasible.tolist() == [0.0, 0.0, 30.0]
    assert rollout(Pushing._Inner(), SystemEnvironment(system), starts=starts).filtered is None
    estimates = evaluate(Pushing(limits), SystemEnvironment(system), episodes=12).estimates
    assert estimates["filtered"].mean > 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"half_spaces": (), "offsets": ()}, "a safety filter without constraints"),
        ({"offsets": ()}, "1 half-spaces have 0 offsets"),
        ({"state_matrix": ()}, "needs dynamics. Give state_matrix and action_matrix"),
        ({"decay": 0.0}, "a decay above 0 and at most 1, got 0"),
        ({"rate": (0.0,)}, "a rate and weights above 0"),
        ({"weights": (-1.0,)}, "a rate and weights above 0"),
        ({"action_low": (2.0,), "action_high": (1.0,)}, "action_low <= action_high"),
        ({"offsets": (float("nan"),)}, "finite numbers"),
    ],
)
def test_constraints_that_make_no_filter(changes, message):
    with pytest.raises(RecipeError, match=re.escape(message)):
        replace(SLOW, **changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rate": (1.0, 1.0)}, "rate of the safety filter with 1 numbers, for 2 states and 1 actions, got 2"),
        ({"half_spaces": ((1.0,),)}, "row 0 of half_spaces of the safety filter with 2 numbers"),
        ({"state_matrix": (A[0],)}, "state_matrix of the safety filter with 2 numbers"),
        ({"action_matrix": ((0.0, 1.0), (1.0, 0.0))}, "row 0 of action_matrix of the safety filter with 1 numbers"),
    ],
)
def test_a_filter_of_another_robot(changes, message):
    execution = Execution(filter=replace(SLOW, **changes))
    with pytest.raises(RecipeError, match=message):
        PolicySpec(n_states=2, n_actions=1, n_observed=2, execution=execution)


def test_it_is_stored_with_the_execution():
    execution = Execution(filter=replace(SLOW, rate=(1.0,)))
    assert from_plain(Execution, json.loads(json.dumps(to_plain(execution)))) == execution
