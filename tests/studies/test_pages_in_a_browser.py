"""Charts of the studies' pages, as a browser draws them, before and after changes of its window and theme."""

import pytest

from holdfast.learn.tracing import LIVE
from holdfast.report import Chart, Series, write_page
from holdfast.studies.butterfly.page import butterfly_result
from holdfast.studies.engine.result import write_study
from holdfast.studies.pitfalls.command import run_trainings
from holdfast.studies.pitfalls.page import pitfalls_result
from holdfast.studies.pitfalls.plan import PitfallJob
from holdfast.studies.pitfalls.summary import comparisons_of, curves_of, rows_of
from holdfast.studies.theorems.command import Theorems
from holdfast.studies.theorems.page import theorems_result
from holdfast.studies.theorems.plan import measure
from holdfast.studies.toy.page import toy_result
from holdfast.studies.toy.plan import ToyPlan, run_toy

from . import test_butterfly as butterfly


@pytest.fixture
def drawn_truly(browser, tmp_path):
    """Checks the page of a result."""

    def check(study, result):
        write_study(tmp_path, study, result, preset="quick", seconds=0.0)
        assert browser.faults_over_changes(tmp_path / "index.html") == {}

    return check


def test_toy(drawn_truly):
    plan = ToyPlan(epsilons=(0.001, 0.003, 0.01), times=(5, 40), runs=500)
    drawn_truly("toy", toy_result(run_toy(plan)))


def test_theorems(drawn_truly):
    jobs = [job for job in Theorems(settings=("contractive", "scalar"), rollouts=60).jobs() if job.chunks <= 2]
    drawn_truly("theorems", theorems_result([row for job in jobs for row in measure(job)]))


def test_pitfalls(drawn_truly, tmp_path, in_process, monkeypatch, stage):
    monkeypatch.setattr("holdfast.studies.pitfalls.plan.STARTS", 12)
    kinds = ("regression", 1, 0.0), ("regression", 8, 0.0)
    arms = run_trainings([PitfallJob(*kind, 0, updates=2, steps=10) for kind in kinds], tmp_path / "jobs", stage)
    drawn_truly("pitfalls", pitfalls_result(rows_of(arms), comparisons_of(arms), curves_of(arms), recipes={}))


def test_butterfly(drawn_truly, gaussian):
    cells = {butterfly.CELL: [butterfly.planted(gaussian, seed, scale=0.02) for seed in range(3)]}
    traces = [
        {**vars(butterfly.CELL), "seed": seed, "weights": weights, "step": list(range(24)), **values}
        for seed, one in enumerate(cells[butterfly.CELL])
        for weights, values in one.seen.items()
    ]
    rows = butterfly.rows_of(cells, {LIVE: 1.0, "EMA 0.9": 10.0})
    drawn_truly("butterfly", butterfly_result(rows, butterfly.comparisons_of(cells), [], traces, {}))


@pytest.mark.parametrize("top", [1.04, 3.0, 20.0, 1e3, 1e9])
def test_logarithmic_axes_have_labels_at_every_range(browser, tmp_path, top):
    """From a range without any 1, 2 or 5 to nine decades."""
    curve = Series("s", [3.1, 3.1 * top], [0.31, 0.31 * top], [0.308, 0.3 * top], [0.312, 0.33 * top])
    chart = Chart("Ranges", [curve], "x", "y", log_x=True, log_y=True)
    page = write_page(tmp_path / "index.html", title="T", lead="L", sections=[chart])
    assert browser.faults_over_changes(page) == {}


def test_figures_that_do_not_fit_their_labels_are_found(browser, tmp_path):
    """The check itself: the labels of one figure, compared with another's data."""
    pages = [
        write_page(
            tmp_path / f"{top:g}.html",
            title="T",
            lead="L",
            sections=[Chart("C", [Series("s", [0.0, 9.0], [1.0, top])], "x", "y")],
        )
        for top in (3.0, 4.0)
    ]
    browser.open(pages[0])
    assert browser.faults(pages[0]) == []
    assert "curves lie up to" in " ".join(browser.faults(pages[1]))
