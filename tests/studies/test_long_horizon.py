"""Study long-horizon: the planning expert, growth by hand, a small run and going on with it."""

import math

import pytest
import torch

from holdfast.control import MpcExpert, Tvlqr
from holdfast.control.systems import scalar
from holdfast.envs import SystemEnvironment, rollout
from holdfast.errors import RecipeError
from holdfast.studies.engine.result import write_study
from holdfast.studies.long_horizon.command import LongHorizon, run_long
from holdfast.studies.long_horizon.plan import AIRS, GUST, LongFlight, PlanningExpert, expert_path, gusts, stored
from holdfast.studies.long_horizon.summary import comparisons_of, curves_of, rows_of
from holdfast.studies.quadrotor.cells import world_of
from holdfast.studies.quadrotor.world import HoverRegulator


def test_the_expert_as_a_policy_is_the_expert():
    """In still air its flight is the demonstrator's, plan by plan."""
    task = scalar(a=1.1)
    expert, starts = MpcExpert(task, horizon=6), torch.tensor([[1.0], [-3.0]], dtype=torch.float64)
    usual = expert.rollout(starts, 8)
    flown = rollout(PlanningExpert(expert), SystemEnvironment(task, steps=8), starts=starts).trajectory
    torch.testing.assert_close(flown.states, usual.states, rtol=0, atol=1e-12)
    torch.testing.assert_close(flown.actions, usual.actions, rtol=0, atol=1e-12)


def test_gusts_blow_on_rates_alone(small_world):
    world = world_of(small_world)
    assert not gusts(world, "still", 400).any()
    blown = gusts(world, "gusts", 400)
    assert not blown[..., :3].any()
    assert blown[..., 3:].std().item() == pytest.approx(GUST, rel=0.05)
    assert torch.equal(blown, gusts(world, "gusts", 400))


def flight(per_block, *, left=(None, None), blocks=100, block=2):
    """Two starts whose error is a function of the block."""
    error = [[per_block(index) for index in range(blocks)]] * 2
    return LongFlight("still", block, [1.0, 1.0], [1.0, 1.0], error, error, list(left))


@pytest.mark.parametrize("power", [0.0, 1.0, 3.0])
def test_growth_by_hand(power):
    """An error of (time)^p from 100 steps on has exponent p; late over early is a ratio of means."""
    group = [flight(lambda index: float(index + 1) ** power)] * 2
    (row,) = rows_of({(("none", 1, 0.0), "still"): group}, demonstrated=100)
    assert row["exponent"] == pytest.approx(power)
    early = sum(float(i) ** power for i in range(51, 101)) / 50
    late = sum(float(i) ** power for i in range(91, 101)) / 10
    assert row["growth"] == pytest.approx(late / early)
    assert row["growth_side"] == ("above" if power > 0 else "not significant")
    assert row["steps"] == 200


def test_divergence_by_hand():
    """Of four flights one leaves at step 10, one at step 150."""
    group = [flight(lambda index: 1.0, left=(10, None)), flight(lambda index: 1.0, left=(None, 150))]
    groups = {(("none", 1, 0.0), "still"): group}
    (row,) = rows_of(groups, demonstrated=100)
    assert (row["diverged_demonstrated"], row["diverged"]) == (0.25, 0.5)
    (curve,) = curves_of(groups, dt=0.05)
    assert curve["seconds"][-1] == pytest.approx(10.0)
    # blocks of two steps: step 10 is in the block that ends with step 12, step 150 in that of 152
    assert [curve["diverged"][index] for index in (4, 5, 74, 75, 99)] == [0.0, 0.25, 0.25, 0.5, 0.5]


def test_comparisons_are_within_an_air():
    groups = {
        ((kind, 1, sigma), air): [flight(lambda index: 1.0)] * 2
        for kind in ("none", "tvlqr") for sigma in (0.0, 0.1) for air in AIRS
    }  # fmt: skip
    found = comparisons_of(groups)
    pairs = [(item["gains"], item["sigma"], item["against"]) for item in found if item["air"] == "still"]
    raw, quiet = "raw actions with the same noise", "the same without noise"
    assert pairs == [("none", 0.1, quiet), ("tvlqr", 0.0, raw), ("tvlqr", 0.1, raw), ("tvlqr", 0.1, quiet)]
    assert len(found) == 2 * len(pairs)
    assert {item["distance_side"] for item in found} == {"not significant"}


def test_plans():
    quick, full = LongHorizon().jobs(), LongHorizon(preset="full").jobs()
    assert len(quick) == 3 * 2 * 3 * 2
    assert {(job.steps, job.arm.n_demos) for job in quick} == {(1000, 3), (1000, 10)}
    assert {(job.arm.gains, job.arm.sigma) for job in quick} == {
        (kind, sigma) for kind in ("none", "tvlqr", "receding") for sigma in (0.0, 0.1)
    }
    assert {(job.steps, job.arm.steps) for job in full} == {(5000, None)}
    assert len({job.key for job in (*quick, *full)}) == len(quick) + len(full)
    with pytest.raises(RecipeError, match="200 steps or more, a multiple of 100, got 150"):
        LongHorizon(length=150).jobs()


def test_end_to_end_and_again(small_world, in_process, stage):
    world = world_of(small_world)
    # the regulator that made this world's demonstrations stands in for planning
    for air in AIRS:
        regulator = HoverRegulator(world.task, Tvlqr(action_weight=(0.5, 0.1))).policy()
        blown = gusts(world, air, 200)
        flown = rollout(
            regulator, SystemEnvironment(world.task, steps=200), starts=world.expert.states[:, 0], disturbance=blown
        ).trajectory
        path = expert_path(small_world, (air, 200))
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(stored(flown))
    plan = LongHorizon(seeds=1, demos=(2,), sigmas=(0.1,), length=200, steps=3).jobs()
    # raw actions plan at every step, which takes long under the tests' checks of shapes
    jobs = [job for job in plan if job.arm.gains != "none"]
    found = run_long(jobs, small_world, stage)
    assert stage.done == {"expert episodes": [2], "training runs": [0, 1, 2]}
    rows = found.tables[0].rows
    assert [(row["gains"], row["air"]) for row in rows] == [
        (kind, air) for kind in ("tvlqr", "receding") for air in AIRS
    ]
    assert all(math.isfinite(row["growth"]) and row["steps"] == 200 for row in rows)
    assert run_long(jobs, small_world, stage).rows == found.rows
    assert stage.done["training runs"] == [2]
    _, *figures, page = write_study(small_world, "long-horizon", found, preset="quick", seconds=0.0)
    assert [figure.name for figure in figures] == ["long-horizon-n2.png"]
    assert found.verdicts[0].claim in page.read_text()
