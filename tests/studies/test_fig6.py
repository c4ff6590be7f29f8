"""Study fig6-pusht: which trainings it plans, and its paired statistics by hand."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import zarr

from holdfast.data import MeanShift, UniformAsPublished
from holdfast.errors import DataError
from holdfast.policy import Execution, PolicySpec
from holdfast.recipe import Recipe, Training
from holdfast.studies.engine.result import write_study
from holdfast.studies.engine.trials import Trial, TrialResult, run_trials, training_seconds
from holdfast.studies.fig6_pusht.command import Fig6Pusht
from holdfast.studies.fig6_pusht.page import fig6_result
from holdfast.studies.fig6_pusht.plan import NOISE, comparisons_of, groups_of, rows_of

ROOT = Path(__file__).resolve().parents[2]
PUSHT = Path(os.environ.get("HOLDFAST_DATA", ROOT.parent / "shared" / "data")) / "pusht" / "pusht_cchi_v7_replay.zarr"


def recorded(path, episodes=6, steps=12):
    rng = np.random.default_rng(0)
    group = zarr.open_group(path, mode="w", zarr_format=2)
    rows = episodes * steps
    for name, shape in {"state": (5,), "action": (2,), "keypoint": (9, 2)}.items():
        group.create_array(f"data/{name}", data=rng.uniform(20, 490, (rows, *shape)).astype(np.float32))
    group.create_array("meta/episode_ends", data=np.arange(steps, rows + 1, steps, dtype=np.int64))
    return path


@pytest.fixture
def data(tmp_path):
    return recorded(tmp_path / "replay.zarr")


class TestPlan:
    def test_grid(self, data):
        trials = Fig6Pusht(data=data, seeds=2, demos=(2, 4), sigmas=(0.0, 0.1)).trials()
        names = [trial.name for trial in trials]
        # per seed and N: one without noise, one for each law
        assert len(trials) == len(set(names)) == 2 * 2 * 3
        assert {trial.first_seed for trial in trials} == {100_000}
        quiet = trials[names.index("gaussian-n2-sigma0-seed0")]
        assert set(quiet.deployments) == {"none"}
        uniform = trials[names.index("uniform-n4-sigma0.1-seed1")]
        assert (uniform.recipe.training.noise_law, uniform.recipe.training.sigma_train) == (UniformAsPublished(), 0.1)
        ways = {name: (way.sigma_deploy, way.noise_law) for name, way in uniform.deployments.items()}
        assert ways["train"][0] == 0
        assert (ways["replica"], ways["shift"]) == ((0.1, UniformAsPublished()), (0.1, MeanShift()))

    def test_paper_grid(self, data):
        trials = Fig6Pusht(preset="full", data=data, seeds=4).trials()
        assert len(trials) == 4 * 4 * (1 + 2 * 7)

    def test_other_data_are_refused(self, tmp_path):
        group = zarr.open_group(tmp_path / "other.zarr", mode="w", zarr_format=2)
        group.create_array("data/state", data=np.ones((4, 3), dtype=np.float32))
        group.create_array("data/action", data=np.ones((4, 2), dtype=np.float32))
        group.create_array("meta/episode_ends", data=np.array([4]))
        with pytest.raises(DataError, match="not of Push-T"):
            Fig6Pusht(data=tmp_path / "other.zarr", seeds=1).trials()


def trial(seed, sigma, law="gaussian"):
    training = Training(sigma_train=sigma, noise_law=NOISE[law])
    recipe = Recipe(policy=PolicySpec(n_states=2, n_actions=2, n_observed=20), training=training, n_demos=10, seed=seed)
    return Trial(f"{law}-{sigma}-{seed}", recipe, {}, 2, 0)


def made_up():
    """Two seeds, two starts; seeds out of order, so that pairing has something to do."""

    def result(of, way, score):
        return TrialResult(10, 5, 1.0, of, way, list(score), [0.0, 1.0], {}, 2.0)

    return [
        result(trial(1, 0.1), "train", (0.2, 0.4)),
        result(trial(0, 0.1), "train", (0.5, 0.5)),
        result(trial(0, 0.1), "replica", (0.7, 0.7)),
        result(trial(1, 0.1), "replica", (0.5, 0.5)),
        result(trial(0, 0.0), "none", (0.9, 0.7)),
        result(trial(1, 0.0), "none", (0.7, 0.7)),
    ]


def test_rows_and_pairs_by_hand():
    groups = groups_of(made_up())
    rows = {row["noise"]: row for row in rows_of(groups)}
    assert rows["train"]["score"] == pytest.approx(0.4)
    assert rows["none"]["law"] == "none"
    assert rows["replica"]["success"] == 0.5
    # four trainings of 2 s, though two of them were run twice
    assert training_seconds(made_up()) == 8.0
    pairs = {(row["noise"], row["against"]): row for row in comparisons_of(groups)}
    assert set(pairs) == {("train", "none"), ("replica", "train"), ("replica", "none")}
    # per seed: (.2, .2) and (.3, .1), means 0.2 and 0.2
    assert pairs["replica", "train"]["difference"] == pytest.approx(0.2)
    assert pairs["replica", "train"]["seeds_in_favour"] == 2
    low, high = (pairs["replica", "train"][f"difference_{end}"] for end in ("low", "high"))
    assert low <= 0.2 <= high
    # per seed means −0.1 and −0.2: Student with one degree of freedom
    none = pairs["replica", "none"]
    half = 12.7062 * (0.1 / 2**0.5) / 2**0.5
    assert (none["difference_low"], none["difference_high"]) == pytest.approx((-0.15 - half, -0.15 + half), abs=1e-4)


def test_page_says_both_ways(tmp_path):
    results = made_up() + [
        TrialResult(10, 5, 1.0, trial(seed, 0.1, "uniform"), way, [score, score], [0.0, 0.0], {}, 1.0)
        for seed in (0, 1)
        for way, score in (("train", 0.2), ("replica", 0.7), ("shift", 0.6))
    ]
    groups = groups_of(results)
    found = fig6_result(rows_of(groups), comparisons_of(groups))
    text = " ".join(verdict.seen for verdict in found.verdicts)
    assert "uniform law favors the replica most (N = 10, σ = 0.1: +0.500)" in text
    assert "changes its score by +0.400" in text
    _, figure, page = write_study(tmp_path, "fig6-pusht", found, preset="quick", seconds=0.0)
    assert figure.read_bytes().startswith(b"\x89PNG")
    assert "Claims and results" in page.read_text()


def test_a_figure_needs_noise():
    rows = rows_of(groups_of(made_up()[-2:]))
    with pytest.raises(DataError, match="sigma above 0"):
        fig6_result(rows, [])


def test_end_to_end_and_nothing_twice(tmp_path, data):
    pytest.importorskip("gym_pusht")
    trials = Fig6Pusht(data=data, seeds=1, demos=(2,), sigmas=(0.1,), steps=2, episodes=2).trials()
    small = [replace(t, deployments={k: _short(v) for k, v in t.deployments.items()}) for t in trials]
    results = run_trials(small, tmp_path / "study", workers=1)
    assert [result.deployment for result in results] == ["train", "replica", "train", "replica", "shift"]
    assert all(len(result.score) == 2 and 0 <= min(result.score) <= max(result.score) <= 1 for result in results)
    files = {path: path.stat().st_mtime_ns for path in (tmp_path / "study" / "jobs").iterdir()}
    assert run_trials(small, tmp_path / "study", workers=1) == results
    assert files == {path: path.stat().st_mtime_ns for path in (tmp_path / "study" / "jobs").iterdir()}


def _short(execution: Execution) -> Execution:
    return replace(execution, n_action_steps=16)


@pytest.mark.skipif(not PUSHT.exists(), reason="needs the Push-T demonstrations in HOLDFAST_DATA or ../shared/data")
def test_real_demonstrations_suffice_for_the_paper_s_grid():
    assert len(Fig6Pusht(preset="full", data=PUSHT, seeds=1).trials()) == 60
