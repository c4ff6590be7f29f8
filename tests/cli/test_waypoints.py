"""Chunks of way-points through training, run folders and evaluation."""

import json

import pytest
import torch

import holdfast
from holdfast.data import Waypoints
from holdfast.learn import load_recipe
from holdfast.types import Observation

SHORT = ["--steps", "20", "--batch-size", "16", "--horizon", "4", "--n-action-steps", "2"]
GAINS = ["--stiffness", "4", "9"]
POINTS = ["--codec", "waypoints", "--waypoint-positions", "0", "1", "--waypoint-velocities", "2", "3", *GAINS]


@pytest.fixture(scope="module")
def moved(cli, tmp_path_factory):
    out = tmp_path_factory.mktemp("way-points") / "demos"
    status, said = cli("demonstrate", "double_integrator", "--episodes", 3, "--out", out)
    assert status == 0, said
    return out


def test_way_points_are_trained_stored_and_executed(cli, moved, tmp_path):
    status, said = cli("train", moved, "--out", tmp_path / "run", *SHORT, *POINTS)
    assert status == 0, said
    assert "Waypoints chunks of 4 steps, NoFeedback" in said
    # the damping that was not given is the critical one, 2 √k
    expected = Waypoints(positions=(0, 1), velocities=(2, 3), stiffness=(4.0, 9.0), damping=(4.0, 6.0))
    assert load_recipe(tmp_path / "run").policy.codec == expected
    policy, here = holdfast.load(tmp_path / "run"), torch.tensor([[0.5, -0.5, 0.0, 0.0]]).double()
    policy.executor.observe(Observation(state=here))
    plan = policy.executor.plan()
    assert plan.gains[0, 0].tolist() == [[-4.0, 0.0, -4.0, 0.0], [0.0, -9.0, 0.0, -6.0]]
    assert not plan.actions.any()
    status, said = cli("evaluate", tmp_path / "run", "--episodes", 3, "--out", tmp_path / "result")
    assert status == 0, said
    assert json.loads((tmp_path / "result" / "result.json").read_text())["score"]


def test_a_planned_stiffness_needs_gains(cli, moved, tmp_path):
    planned = [*POINTS, "--damping", "3", "3", "--stiffness-range", "8"]
    status, said = cli("train", moved, "--out", tmp_path / "run", *SHORT, *planned, "--synthesis", "tvlqr")
    assert status == 0, said
    recipe = load_recipe(tmp_path / "run")
    assert (recipe.policy.codec.stiffness_range, type(recipe.synthesis).__name__) == (8.0, "Tvlqr")
    assert holdfast.load(tmp_path / "run").planner.code_scale.low.shape == (6,)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--codec", "waypoints", *GAINS], "needs --waypoint-positions, --waypoint-velocities: one number"),
        (["--stiffness", "4"], "--stiffness is for way-points. Add --codec waypoints."),
        (["--codec", "actions", "--stiffness", "4", "--damping", "1"], "--stiffness, --damping are for way-points."),
        ([*POINTS, "--synthesis", "tvlqr"], "use no gains of the synthesis Tvlqr. Use --synthesis none"),
        ([*POINTS, "--stiffness-range", "2"], "learned from gains, but the synthesis is NoFeedback. Add a synthesis"),
        ([*POINTS, "--damping", "1", "2", "3"], "2 positions and 3 damping. Give one of each"),
        ([*POINTS[:-2], "-4", "9"], "expected --stiffness of more than 0, got -4"),
        ([*POINTS[:6], "7", *POINTS[7:]], "the way-points use state coordinate 7, but the state has 4"),
    ],
)
def test_options_that_make_no_cascade(cli, moved, tmp_path, options, message):
    status, said = cli("train", moved, "--out", tmp_path / "run", *SHORT, *options)
    assert status == 1, said
    assert message in " ".join(said.split())
    assert not (tmp_path / "run").exists()
