"""Episodes that are another one without its first or last rows."""

import numpy as np
import pytest

from holdfast.data.doctor import inspect_episodes
from holdfast.data.doctor.overlaps import check_overlaps
from holdfast.data.doctor.recording import recording_of

from .consistency_robots import ROBOTS, Setup, parts_of, recorded
from .robot_parts import joined


def with_copy(robot, of, at, rows):
    """A set in which the episode `at` holds some rows of the episode `of`."""
    setup = Setup(robot=robot, count=12, hand=0.02, varied=True)
    parts = parts_of(recorded(setup, seed=4))
    parts[at] = tuple(values[rows].copy() for values in parts[of])
    return joined(parts, setup.dt), len(parts[of][0])


def copies(episodes):
    return [f for f in inspect_episodes(episodes).findings if f.check == "copies" and f.severity == "warning"]


@pytest.mark.parametrize("robot", ROBOTS)
@pytest.mark.parametrize(
    ("rows", "first", "without"),
    [
        (slice(3, None), 3, "its first 3 rows"),
        (slice(0, -1), 0, "its last row"),
        (slice(7, -9), 7, "its first 7 rows and its last 9 rows"),
    ],
)
def test_a_copy_without_some_rows(robot, rows, first, without):
    episodes, length = with_copy(robot, 2, 9, rows)
    (found,) = copies(episodes)
    count = len(range(length)[rows])
    assert found.values == {"episodes": [9], "of": [2], "first": [first], "rows": [count]}
    assert f"episode 9 is episode 2 without {without}" in found.what
    assert "--drop-episodes 9" in found.remedy


def test_two_parts_of_one_episode_that_overlap():
    setup = Setup(robot="servo", count=8, hand=0.02)
    parts = parts_of(recorded(setup, seed=4))
    whole = parts[3]
    parts[3], parts[6] = tuple(v[:60].copy() for v in whole), tuple(v[20:].copy() for v in whole)
    (found,) = copies(joined(parts, setup.dt))
    assert found.values["rows"] == [40]
    assert "40 rows of episode" in found.what


@pytest.mark.parametrize("robot", ROBOTS)
@pytest.mark.parametrize("hand", [0.0, 0.02])
def test_episodes_that_share_a_start_or_rest_are_no_copies(robot, hand):
    setup = Setup(robot=robot, count=12, hand=hand)
    parts = parts_of(recorded(setup, seed=4))
    rest = tuple(np.repeat(v[:1], 30, axis=0) for v in parts[0])
    parts = [tuple(np.concatenate([r, v]) for r, v in zip(rest, part, strict=True)) for part in parts]
    assert not list(check_overlaps(recording_of(joined(parts, setup.dt))))
