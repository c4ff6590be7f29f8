"""The published score and the distance to the expert, by hand."""

import math

import pytest
import torch

from holdfast.control import scalar
from holdfast.evaluation import compare, summary
from holdfast.types import Trajectory


def flight(states, actions):
    return Trajectory(
        actions=torch.tensor(actions, dtype=torch.float64)[..., None],
        states=torch.tensor(states, dtype=torch.float64)[..., None],
    )


@pytest.fixture
def expert():
    return flight([[1.0, 0.5, 0.25], [2.0, 1.0, 0.0]], [[0.5, 0.25], [-1.0, -1.0]])


def test_the_expert_against_itself(expert):
    found = compare(scalar(), expert, expert)
    assert found.score.tolist() == [1, 1]
    assert found.distance.tolist() == [0, 0]
    assert not bool(found.diverged.any())
    values = summary(found)
    assert set(values) == {"score", "distance", "diverged"}
    # two episodes have no interval
    assert (values["score"].mean, values["score"].values, values["score"].has_interval) == (1, (1, 1), False)
    assert values["distance"].mean == values["diverged"].mean == 0


def test_by_hand(expert):
    """Costs x² + u² at the first two states; errors at the last two."""
    policy = flight([[1.0, 0.0, 0.0], [2.0, 14.0, 3.0]], [[-1.0, 0.0], [1.0, 2.0]])
    found = compare(scalar(), policy, expert)
    first = (math.exp(-2) + 1) / (math.exp(-1.25) + math.exp(-0.3125))
    second = (math.exp(-5) + math.exp(-200)) / (math.exp(-5) + math.exp(-2))
    assert found.score.tolist() == pytest.approx([first, second])
    assert first > 1
    assert found.error.tolist() == [[0.5, 0.25], [13.0, 3.0]]
    assert found.distance.tolist() == [0.375, 8.0]
    # 13 is beyond the radius, even though the policy comes back
    assert found.diverged.tolist() == [False, True]
    assert compare(scalar(), policy, expert, radius=20.0).diverged.tolist() == [False, False]
    assert summary(found)["distance"].mean == pytest.approx((0.375 + 8) / 2)


def test_the_distance_of_many_starts_is_their_median(expert):
    states = torch.zeros(5, 2, 1, dtype=torch.float64)
    away = states.clone()
    away[:, 1, 0] = torch.tensor([0.1, 0.2, 0.3, 0.4, 900.0])
    actions = torch.zeros(5, 1, 1, dtype=torch.float64)
    still = Trajectory(actions=actions, states=states)
    values = summary(compare(scalar(), Trajectory(actions=actions, states=away), still))
    assert values["distance"].mean == pytest.approx(0.3)
    assert values["diverged"].mean == pytest.approx(0.2)


def test_the_error_is_the_norm_over_all_coordinates(drone, demos):
    """Six coordinates: the Euclidean norm over all of them."""
    flown = demos.trajectory(0)
    flown = Trajectory(actions=flown.actions[None], states=flown.states[None])
    offset = torch.tensor([3.0, 0.0, 0.0, 4.0, 0.0, 0.0], dtype=torch.float64)
    moved = Trajectory(actions=flown.actions, states=flown.states + offset)
    torch.testing.assert_close(compare(drone, moved, flown).error, torch.full((1, 30), 5.0, dtype=torch.float64))


def test_a_lost_episode_has_diverged_and_earns_nothing_more(expert):
    """Lost after its first step: the reward of that step stays, the rest count as `radius` away."""
    lost = torch.zeros(expert.actions.shape[:2], dtype=torch.bool)
    lost[0, 1:] = True
    found = compare(scalar(), expert, expert, lost=lost, radius=7.0)
    assert found.diverged.tolist() == [True] + [False] * (len(lost) - 1)
    rewards = torch.exp(-scalar().cost(expert.states[0, :-1], expert.actions[0]))
    torch.testing.assert_close(found.score[0], rewards[0] / rewards.sum())
    assert found.error[0].tolist() == [0.0] + [7.0] * (expert.steps - 1)
