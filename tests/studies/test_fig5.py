"""Study fig5: from trainings to rows, twice the same, nothing trained twice; its statistics by hand."""

import json
import shutil
from dataclasses import replace

import pytest
import torch

from holdfast.envs import PlainPolicy
from holdfast.errors import DataError
from holdfast.studies.fig5.plan import comparisons_of, references, rows_of
from holdfast.studies.quadrotor.arms import Arm
from holdfast.studies.quadrotor.run_arms import ArmResult, run_arms
from holdfast.studies.quadrotor.world import make_world

KEYS = {"setting", "n_demos", "gains", "sigma", "noise", "seeds", "score", "score_low", "score_high", "diverged"}


def result(arm, noise, score, distance=(1.0, 2.0, 6.0), diverged=(False, False, True)):
    return ArmResult(list(score), list(distance), list(diverged), arm, noise, train_seconds=1.0)


def made_up():
    """Two seeds, three starts; one demonstration with gains, ten without in two versions."""
    one = [Arm("holdfast", 1, "tvlqr", 0.3, seed) for seed in (0, 1)]
    good = [Arm("holdfast", 10, "none", 0.0, seed) for seed in (0, 1)]
    bad = [Arm("holdfast", 10, "none", 0.1, seed) for seed in (0, 1)]
    return [
        result(one[0], "replica", (1.0, 0.8, 0.9)),
        result(one[1], "replica", (0.9, 0.7, 0.5), distance=(2.0, 3.0, 4.0), diverged=(False, False, False)),
        result(good[0], "none", (0.5, 0.6, 0.4)),
        result(good[1], "none", (0.6, 0.8, 0.4)),
        result(bad[0], "train", (0.1, 0.9, 0.0)),
        result(bad[1], "train", (0.1, 0.0, 0.0)),
    ]


def test_paired_comparison_by_hand():
    """Differences per seed: (.5, .2, .5) and (.3, −.1, .1), of mean 0.4 and 0.1."""
    (found,) = comparisons_of(made_up())
    assert (found["gains"], found["sigma"], found["noise"]) == ("tvlqr", 0.3, "replica")
    assert (found["base_sigma"], found["base_noise"]) == (0.0, "none")
    assert found["difference"] == pytest.approx(0.25)
    assert (found["seeds"], found["seeds_in_favour"]) == (2, 2)
    # Student with one degree of freedom: t = 12.7062, s = 0.3 / √2, two seeds
    half = 12.7062 * (0.3 / 2**0.5) / 2**0.5
    assert (found["difference_low"], found["difference_high"]) == pytest.approx((0.25 - half, 0.25 + half), abs=1e-4)


def test_no_comparison_without_both_sides():
    assert comparisons_of(made_up()[:2]) == []
    assert comparisons_of(made_up()[2:]) == []


def test_rows_by_hand():
    row = rows_of(made_up())[0]
    assert set(row) >= KEYS
    assert (row["n_demos"], row["gains"], row["seeds"]) == (1, "tvlqr", [0, 1])
    # seed means 0.9 and 0.7
    half = 12.7062 * (0.2 / 2**0.5) / 2**0.5
    assert (row["score"], row["score_low"], row["score_high"]) == pytest.approx((0.8, 0.8 - half, 0.8 + half), abs=1e-4)
    # seed medians 2 and 3
    assert row["distance"] == pytest.approx(2.5)
    assert row["diverged"] == pytest.approx(1 / 6)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("world")
    make_world(folder / "world", **SIZE)
    return folder / "world"


SIZE = {"demonstrations": 12, "starts": 6}
ARMS = [
    Arm("holdfast", 1, "tvlqr", 0.1, 0, steps=3),
    Arm("holdfast", 1, "none", 0.0, 0, steps=3),
    Arm("holdfast", 10, "none", 0.0, 0, steps=3),
]


def run(folder, world, arms=ARMS):
    shutil.copytree(world, folder / "world", dirs_exist_ok=True)
    done = []
    made = make_world(folder / "world", **SIZE)
    results = run_arms(arms, folder, workers=1, on_done=done.append)
    return (rows_of(results), comparisons_of(results), references(made, "holdfast", 1)), done


def plain(found):
    return json.dumps(found)


def test_end_to_end_and_again(tmp_path, world):
    first, done = run(tmp_path / "a", world)
    rows, comparisons, others = first
    assert (done[0], done[-1]) == (0, 3)
    assert done == sorted(done)
    assert [(row["n_demos"], row["gains"], row["sigma"], row["noise"]) for row in rows] == [
        (1, "tvlqr", 0.1, "train"),
        (1, "tvlqr", 0.1, "replica"),
        (1, "none", 0.0, "none"),
        (10, "none", 0.0, "none"),
    ]
    assert all(set(row) >= KEYS and row["setting"] == "holdfast" for row in rows)
    assert {item["noise"] for item in comparisons} == {"train", "replica"}
    assert others[0]["score"] == 1
    assert any("hover" in item["name"] for item in others)
    # another folder, from scratch: the same values
    again, _ = run(tmp_path / "b", world, ARMS)
    assert plain(again) == plain(first)
    # the same folder: nothing is trained again, what is missing is
    files = sorted((tmp_path / "a" / "jobs").glob("*.json"))
    before = {path: path.stat().st_mtime_ns for path in files}
    assert len(before) == 3
    files[0].unlink()
    resumed, done = run(tmp_path / "a", world)
    assert done == [2, 3]
    assert plain(resumed) == plain(first)
    assert {path: path.stat().st_mtime_ns for path in files[1:]} == {path: before[path] for path in files[1:]}


def test_a_world_is_made_once_and_its_parts_are_apart(world):
    stored = {path: path.stat().st_mtime_ns for path in world.rglob("*") if path.is_file()}
    lost = torch.zeros(6, 100, dtype=torch.bool)
    first, again = make_world(world, **SIZE), make_world(world, **SIZE)
    assert {path: path.stat().st_mtime_ns for path in stored} == stored
    assert torch.equal(again.expert.states, first.expert.states)
    flown = replace(first.fly(PlainPolicy(lambda x: x[:2])), trajectory=first.expert, lost=lost)
    assert torch.equal(first.judge(flown).score, torch.ones(6, dtype=torch.float64))
    starts = {tuple(state) for state in first.expert.states[:, 0].tolist()}
    assert not starts & {tuple(state) for state in first.pool.states.tolist()}
    with pytest.raises(DataError, match=r"holds 12 episodes, expected 11\. Remove it"):
        make_world(world, demonstrations=11)
