"""Study butterfly: its plan, its rows by hand, a small run, its page, and going on with it."""

import math
from dataclasses import replace

import pytest
import torch

from holdfast.errors import RecipeError
from holdfast.learn.tracing import LIVE, SteadyDecay
from holdfast.models import Diffusion, Regression
from holdfast.studies.butterfly.command import Butterfly, run_traces
from holdfast.studies.butterfly.page import butterfly_result
from holdfast.studies.butterfly.plan import Cell, Traced, butterfly_recipe
from holdfast.studies.butterfly.summary import comparisons_of, landscapes_of, rows_of
from holdfast.studies.engine.result import write_study

CELL = Cell("none", "regression", 8, "held")
MEASURES = ("training_loss", "held_out_loss", "unexplained", "score", "distance", "diverged")


def curves(noise, *, scale):
    """Score 0.5, distance and losses that fall where the score rises; all oscillate by `scale`."""
    score = (0.5 + scale * noise).tolist()
    loss = (2 - scale * noise).exp().tolist()
    return dict(zip(MEASURES, (loss, loss, loss, score, loss, [0.0] * len(score)), strict=True))


def planted(gaussian, seed, *, scale):
    noise = gaussian(seed, 24)
    seen = {LIVE: curves(noise, scale=scale), "EMA 0.9": curves(noise, scale=scale / 10)}
    return Traced(seen=seen, line={}, seconds=0.0)


def test_rows_by_hand(gaussian):
    """An average with a tenth of the oscillation, and losses that rank the checkpoints as distances do."""
    group = [planted(gaussian, seed, scale=0.02) for seed in range(3)]
    live, averaged = rows_of({CELL: group}, {LIVE: 1.0, "EMA 0.9": 10.0})
    assert (live["weights"], averaged["weights"], averaged["memory"], live["seeds"]) == (LIVE, "EMA 0.9", 10.0, 3)
    assert averaged["score_ratio"] == pytest.approx(0.1)
    assert averaged["distance_ratio_high"] == pytest.approx(0.1)
    assert averaged["score_side"] == "below"
    assert (live["held_out_loss_tells"], live["held_out_loss_score"]) == (1.0, -1.0)
    means = [sum(one.seen[LIVE]["score"]) / 24 for one in group]
    assert live["score"] == pytest.approx(sum(means) / 3)
    assert live["worst"] == pytest.approx(sum(min(one.seen[LIVE]["score"]) for one in group) / 3)
    # √(Var of differences / 2), seed by seed, then the geometric mean
    stds = [torch.tensor(one.seen[LIVE]["score"]).double().diff().std() / math.sqrt(2) for one in group]
    assert live["score_oscillation"] == pytest.approx(math.prod(map(float, stds)) ** (1 / 3))


def test_comparisons_are_with_the_smallest_batch_and_with_raw_actions(gaussian):
    cells = {
        Cell(gains, "regression", batch, schedule): [planted(gaussian, seed, scale=scale) for seed in range(2)]
        for gains, batch, schedule, scale in (
            ("none", 8, "held", 0.4),
            ("none", 64, "held", 0.1),
            ("none", 8, "cosine", 0.2),
            ("tvlqr", 8, "held", 0.04),
        )
    }
    found = {(one["gains"], one["batch"], one["schedule"], one["against"]): one for one in comparisons_of(cells)}
    ratios = {key: round(one["distance_ratio"], 6) for key, one in found.items()}
    assert ratios == {
        ("none", 64, "held", "batches of 8, held"): 0.25,
        ("none", 8, "cosine", "batches of 8, held"): 0.5,
        ("tvlqr", 8, "held", "raw actions"): 0.1,
    }


def test_a_smooth_line_and_a_rugged_one(gaussian):
    x = torch.linspace(-1, 1, 21, dtype=torch.float64)

    def line(score):
        values = {"scale": x, "score": score, "distance": 2 - score, "held_out_loss": x**2}
        return Traced(seen={}, line={name: value.tolist() for name, value in values.items()}, seconds=0.0)

    smooth, rugged = landscapes_of({CELL: [line(1 - x**2), line(gaussian(0, 21).tanh())]})
    assert smooth["score_roughness"] == pytest.approx(2.0)
    assert smooth["loss_roughness"] == pytest.approx(2.0)
    assert rugged["score_roughness"] > 3
    assert landscapes_of({CELL: [Traced({}, {}, 0.0)]}) == []


def test_the_plan():
    jobs = Butterfly().jobs()
    assert len({job.key for job in jobs}) == len(jobs) == 21
    assert {job.arm.n_demos for job in jobs} == {10}
    at = jobs[0].at
    assert (at[0] > at[-1] / 2, at[-1], len(at)) == (True, 1200, 20)
    # averaging needs no training of its own; every line starts where a further update exists
    assert all(not job.decays for job in jobs if job.scales)
    assert len(Butterfly(preset="full").jobs()) == 2 * 2 * 4 * 2 * 5
    with pytest.raises(RecipeError, match="once"):
        Butterfly(batches=(8, 8)).jobs()
    with pytest.raises(RecipeError, match="at least 10 checkpoints"):
        Butterfly(checkpoints=5).jobs()
    with pytest.raises(RecipeError, match="checkpoints in 10 updates"):
        Butterfly(steps=10).jobs()


def test_recipes_differ_by_what_the_cell_says():
    jobs = {job.cell: butterfly_recipe(job) for job in Butterfly(preset="full", seeds=1).jobs()}
    held, falling = (jobs[Cell("tvlqr", "diffusion", 8, schedule)] for schedule in ("held", "cosine"))
    assert held.training.steps == 1000 * falling.training.steps
    assert held.policy == falling.policy
    regression = jobs[Cell("tvlqr", "regression", 8, "held")]
    assert isinstance(regression.policy.model, Regression)
    assert isinstance(held.policy.model, Diffusion)
    assert regression.policy.model.network == held.policy.model.network
    assert jobs[Cell("none", "regression", 512, "held")].training.batch_size == 512


def test_a_small_study_and_going_on_with_it(small_world, in_process, monkeypatch, stage):
    jobs = Butterfly(seeds=1, steps=20, checkpoints=10, batches=(4,)).jobs()
    (job,) = [job for job in jobs if job.cell == Cell("tvlqr", "regression", 4, "held")]
    arm = replace(job.arm, n_demos=3)
    jobs = [replace(job, arm=arm, averagings=(SteadyDecay(0.9),), scales=(0.0, 1.0))]
    found = run_traces(jobs, small_world, stage)
    assert [row["weights"] for row in found.tables[0].rows] == [LIVE, "EMA 0.9"]
    live, averaged = found.values["traces"]
    assert live["step"] == list(range(11, 21))
    assert live["score"] != averaged["score"]
    (line,) = found.values["landscapes"]
    # the line begins at the last checkpoint, flown in the same way
    assert (line["score"][0], line["held_out_loss"][0]) == (live["score"][-1], live["held_out_loss"][-1])

    def never(folder, job):
        raise AssertionError("a finished training is not done again")

    monkeypatch.setattr("holdfast.studies.butterfly.command.trace_job", never)
    assert run_traces(jobs, small_world, stage).rows == found.rows


def test_the_page_and_what_it_says(gaussian, tmp_path):
    """An average with a tenth of the oscillation is said to have it, and so is a loss that ranks."""
    cells = {CELL: [planted(gaussian, seed, scale=0.02) for seed in range(3)]}
    traces = [
        {**vars(CELL), "seed": seed, "weights": weights, "step": list(range(24)), **values}
        for seed, one in enumerate(cells[CELL])
        for weights, values in one.seen.items()
    ]
    found = butterfly_result(rows_of(cells, {LIVE: 1.0, "EMA 0.9": 10.0}), comparisons_of(cells), [], traces, {})
    oscillates, averaged = found.verdicts
    assert "ρ = 1.00 [1.00, 1.00]" in oscillates.seen
    assert averaged.holds == "yes"
    assert "EMA 0.9 × 0.10 of score (smaller) and × 0.10 of distance (smaller)" in averaged.seen
    _, *figures, page = write_study(tmp_path, "butterfly", found, preset="quick", seconds=0.0)
    assert len(figures) == 5
    assert all(figure.stat().st_size > 5000 for figure in figures)
    assert "2310.11428" in page.read_text()
