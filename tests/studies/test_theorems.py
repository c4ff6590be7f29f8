"""Study theorems: bounds hold on small grids, laws and rollouts agree, what fails is named, a small run."""

import math

import pytest
import torch

from holdfast.studies.engine.jobs import each, run_jobs
from holdfast.studies.engine.result import write_study
from holdfast.studies.theorems.cell import Flaw
from holdfast.studies.theorems.command import Theorems
from holdfast.studies.theorems.linear import shifted
from holdfast.studies.theorems.page import theorem_verdicts, theorems_result
from holdfast.studies.theorems.plan import TheoremJob, cell_of, measure

LINEAR = ("contractive", "plain", "scalar", "double integrator")


def test_the_plan_is_the_whole_grid():
    jobs = Theorems().jobs()
    assert {job.setting for job in jobs} == {*LINEAR, "quadrotor", "quadrotor, short chunks"}
    assert len({job.key for job in jobs}) == len(jobs)
    assert {job.count for job in jobs} == {600}
    assert len(Theorems(preset="full").jobs()[0].epsilons) > len(jobs[0].epsilons)


@pytest.mark.parametrize("setting", LINEAR)
def test_bounds_hold_on_the_grid(setting):
    """Every cell of the quick preset, from few rollouts; also the cells that the bound says nothing of."""
    rows = [row for job in Theorems(settings=(setting,), rollouts=60).jobs() for row in measure(job)]
    assert all(row["bound"] is None or row["holds"] for row in rows)
    assert any(not row["vacuous"] for row in rows)
    assert any(row["vacuous"] for row in rows)


def test_short_chunks_of_the_quadrotor_break_an_assumption():
    (job,) = Theorems(settings=("quadrotor, short chunks",), rollouts=60).jobs()
    for row in measure(job):
        assert row["bound"] is None
        assert row["vacuous"]
        assert "a chunk contracts deviations" in row["broken"]


def test_a_slip_is_seen_at_its_rate():
    """Plans that start 5 off with probability ½: after one chunk of a nearly exact policy, half of the runs."""
    job = TheoremJob("scalar", Flaw(slip=0.5), 0.003, 1, 400, 0, (1.0,))
    (row,) = measure(job)
    assert row["bound"] == pytest.approx(0.5, abs=1e-3)
    # a binomial share of 400
    assert row["measured"] == pytest.approx(0.5, abs=5 * math.sqrt(0.25 / 400))
    assert row["holds"]


def test_the_policy_without_a_flaw_has_the_experts_law():
    """Replicas: states and actions pooled over starts have the expert's mean and spread at the first chunk's end."""
    cell = cell_of(TheoremJob("double integrator", Flaw(), 0.001, 1, 4000, 0))
    one, other = (runs.states[0, :, -1] for runs in (cell.rollouts.expert, cell.rollouts.policy))
    spread = one.std(0)
    assert float((one.mean(0) - other.mean(0)).abs().div(spread / 4000**0.5).max()) < 8
    torch.testing.assert_close(other.std(0), spread, rtol=0.08, atol=1e-6)


def test_the_contractive_cells_laws_are_those_of_its_rollouts():
    cell = cell_of(TheoremJob("contractive", Flaw(bias=0.3), 1.0, 5, 4000, 0))
    gap = cell.rollouts.policy.states[0, :, -1].mean() - cell.rollouts.expert.states[0, :, -1].mean()
    # 0.3 (1 + 0.7 + … + 0.7⁴), and the spread of the same series of variances of 0.04
    exact, spread = 0.3 * (1 - 0.7**5) / 0.3, 0.2 * math.sqrt((1 - 0.49**5) / 0.51)
    assert float(gap) == pytest.approx(exact, abs=5 * spread * math.sqrt(2 / 4000))
    assert cell.exact is not None
    assert cell.exact(0.1) == pytest.approx(shifted(exact, 0.1, spread))


def test_end_to_end_and_again(tmp_path, in_process):
    jobs = [job for job in Theorems(settings=("contractive",), rollouts=60).jobs() if job.chunks == 2]
    results = run_jobs(jobs, each(measure), tmp_path, dict)
    rows = [row for found in results for row in found]
    assert len(rows) == 2 * 3 * 4
    assert run_jobs(jobs, each(measure), tmp_path, dict) == results
    _, *figures, page = write_study(tmp_path, "theorems", theorems_result(rows), preset="quick", seconds=0.0)
    assert len(figures) == 2 * 2
    text = page.read_text()
    assert "docs/theory.md" in text
    assert "none of 24 bounds" in theorem_verdicts(rows)[0].seen
    bad = [{**rows[0], "holds": False, "bound": 0.0}, *rows[1:]]
    assert "1 of 24 bounds are below" in theorem_verdicts(bad)[0].seen
