"""Study noise-grid: its plan, its cells by hand, a small run and going on with it; what all three studies compute."""

import math

import pytest
import torch

from holdfast.errors import RecipeError
from holdfast.evaluation import Estimate
from holdfast.studies.engine.result import write_study
from holdfast.studies.engine.statistics import share, side_of
from holdfast.studies.engine.tables import compared, interval
from holdfast.studies.noise_grid.command import NoiseGrid, run_cells
from holdfast.studies.noise_grid.page import noise_grid_result
from holdfast.studies.noise_grid.plan import comparisons_of, rows_of
from holdfast.studies.quadrotor.arms import Arm, deployments
from holdfast.studies.quadrotor.cells import Scored, comparison_of, row_of
from holdfast.studies.quadrotor.run_arms import run_group
from holdfast.studies.quadrotor.world import read_world


def test_a_row_by_hand():
    """Means of scores 0.5 and 0.7; medians of distances 1 and 4, of geometric mean 2."""
    group = [Scored([0.4, 0.6, 0.5], [1.0, 1.0, 9.0], [False] * 3), Scored([0.7] * 3, [4.0, 0.1, 5.0], [True] * 3)]
    row = row_of(group)
    assert (row["score"], row["distance"], row["diverged"]) == pytest.approx((0.6, 2.0, 0.5))
    # Student with one degree of freedom, t = 12.7062; s = 0.2 / √2 of the scores, log 4 / √2 of the distances
    assert row["score_high"] == pytest.approx(0.6 + 12.7062 * 0.2 / 2, abs=1e-4)
    assert row["distance_high"] == pytest.approx(2 * math.exp(12.7062 * math.log(4) / 2), rel=1e-4)
    assert (row["diverged_low"], row["diverged_high"]) == (0.0, 1.0)


def test_a_comparison_by_hand():
    """Everywhere twice as far and 0.1 better: certain, whatever is resampled."""
    base = [Scored([0.4, 0.6], [1.0, 3.0], [False] * 2), Scored([0.1, 0.2], [5.0, 7.0], [False] * 2)]
    group = [Scored([x + 0.1 for x in one.score], [2 * d for d in one.distance], [False] * 2) for one in base]
    found = comparison_of(group, base)
    assert found["score_difference"] == pytest.approx(0.1)
    assert (found["distance_ratio_low"], found["distance_ratio_high"]) == pytest.approx((2.0, 2.0))
    assert (found["score_side"], found["distance_side"]) == ("above", "above")
    assert comparison_of(base, base)["distance_side"] == "not significant"
    assert compared(found) == "higher score (+0.10), farther from the expert (× 2.00)"


def test_shares_are_never_certain():
    """Of 6 flights none: Clopper and Pearson's upper end is 1 − 0.025^(1/6), whatever the seeds say."""
    none = share(torch.zeros(2, 3, dtype=torch.bool))
    assert (none.mean, none.low, none.high) == pytest.approx((0.0, 0.0, 1 - 0.025 ** (1 / 6)))
    # seeds that disagree widely make the pooled interval too narrow
    apart = share(torch.tensor([[True] * 30, [False] * 30]))
    assert (apart.low, apart.high) == (0.0, 1.0)


@pytest.mark.parametrize(
    ("estimate", "said"),
    [
        (Estimate(1.5, 1.1, 2.0), "above"),
        (Estimate(0.5, 0.1, 0.9), "below"),
        (Estimate(1.5, 0.9, 2.0), "not significant"),
    ],
)
def test_verdicts(estimate, said):
    assert side_of(estimate, 1.0) == said


def test_the_plan_is_the_whole_grid():
    quick = NoiseGrid().jobs()
    assert len(quick) == 4 * 2 * 3
    assert {job.arm.sigma for job in quick} == {0.0, 0.03, 0.1, 0.3} == set(quick[0].deployed)
    assert {job.arm.gains for job in quick} == {"none", "tvlqr"}
    assert {job.arm.n_demos for job in quick} == {3}
    assert {job.arm.steps for job in NoiseGrid(preset="full").jobs()} == {None}
    assert len({job.key for job in quick}) == len(quick)
    # other flights of the same training are another file
    small, other = (NoiseGrid(seeds=1, sigmas=sigmas).jobs() for sigmas in ((0.1,), (0.1, 0.2)))
    assert small[0].arm == other[0].arm
    assert small[0].key != other[0].key
    with pytest.raises(RecipeError, match=r"each sigma once, got 0\.1, 0\.1"):
        NoiseGrid(sigmas=(0.1, 0.1)).jobs()


def test_end_to_end_and_again(small_world, in_process, stage):
    plan = NoiseGrid(seeds=1, sigmas=(0.0, 0.1), steps=3).jobs()
    # raw actions plan at every step, which takes long under the tests' checks of shapes
    jobs = [job for job in plan if job.arm.gains != "none"]
    cells = run_cells(jobs, small_world, stage)
    rows, comparisons = rows_of(cells), comparisons_of(cells)
    assert stage.done["training runs"] == [0, 1, 2]
    assert [(row["sigma_train"], row["sigma_deploy"]) for row in rows] == [
        (0.0, 0.0),
        (0.0, 0.1),
        (0.1, 0.0),
        (0.1, 0.1),
    ]
    assert {item["against"] for item in comparisons} == {
        "no noise at all", "the same training without noise at deployment",
    }  # fmt: skip
    # nothing is trained again
    files = sorted((small_world / "jobs").iterdir())
    stamps = [path.stat().st_mtime_ns for path in files]
    assert run_cells(jobs, small_world, stage) == cells
    assert [path.stat().st_mtime_ns for path in files] == stamps
    # the page shows it all
    found = noise_grid_result(rows, comparisons, {})
    _, *figures, page = write_study(small_world, "noise-grid", found, preset="quick", seconds=0.0)
    assert [figure.name for figure in figures] == ["noise-grid-n3.png"]
    text = page.read_text()
    assert interval(rows[0], "distance") in text
    assert all(verdict.claim in text for verdict in found.verdicts)


def _alone(arm, folder):
    ((_, results),) = run_group([arm], read_world(folder / "world"))
    return results


def test_the_diagonal_is_the_usual_arm(small_world, in_process, stage):
    """What `run_arms` calls replica and train are two of the grid's cells."""
    arm = Arm("holdfast", 3, "tvlqr", 0.1, 0, steps=3)
    plan = NoiseGrid(seeds=1, sigmas=(0.0, 0.1), steps=3).jobs()
    rows = rows_of(run_cells([job for job in plan if job.arm == arm], small_world, stage))
    usual = {result.noise: result for result in _alone(arm, small_world)}
    assert set(usual) == set(deployments(arm)) == {"train", "replica"}
    for noise, deployed in (("train", 0.0), ("replica", 0.1)):
        (row,) = [
            row for row in rows
            if (row["gains"], row["sigma_train"], row["sigma_deploy"]) == ("tvlqr", 0.1, deployed)
        ]  # fmt: skip
        assert row["score"] == pytest.approx(sum(usual[noise].score) / 3, rel=1e-5)
        assert row["distance"] == pytest.approx(sorted(usual[noise].distance)[1], rel=1e-5)
