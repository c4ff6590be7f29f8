"""Study noise-grid: its plan, its cells by hand, a small run and going on with it; what all three studies compute."""

import math

import pytest
import torch

from holdfast.errors import RecipeError
from holdfast.evaluation import Estimate
from holdfast.studies.noise_grid.page import noise_grid_findings, write_noise_grid_page
from holdfast.studies.noise_grid.plan import noise_grid, plan_noise_grid
from holdfast.studies.quadrotor.arms import Arm, deployments
from holdfast.studies.quadrotor.cells import Judged, compared, row_of, share, verdict
from holdfast.studies.quadrotor.run_arms import run_group
from holdfast.studies.quadrotor.words import between, interval
from holdfast.studies.quadrotor.world import read_world

SIZE = (4, 3)


def test_a_row_by_hand():
    """Means of scores 0.5 and 0.7; medians of distances 1 and 4, of geometric mean 2."""
    group = [Judged([0.4, 0.6, 0.5], [1.0, 1.0, 9.0], [False] * 3), Judged([0.7] * 3, [4.0, 0.1, 5.0], [True] * 3)]
    row = row_of(group)
    assert (row["score"], row["distance"], row["diverged"]) == pytest.approx((0.6, 2.0, 0.5))
    # Student with one degree of freedom, t = 12.7062; s = 0.2 / √2 of the scores, log 4 / √2 of the distances
    assert row["score_high"] == pytest.approx(0.6 + 12.7062 * 0.2 / 2, abs=1e-4)
    assert row["distance_high"] == pytest.approx(2 * math.exp(12.7062 * math.log(4) / 2), rel=1e-4)
    assert (row["diverged_low"], row["diverged_high"]) == (0.0, 1.0)


def test_a_comparison_by_hand():
    """Everywhere twice as far and 0.1 better: certain, whatever is resampled."""
    base = [Judged([0.4, 0.6], [1.0, 3.0], [False] * 2), Judged([0.1, 0.2], [5.0, 7.0], [False] * 2)]
    group = [Judged([x + 0.1 for x in one.score], [2 * d for d in one.distance], [False] * 2) for one in base]
    found = compared(group, base)
    assert found["score_difference"] == pytest.approx(0.1)
    assert (found["distance_ratio_low"], found["distance_ratio_high"]) == pytest.approx((2.0, 2.0))
    assert (found["score_verdict"], found["distance_verdict"]) == ("above", "above")
    assert compared(base, base)["distance_verdict"] == "not told apart"
    assert between(found) == "scores higher (+0.10) and is farther from the expert (× 2.00)"


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
        (Estimate(1.5, 0.9, 2.0), "not told apart"),
    ],
)
def test_verdicts(estimate, said):
    assert verdict(estimate, 1.0) == said


def test_the_plan_is_the_whole_grid():
    quick = plan_noise_grid("quick")
    assert len(quick) == 4 * 2 * 3
    assert {job.arm.sigma for job in quick} == {0.0, 0.03, 0.1, 0.3} == set(quick[0].deployed)
    assert {job.arm.gains for job in quick} == {"none", "tvlqr"}
    assert {job.arm.n_demos for job in quick} == {3}
    assert {job.arm.steps for job in plan_noise_grid("full")} == {None}
    assert len({job.name for job in quick}) == len(quick)
    # other flights of the same training are another file
    small, other = (plan_noise_grid("quick", seeds=1, sigmas=sigmas) for sigmas in ((0.1,), (0.1, 0.2)))
    assert small[0].arm == other[0].arm
    assert small[0].name != other[0].name
    with pytest.raises(RecipeError, match=r"each sigma once, got 0\.1, 0\.1"):
        plan_noise_grid("quick", sigmas=(0.1, 0.1))


def test_end_to_end_and_again(small_world, in_process):
    plan = plan_noise_grid("quick", seeds=1, sigmas=(0.0, 0.1), updates=3)
    # raw actions plan at every step, which takes long under the tests' checks of shapes
    jobs = [job for job in plan if job.arm.gains != "none"]
    done = list[int]()
    found = noise_grid(jobs, small_world, size=SIZE, on_done=done.append)
    assert done == [0, 1, 2]
    cells = [(row["sigma_train"], row["sigma_deploy"], row["replica"]) for row in found.rows]
    assert cells == [(0.0, 0.0, True), (0.0, 0.1, False), (0.1, 0.0, False), (0.1, 0.1, True)]
    assert {item["against"] for item in found.comparisons} == {
        "no noise at all", "the same training, flown without noise",
    }  # fmt: skip
    # nothing is trained again
    files = sorted((small_world / "flights").iterdir())
    stamps = [path.stat().st_mtime_ns for path in files]
    again = noise_grid(jobs, small_world, size=SIZE)
    assert (again.rows, again.comparisons) == (found.rows, found.comparisons)
    assert [path.stat().st_mtime_ns for path in files] == stamps
    # the page shows it all
    *figures, page = write_noise_grid_page(small_world, found)
    assert [figure.name for figure in figures] == ["noise-grid-n3.png"]
    text = page.read_text()
    assert interval(found.rows[0], "distance") in text
    assert "Claimed" in text
    assert all(sentence.split(".")[0] in text for sentence in noise_grid_findings(found)[:1])


def _alone(arm, folder):
    ((_, results),) = run_group([arm], read_world(folder / "world"))
    return results


def test_the_diagonal_is_the_usual_arm(small_world, in_process):
    """What `run_arms` calls replica and train are two of the grid's cells."""
    arm = Arm("holdfast", 3, "tvlqr", 0.1, 0, steps=3)
    plan = plan_noise_grid("quick", seeds=1, sigmas=(0.0, 0.1), updates=3)
    found = noise_grid([job for job in plan if job.arm == arm], small_world, size=SIZE)
    usual = {result.noise: result for result in _alone(arm, small_world)}
    assert set(usual) == set(deployments(arm)) == {"train", "replica"}
    for noise, deployed in (("train", 0.0), ("replica", 0.1)):
        (row,) = [
            row for row in found.rows
            if (row["gains"], row["sigma_train"], row["sigma_deploy"]) == ("tvlqr", 0.1, deployed)
        ]  # fmt: skip
        assert row["score"] == pytest.approx(sum(usual[noise].score) / 3, rel=1e-5)
        assert row["distance"] == pytest.approx(sorted(usual[noise].distance)[1], rel=1e-5)
