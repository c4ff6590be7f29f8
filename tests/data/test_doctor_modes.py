"""Several ways of acting: found where there are two, and not where a gripper closes a little earlier or later."""

import numpy as np
import pytest

import holdfast as hf
from holdfast.data.doctor import inspect_episodes

from .consistency_robots import Setup, recorded


def picked(seed, *, episodes=30, observed=True):
    """Reach an object, wait beside it for a few steps, close the gripper, carry the object, open the gripper."""
    rng = np.random.default_rng(seed)
    states, actions = [], []
    for _ in range(episodes):
        x, width, thing, place = rng.uniform(-1, 1, 3), 1.0, rng.uniform(-0.5, 0.5, 3), rng.uniform(0.5, 1, 3)
        wait, shown, told = rng.integers(3, 12), [], []
        beside, closed, held = 0, 1.0, 0
        for _ in range(90):
            goal = place if held > 6 else thing
            beside += np.linalg.norm(x - thing) < 0.05
            if beside > wait:
                closed, held = 0.0, held + 1
            if np.linalg.norm(x - place) < 0.05:
                closed = 1.0
            target = x + np.clip(goal - x, -0.2, 0.2) + rng.normal(0, 0.01, 3)
            shown.append(np.concatenate([x, [width] if observed else [], thing, place]))
            told.append(np.concatenate([target, [closed]]))
            x, width = x + 0.4 * (target - x), width + 0.5 * (closed - width)
        states.append(np.stack(shown))
        actions.append(np.stack(told))
    return hf.episodes_from_arrays(states, actions, dt=0.05)


def share(episodes):
    found = inspect_episodes(episodes).findings
    return next(finding for finding in found if finding.check == "modes").values["share"]


@pytest.mark.parametrize("observed", [True, False])
@pytest.mark.parametrize("seed", [1, 2])
def test_a_gripper_that_waits_has_one_way(observed, seed):
    """Beside the object, half the neighbors are told to close: they have waited longer, and do not act otherwise."""
    assert share(picked(seed, observed=observed)) < 0.05


def test_two_ways_are_found():
    assert share(recorded(Setup(robot="ways"), seed=1)) > 0.05
