"""Study theorems: bounds hold on small grids, laws and rollouts agree, what fails is named, a small run."""

import json
import math

import pytest
import torch
from scipy.stats import binomtest

from holdfast.studies.engine.jobs import each, run_jobs
from holdfast.studies.engine.result import write_study
from holdfast.studies.theorems.cell import Flaw
from holdfast.studies.theorems.command import Theorems
from holdfast.studies.theorems.laws import away, beyond, shifted
from holdfast.studies.theorems.page import theorem_verdicts, theorems_result
from holdfast.studies.theorems.plan import TheoremJob, cell_of, measure

LINEAR = {"contractive": "contractive", "plain": "plain", "scalar": "scalar", "double-integrator": "double integrator"}


def test_the_plan_is_the_whole_grid():
    jobs = Theorems().jobs()
    assert {job.setting for job in jobs} == {*LINEAR.values(), "quadrotor", "quadrotor, short chunks"}
    assert len({job.key for job in jobs}) == len(jobs)
    assert {job.count for job in jobs} == {600}
    assert len(Theorems(preset="full").jobs()[0].epsilons) > len(jobs[0].epsilons)


def test_most_rows_can_tell_a_wrong_bound():
    """Every linear cell of the quick preset: bound below 1 and loss surely above 0."""
    told = dict.fromkeys(LINEAR.values(), 0)
    rows = dict.fromkeys(LINEAR.values(), 0)
    for job in Theorems(settings=tuple(LINEAR)).jobs():
        cell = cell_of(job)
        for eps in job.epsilons:
            bound, rows[job.setting] = cell.bound(eps, None), rows[job.setting] + 1
            assert cell.surely(eps) <= bound.value
            told[job.setting] += not bound.vacuous and cell.surely(eps) > 1e-9
    # the quadrotor adds 12 of 30 rows to these 171 of 261
    assert sum(told.values()) >= 0.65 * sum(rows.values())
    assert told["plain"] >= 20


@pytest.mark.parametrize("setting", LINEAR)
def test_bounds_hold_on_the_grid(setting):
    """Every cell of the quick preset, from few rollouts; also the cells that the bound says nothing of."""
    rows = [row for job in Theorems(settings=(setting,), rollouts=60).jobs() for row in measure(job)]
    assert all(row["bound"] is None or row["holds"] for row in rows)
    assert any(not row["vacuous"] for row in rows)
    assert any(row["vacuous"] for row in rows)


def test_short_chunks_of_the_quadrotor_break_an_assumption():
    (job,) = Theorems(settings=("quadrotor-short-chunks",), rollouts=60).jobs()
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
    cell = cell_of(TheoremJob("double integrator", Flaw(), 0.001, 1, 4000, 0, (0.1,)))
    one, other = (runs.states[0, :, -1] for runs in (cell.rollouts.expert, cell.rollouts.policy))
    spread = one.std(0)
    assert float((one.mean(0) - other.mean(0)).abs().div(spread / 4000**0.5).max()) < 8
    torch.testing.assert_close(other.std(0), spread, rtol=0.08, atol=1e-6)


def test_the_contractive_cells_laws_are_those_of_its_rollouts():
    cell = cell_of(TheoremJob("contractive", Flaw(bias=0.3), 1.0, 5, 4000, 0, (0.1,)))
    gap = cell.rollouts.policy.states[0, :, -1].mean() - cell.rollouts.expert.states[0, :, -1].mean()
    # 0.3 (1 + 0.7 + … + 0.7⁴), and the spread of the same series of variances of 0.04
    exact, spread = 0.3 * (1 - 0.7**5) / 0.3, 0.2 * math.sqrt((1 - 0.49**5) / 0.51)
    assert float(gap) == pytest.approx(exact, abs=5 * spread * math.sqrt(2 / 4000))
    assert cell.surely(0.1) == pytest.approx(shifted(exact, 0.1, spread))


def test_the_plain_cells_laws_are_those_of_its_rollouts():
    """The largest shift among states and actions, from the means and covariances of 20,000 rollouts."""
    cell = cell_of(TheoremJob("plain", Flaw(bias=0.3), 0.3, 3, 20_000, 0, (0.1,)))
    found = []
    for expert, policy in (
        (cell.rollouts.expert.actions, cell.rollouts.policy.actions),
        (cell.rollouts.expert.states[:, :, 1:], cell.rollouts.policy.states[:, :, 1:]),
    ):
        for step in range(expert.shape[2]):
            one, other = expert[0, :, step], policy[0, :, step]
            gap, cov = other.mean(0) - one.mean(0), (one.T.cov() + other.T.cov()) / 2
            way = torch.linalg.solve(cov, gap)
            found.append(shifted(float(way @ gap / way.norm()), 0.1, float((way @ cov @ way).sqrt() / way.norm())))
    assert cell.surely(0.1) >= max(found) - 0.02
    assert cell.surely(0.1) == pytest.approx(max(found), abs=0.1)


def test_a_share_beyond_a_half_space_by_hand():
    """Of 100 samples 30 beyond 2; the expert, N(0, ½²), is beyond 2 − 1 in 2.28 % of the cases."""
    places = torch.tensor([3.0] * 30 + [0.0] * 70, dtype=torch.float64)
    low = binomtest(30, 100).proportion_ci(0.95, method="exact").low
    assert beyond(places, 0.5, 2.0, 1.0) == pytest.approx(low - 0.02275, abs=1e-5)
    assert beyond(places, 0.0, 2.0, 1.0) == pytest.approx(low)
    # within ε of the half-space lies the whole expert
    assert beyond(places, 0.0, 2.0, 2.5) == 0.0
    assert away(places > 2) == pytest.approx(low)


def test_end_to_end_and_again(tmp_path, in_process):
    jobs = [job for job in Theorems(settings=("contractive",), rollouts=60).jobs() if job.chunks == 2]
    results = run_jobs(jobs, each(measure), tmp_path, dict)
    rows = [row for found in results for row in found]
    assert len(rows) == 2 * 3 * 4
    assert run_jobs(jobs, each(measure), tmp_path, dict) == results
    written, *figures, page = write_study(tmp_path, "theorems", theorems_result(rows), preset="quick", seconds=0.0)
    assert len(figures) == 2 * 2
    text = page.read_text()
    assert "docs/theory.md" in text
    told = sum(row["tells"] for row in rows)
    # up to 0.9 of the bias something is lost in two steps, above three times the bias nothing
    assert told == 2 * 3 * 3
    assert f"none of 24 bounds is below the sure loss; {told} of them could have been" in theorem_verdicts(rows)[0].seen
    assert f"{told} of 24 rows can tell" in text
    assert json.loads(written.read_text())["power"]["all"] == {"rows": 24, "telling": told, "violated": 0}
    bad = [{**rows[0], "holds": False, "bound": 0.0}, *rows[1:]]
    assert "1 of 24 bounds are below" in theorem_verdicts(bad)[0].seen
