"""Studies families and tokens: what they plan, equal budgets, and their numbers by hand."""

import math
from dataclasses import replace

import pytest

from holdfast.data import write
from holdfast.envs.obstacle import obstacle_demonstrations
from holdfast.errors import UnknownNameError
from holdfast.models import FAMILIES, family_named
from holdfast.nn import FilmMlp
from holdfast.seeding import stream
from holdfast.studies.engine.plan_cost import plan_cost
from holdfast.studies.engine.result import write_study
from holdfast.studies.engine.trials import TrialResult, run_trials
from holdfast.studies.families.page import draw_families, families_result, families_verdicts
from holdfast.studies.families.plan import ARMS, TOKEN_ARMS, arm_named, budget_of, plan_families
from holdfast.studies.families.summary import family_rows, keeps_both_ways
from holdfast.studies.tokens.page import draw_cloning, tokens_result
from holdfast.studies.tokens.plan import RateJob, compression_rows, rate_jobs

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "obstacle.npz"
    write(obstacle_demonstrations(12, rng=stream(0, "tests")), path)
    return path


def planned(data, **options):
    return plan_families("quick", [("obstacle", data)], **{"seeds": 1, **options})


class TestPlan:
    def test_every_family_on_every_seed(self, data):
        trials = planned(data, seeds=2)
        names = {trial.name for trial in trials}
        assert len(trials) == len(names) == 2 * len(ARMS)
        assert {trial.first_seed for trial in trials} == {100_000}

    def test_equal_budgets(self, data):
        trials = planned(data, updates=7)
        trainings = {trial.recipe.training for trial in trials}
        assert len(trainings) == 1
        assert trainings.pop().steps == 7
        assert {trial.episodes for trial in trials} == {200}

    def test_the_command_lines_families_all_have_an_arm(self):
        kinds = {type(arm_named(arm, budget_of("obstacle", "quick"))) for arm in ARMS}
        assert kinds == {type(family_named(name, FilmMlp())) for name in FAMILIES}

    def test_unknown_names(self, data):
        with pytest.raises(UnknownNameError, match=r"unknown family 'gan'. Known: .*regression"):
            planned(data, arms=["gan"])
        with pytest.raises(UnknownNameError, match=r"unknown task 'lift'. Known: avoid, obstacle, pusht"):
            plan_families("quick", [("lift", data)], seeds=1)


class TestRun:
    def test_trained_judged_and_counted(self, data, tmp_path):
        small = [
            replace(trial, episodes=3)
            for trial in planned(data, arms=["regression", "flow", "bins-autoregressive"], updates=2)
        ]
        results = run_trials(small, tmp_path, workers=1)
        calls = {result.deployment: result.network_calls for result in results}
        # thirty steps; a first and 31 further tokens
        assert calls == {"regression": 1, "flow": 30, "bins-autoregressive": 32}
        rows = family_rows(results)
        assert [row["family"] for row in rows] == ["regression", "flow", "bins-autoregressive"]
        paths = write_study(tmp_path, "families", families_result(rows, recipes={}), preset="quick", seconds=0.0)
        assert all(path.stat().st_size > 1000 for path in paths)

    def test_plan_cost_counts_parameters(self, tiny_planner):
        cost = plan_cost(tiny_planner, repeats=2)
        assert cost.parameters == sum(p.numel() for p in tiny_planner.model.parameters())
        assert cost.network_calls == 4, "sampling steps of the tiny recipe"
        assert cost.plan_ms > 0


def result(trial, *, success, mode, collided):
    extra = {"mode": mode, "collided": collided}
    return TrialResult(10, 5, 1.5, trial, "flow", list(success), list(success), extra, 4.0)


def test_rows_by_hand(data):
    (trial,) = planned(data, arms=["flow"])
    nan = float("nan")
    only = result(trial, success=[1.0] * 9 + [0.0], mode=[0.0] * 3 + [1.0] * 6 + [nan], collided=[0.0] * 9 + [1.0])
    (row,) = family_rows([only])
    assert row["score"] == pytest.approx(0.9)
    assert row["rarer_way"] == pytest.approx(1 / 3)
    assert row["collided"] == pytest.approx(0.1)
    p, q = 1 / 3, 2 / 3
    assert row["entropy"] == pytest.approx(-(p * math.log2(p) + q * math.log2(q)))
    assert keeps_both_ways(row)
    assert not keeps_both_ways(row | {"rarer_way": 0.2})
    assert not keeps_both_ways(row | {"success": 0.89})
    (fork,) = families_verdicts([row])
    assert (fork.seen, fork.holds) == ("Passed by flow; not by none.", "yes")


def test_ways_of_failed_episodes_do_not_count(data):
    (trial,) = planned(data, arms=["flow"])
    only = result(trial, success=[0.0, 1.0, 1.0], mode=[0.0, 1.0, 1.0], collided=[0.0, 0.0, 0.0])
    (row,) = family_rows([only])
    assert row["entropy"] == 0
    assert row["rarer_way"] == 0


class TestTokens:
    def test_rates(self, data):
        jobs = rate_jobs([("a", data), ("b", data)])
        assert [(job.name, job.every) for job in jobs] == [("a", 1), ("b", 1), ("b", 2), ("b", 3), ("b", 6)]

    def test_numbers_of_a_second(self, data):
        """10 Hz, two numbers: 20 a second, 10 at half the rate; a smooth motion takes fewer tokens than that."""
        (whole,) = compression_rows(RateJob("demo", data))
        (half,) = compression_rows(RateJob("demo", data, every=2))
        assert (whole["naive_tokens"], half["naive_tokens"]) == (20, 10)
        assert whole["hz"] == pytest.approx(10)
        assert whole["compression"] == pytest.approx(20 / whole["tokens"])
        assert whole["compression"] > half["compression"] > 1

    def test_page(self, data, tmp_path):
        compression = [row for every in (1, 2) for row in compression_rows(RateJob("demo", data, every=every))]
        (trial,) = planned(data, arms=["flow"])
        cloning = family_rows([result(trial, success=[1.0, 0.0], mode=[1.0, 0.0], collided=[0.0, 0.0])])
        found = tokens_result(compression, cloning)
        assert "the numbers of a second grow 2.0 times" in found.verdicts[0].seen
        paths = write_study(tmp_path, "tokens", found, preset="quick", seconds=0.0)
        assert all(path.stat().st_size > 1000 for path in paths)

    def test_arms_are_known(self):
        budget = budget_of("obstacle", "quick")
        assert all(arm_named(arm, budget) for arm in TOKEN_ARMS)


def test_empty_pictures_are_refused(tmp_path):
    from holdfast.errors import DataError

    with pytest.raises(DataError, match="got none"):
        draw_families(tmp_path / "a.png", [])
    with pytest.raises(DataError, match="got none"):
        draw_cloning(tmp_path / "a.png", [])
