"""Temporal ensembling: which plans are averaged, how they are weighed, and what feedback makes of it."""

import math
from dataclasses import dataclass, field

import pytest
import torch

from holdfast.errors import RecipeError, ShapeError
from holdfast.policy import ChunkExecutor, Plans
from holdfast.policy.ensemble import TemporalEnsemble
from holdfast.policy.overlap import Ensemble
from holdfast.schema import from_plain, to_plain
from holdfast.seeding import stream
from holdfast.types import Observation, PrimitiveControllers

HORIZON = 4


@dataclass
class Listed:
    """Plan number i is `chunks[i]`: composite actions without feedback, of two episodes and one action."""

    chunks: torch.Tensor
    asked: list[torch.Tensor] = field(default_factory=list)

    def plan(self, window, *, rng, prefix=None):
        window = window.vector
        actions = self.chunks[len(self.asked)]
        self.asked.append(window)
        return PrimitiveControllers.open_loop(actions, torch.zeros(*actions.shape[:2], 2).double())


def running(plans: Plans, options=None, **executor) -> TemporalEnsemble:
    return TemporalEnsemble(ChunkExecutor(plans, **executor), options or Ensemble())


def act(ensemble, count=2, state=0.0):
    seen = torch.full((count, 2), state, dtype=torch.float64)
    return ensemble.act(Observation(state=seen), seen)


def test_three_overlapping_chunks_by_hand():
    """At the third step: step 2 of the first plan (oldest), step 1 of the second, step 0 of the third."""
    plans = [[[1, 2, 3, 4]], [[10, 20, 30, 40]], [[100, 200, 300, 400]]]
    chunks = torch.tensor(plans, dtype=torch.float64)[..., None]
    half = math.log(2)
    for newest_first, expected in [(False, [1, (2 * 2 + 10) / 3, (4 * 3 + 2 * 20 + 100) / 7]),
                                   (True, [1, (2 + 2 * 10) / 3, (3 + 2 * 20 + 4 * 100) / 7])]:  # fmt: skip
        ensemble = running(Listed(chunks), Ensemble(decay=half, newest_first=newest_first))
        assert [float(act(ensemble, 1)) for _ in range(3)] == pytest.approx(expected)


def test_a_plan_that_is_used_up_has_no_say():
    chunks = torch.zeros(6, 1, HORIZON, 1).double()
    chunks[0], chunks[1] = 1e6, 1e3
    ensemble = running(Listed(chunks), Ensemble(decay=0.0))
    found = [float(act(ensemble, 1)) for _ in range(6)]
    assert found == pytest.approx([1e6, 1.001e6 / 2, 1.001e6 / 3, 1.001e6 / 4, 1e3 / 4, 0])


def online(chunks, decay):
    """The recursion of published ensemblers: a running mean a step, and how many plans it holds."""
    weights = [math.exp(-decay * index) for index in range(HORIZON)]
    means, counts, said = [], [], []
    for chunk in chunks:
        values = list(chunk[0, :, 0])
        for index in range(len(means)):
            before, new = sum(weights[: counts[index]]), weights[counts[index]]
            means[index] = (means[index] * before + values[index] * new) / (before + new)
            counts[index] += 1
        means, counts = [*means, *values[len(means) :]], [*counts, *[1] * (HORIZON - len(counts))]
        said.append(float(means.pop(0)))
        counts.pop(0)
    return said


@pytest.mark.parametrize("decay", [0.0, 0.01, 1.3])
def test_equals_the_online_recursion(gaussian, decay):
    chunks = gaussian(0, 12, 1, HORIZON, 1)
    ensemble = running(Listed(chunks), Ensemble(decay=decay))
    assert [float(act(ensemble, 1)) for _ in range(12)] == pytest.approx(online(chunks, decay), abs=1e-12)


def test_actions_of_zero_count():
    """The published code leaves them out, and would answer 6."""
    chunks = torch.tensor([[[[0.0], [0.0]]], [[[6.0], [6.0]]]], dtype=torch.float64)
    ensemble = running(Listed(chunks), Ensemble(decay=0.0))
    assert float(act(ensemble, 1)) == 0
    assert float(act(ensemble, 1)) == 3


def test_constant_plans_are_reproduced_in_a_batch():
    chunks = torch.tensor([0.3, -0.7]).double()[None, :, None, None].expand(9, 2, HORIZON, 1)
    ensemble = running(Listed(chunks), Ensemble(decay=0.4))
    for _ in range(9):
        torch.testing.assert_close(act(ensemble)[:, 0], torch.tensor([0.3, -0.7]).double(), rtol=0, atol=1e-15)


def test_rows_are_independent(gaussian):
    chunks = gaussian(0, 7, 2, HORIZON, 1)
    both = running(Listed(chunks))
    alone = [running(Listed(chunks[:, row, None])) for row in range(2)]
    for _ in range(7):
        expected = torch.cat([act(one, 1) for one in alone])
        torch.testing.assert_close(act(both), expected, rtol=0, atol=1e-15)


@pytest.mark.parametrize("newest_first", [False, True])
def test_a_large_decay_leaves_one_plan(gaussian, newest_first):
    """Newest first it is receding-horizon control; oldest first every plan is followed to its end."""
    chunks = gaussian(0, 8, 1, HORIZON, 1)
    ensemble = running(Listed(chunks), Ensemble(decay=1e6, newest_first=newest_first))
    found = [float(act(ensemble, 1)) for _ in range(8)]
    plans = range(8) if newest_first else [0, 0, 0, 0, 1, 2, 3, 4]
    assert found == [float(chunks[plan, 0, step - plan, 0]) for step, plan in enumerate(plans)]


@dataclass
class Feedback:
    """κ_k(x) = ū + K (x − x̄_k) of a scalar system: K is the number of the plan, x̄ the step in the chunk."""

    number: int = 0

    def plan(self, window, *, rng, prefix=None):
        window = window.vector
        self.number += 1
        ones = torch.ones(len(window), 3, 1).double()
        steps = torch.arange(3).double()[None, :, None].expand_as(ones)
        return PrimitiveControllers(actions=5 * ones, states=steps, gains=self.number * ones[..., None])


def test_controllers_answer_the_present_state():
    """At x = 10: plan 1 gives 5 + 1 (10 − 1), plan 2 gives 5 + 2 (10 − 0)."""
    ensemble = running(Feedback(), Ensemble(decay=0.0))
    for state in (-3.0, 10.0):
        here = torch.tensor([[state]], dtype=torch.float64)
        action = ensemble.act(Observation(state=here), here)
    assert float(action) == pytest.approx((14 + 25) / 2)


def test_the_average_is_limited():
    chunks = torch.tensor([[[[0.0], [9.0]]], [[[-5.0], [0.0]]]], dtype=torch.float64)
    low, high = torch.tensor([-1.0]), torch.tensor([1.0])
    ensemble = running(Listed(chunks), Ensemble(decay=0.0), action_low=low, action_high=high)
    act(ensemble, 1)
    assert float(act(ensemble, 1)) == 1.0  # (9 − 5) / 2; limited one by one it would be 0
    assert float(ensemble.limit(torch.tensor([-7.0]))) == -1.0


def test_reset_forgets_plans_window_and_randomness(gaussian):
    plans = Listed(gaussian(0, 8, 1, HORIZON, 1))
    ensemble = running(plans, n_obs_steps=2, seed=3)
    for state in (1.0, 2.0):
        act(ensemble, 1, state)
    torch.rand(3, generator=ensemble.executor.rng)
    ensemble.reset(3)
    assert torch.equal(ensemble.executor.rng.get_state(), stream(3, "policy").get_state())
    assert float(act(ensemble, 1, 7.0)) == float(plans.chunks[2, 0, 0, 0])
    assert plans.asked[2][0, :, 0].tolist() == [7, 7]
    # another batch size needs it, as without an ensemble
    with pytest.raises(ShapeError, match=r"reset\(\)"):
        act(ensemble, 2)


def test_every_step_is_planned_from_its_own_window():
    plans = Listed(torch.zeros(3, 1, HORIZON, 1).double())
    ensemble = running(plans, n_obs_steps=2)
    for state in (1.0, 2.0, 3.0):
        act(ensemble, 1, state)
    assert [window[0, :, 0].tolist() for window in plans.asked] == [[1, 1], [1, 2], [2, 3]]


def test_options_and_what_is_refused():
    assert from_plain(Ensemble, to_plain(Ensemble(decay=0.2))) == Ensemble(decay=0.2)
    for wrong in (-0.1, math.inf, math.nan):
        with pytest.raises(RecipeError, match=r"decay of 0 or above, got .*newest_first=True"):
            Ensemble(decay=wrong)
    with pytest.raises(RecipeError, match=r"plans at every step, but n_action_steps is 8\. Give n_action_steps=1"):
        running(Feedback(), n_action_steps=8)
