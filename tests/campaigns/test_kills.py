"""Doors that are killed at their changes of files and at random times: nothing is lost, and nothing stays behind.

A small part runs with the other tests; all of it with `pytest -m campaign tests/campaigns`.
"""

import random

import pytest

from .doors import DOORS
from .trials import trial, undisturbed

SEED = 15
# they take long, and share most of their code with doors of the small part
ONLY_IN_THE_CAMPAIGN = (
    *("export", "export-overwrite", "resume-pictures", "pictures-overwrite", "train-over-residual"),
    "residual-overwrite",
)
SMALL = [door for door in DOORS if door.name not in ONLY_IN_THE_CAMPAIGN]


@pytest.fixture(scope="session")
def known(run, made, tmp_path_factory):
    """door → what it leaves undisturbed; made once for each."""
    found = {}

    def of(door):
        if door.name not in found:
            found[door.name] = undisturbed(run, door, made, tmp_path_factory.mktemp("whole") / "here")
        return found[door.name]

    return of


def spread(points, count, rng):
    """Points to crash at: all, or some, spread evenly with a random offset."""
    if count >= points:
        return list(range(1, points + 1))
    offset = rng.random()
    return sorted({1 + int((place + offset) * points / count) for place in range(count)})


def crashes(run, made, known, door, count, here):
    rng = random.Random(f"{SEED} {door.name}")
    wrong = {}
    for number, point in enumerate(spread(known(door).points, count, rng)):
        # every other trial as on a file system that cannot exchange two paths
        kill = {"crash": point, "two_steps": bool((number + rng.getrandbits(1)) % 2)}
        if found := trial(run, door, made, here, known(door), **kill):
            wrong[str(kill)] = found
    return wrong


@pytest.mark.parametrize("door", SMALL, ids=lambda door: door.name)
def test_crash_points(run, made, known, door, tmp_path):
    assert not crashes(run, made, known, door, 2, tmp_path / "here")


@pytest.mark.campaign
@pytest.mark.parametrize("door", DOORS, ids=lambda door: door.name)
def test_many_crash_points(run, made, known, door, tmp_path):
    assert not crashes(run, made, known, door, 17, tmp_path / "here")


@pytest.mark.campaign
@pytest.mark.parametrize("door", DOORS, ids=lambda door: door.name)
def test_kills_at_random_times(run, made, known, door, tmp_path):
    rng = random.Random(f"{SEED} times {door.name}")
    wrong = {}
    for _ in range(4):
        after = rng.random() * known(door).seconds
        if found := trial(run, door, made, tmp_path / "here", known(door), after=after):
            wrong[after] = found
    assert not wrong
