"""Sensors that die early in an episode, after which the robot comes to rest."""

import numpy as np
import pytest

from holdfast.data.doctor.consistency.frozen import frozen_of
from holdfast.data.doctor.recording import recording_of

from .planted_episodes import changed_in
from .robot_parts import joined

COUNT, DEAD = 24, [4, 11]


def reaching(*, noise: float, seed: int = 0):
    """A position servo in the plane that goes to an observed goal and stays there."""
    rng, parts = np.random.default_rng(seed), []
    for _ in range(COUNT):
        x, goal, rows = rng.uniform(-1, 1, 2), rng.uniform(-1, 1, 2), []
        for _ in range(int(rng.integers(50, 70))):
            act = x + 0.4 * (goal - x) + 0.02 * rng.normal(size=2)
            rows.append((np.concatenate([x, goal]), act))
            x = x + 0.15 * (act - x)
        states, actions = (np.stack(part) for part in zip(*rows, strict=True))
        states[:, :2] += noise * rng.normal(size=(len(states), 2))
        parts.append((states, actions))
    return joined(parts, 0.05)


def dies(states, actions):
    states[len(states) // 3 :, 1] = states[len(states) // 3, 1]
    return states, actions


@pytest.mark.parametrize("noise", [0.0, 0.0005])
@pytest.mark.parametrize("seed", range(3))
def test_a_sensor_that_dies_early_is_named_with_all_episodes(noise, seed):
    (found,) = frozen_of(recording_of(changed_in(reaching(noise=noise, seed=seed), DEAD, dies)))
    assert (found.label, found.episodes) == ("state[1]", tuple(DEAD))


@pytest.mark.parametrize("noise", [0.0, 0.0005])
@pytest.mark.parametrize("seed", range(3))
def test_robots_that_come_to_rest_have_no_dead_sensor(noise, seed):
    assert frozen_of(recording_of(reaching(noise=noise, seed=seed))) == []
