"""`holdfast evaluate` in environments: which there are, which episodes, and what is written."""

import json
import shutil

import pytest
import torch

import holdfast
from holdfast.data import episodes_from_arrays, read, write
from holdfast.seeding import stream

QUICK = ["--steps", "3", "--batch-size", "4"]


@pytest.fixture(scope="module")
def pendulum_run(cli, tmp_path_factory):
    """A run on noise that looks like the pendulum's data: of no use, but complete."""
    place = tmp_path_factory.mktemp("pendulum")
    rng = stream(0, "tests", "pendulum")
    states, actions = ([torch.randn(12, n, generator=rng) for _ in range(3)] for n in (3, 1))
    write(episodes_from_arrays(states, actions, system="gym:Pendulum-v1", dt=0.05), place / "demos")
    status, said = cli("train", place / "demos", "--out", place / "run", *QUICK)
    assert status == 0, said
    return place / "run"


def test_the_environment_of_the_data_and_the_episodes_written(cli, pendulum_run, tmp_path):
    out, flown = tmp_path / "out", tmp_path / "flown"
    status, said = cli("evaluate", pendulum_run, "--episodes", 2, "--first-seed", 40, "--out", out, "--record", flown)
    assert status == 0, said
    assert str(flown) in said
    assert "200/200" in said
    found = json.loads((out / "result.json").read_text())
    assert (found["environment"], found["first_seed"], found["episodes"]) == ("gym:Pendulum-v1", 40, 2)
    assert found["score"] == found["return"]
    assert "success" not in found
    episodes = holdfast.read(flown)
    assert (episodes.system, episodes.lengths.tolist()) == ("gym:Pendulum-v1", [200, 200])
    assert float(episodes.rewards.sum()) / 2 == pytest.approx(found["score"]["mean"], rel=1e-5)
    # what flew can be learned from
    assert cli("train", flown, "--out", tmp_path / "again", *QUICK)[0] == 0
    # and is not written over unasked, nor after the work
    status, said = cli("evaluate", pendulum_run, "--episodes", 2, "--out", tmp_path / "other", "--record", flown)
    assert status == 1
    assert "exists already" in said
    assert not (tmp_path / "other").exists()


def test_an_action_that_is_not_finite_is_held_where_asked(cli, pendulum_run, tmp_path):
    for choice in ("raise", "hold"):
        out = tmp_path / choice
        arguments = ("--episodes", 2, "--first-seed", 40, "--out", out, "--on-nonfinite", choice)
        assert cli("evaluate", pendulum_run, *arguments)[0] == 0
        found = json.loads((out / "result.json").read_text())
        assert found["recipe"]["policy"]["execution"]["on_nonfinite"] == choice


def test_other_seeds_are_other_episodes(cli, pendulum_run, tmp_path):
    scores = []
    for name, seeds in [("a", ["--first-seed", 7]), ("b", ["--first-seed", 7]), ("c", [])]:
        assert cli("evaluate", pendulum_run, "--episodes", 1, "--out", tmp_path / name, *seeds)[0] == 0
        found = json.loads((tmp_path / name / "result.json").read_text())
        scores.append((found["first_seed"], found["score"]["mean"]))
    assert scores[0] == scores[1] != scores[2]
    assert scores[2][0] == 100_000


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--environment", "moon"], "unknown environment 'moon'. Known: avoid"),
        (["--environment", "gym:Pendulum-v7"], "unknown gymnasium environment 'Pendulum-v7'. Known: "),
        (["--environment", "gym:CartPole-v1"], "takes actions in Discrete(2)"),
        (["--environment", "gym:MountainCarContinuous-v0"], "has observations (state 2) of 2 numbers, but the policy"),
        (["--environment", "mujoco:Pendulum-v1"], "Pendulum-v1 is not a MuJoCo environment"),
        (["--environment", "quadrotor2d"], "has observations (state 6) of 6 numbers, but the policy was trained on 3"),
        (["--environment", "scalar", "--first-seed", "3"], "on scalar, --seed selects all initial states"),
        (
            ["--environment", "scalar", "--untouched", "3"],
            "--seed selects all initial states. Omit --untouched",
        ),
        (["--untouched", "3", "--first-seed", "400002"], "are among the untouched ones, which begin at seed 400000"),
        (["--untouched", "-3"], "at least 0"),
        (["--filter", "missing.json"], "--filter missing.json is not a file. Give a file like"),
        (
            ["--environment", "avoid", "--record", "flown.npz", "--record-cameras", "top"],
            "--record-cameras names cameras of a MuJoCo model, in gym:<id>, mujoco:<id> and robosuite:<task>, and "
            "avoid has none",
        ),
    ],
)
def test_what_does_not_fit_is_one_line(cli, pendulum_run, tmp_path, arguments, message):
    status, said = cli("evaluate", pendulum_run, "--episodes", 1, "--out", tmp_path / "out", *arguments)
    assert status == 1
    assert message in said
    assert "Traceback" not in said
    assert not (tmp_path / "out" / "result.json").exists()


def test_untouched_episodes_are_reported_beside_the_others_in_one_go(cli, pendulum_run, tmp_path):
    """Those from seed 400000 on; the values of fewer than ten episodes are listed, without an interval."""
    out = tmp_path / "out"
    status, said = cli("evaluate", pendulum_run, "--episodes", 2, "--untouched", 10, "--out", out)
    assert status == 0, said
    assert "2 episodes from seed 100000, 95 % intervals" in " ".join(said.split())
    assert "10 episodes from seed 400000, untouched by any choice, 95 % intervals" in " ".join(said.split())
    assert "score of each episode:" in said
    found = json.loads((out / "result.json").read_text())
    apart = found["untouched"]
    assert (found["first_seed"], apart["first_seed"], apart["episodes"]) == (100_000, 400_000, 10)
    assert (found["score"]["low"], found["score"]["high"], len(found["score"]["values"])) == (None, None, 2)
    assert sum(found["score"]["values"]) / 2 == pytest.approx(found["score"]["mean"])
    assert apart["score"]["low"] < apart["score"]["mean"] < apart["score"]["high"]
    assert "values" not in apart["score"]
    alone = tmp_path / "alone"
    assert cli("evaluate", pendulum_run, "--episodes", 10, "--first-seed", 400_000, "--out", alone)[0] == 0
    assert json.loads((alone / "result.json").read_text())["score"] == apart["score"]


def test_help_names_the_environments(cli):
    status, said = cli("evaluate", "--help")
    assert status == 0
    for name in ("pusht-state", "avoid", "gym:<id>", "mujoco:<id>"):
        assert name in said


def test_push_t_is_drawn(cli, tmp_path):
    pytest.importorskip("gym_pusht")
    rng = stream(0, "tests", "pusht")
    states, actions = ([100 + 300 * torch.rand(12, 2, generator=rng) for _ in range(3)] for _ in range(2))
    seen = [holdfast.Observation(state=x, environment_state=x.repeat(1, 9)) for x in states]
    write(episodes_from_arrays(states, actions, observations=seen, system="pusht", dt=0.1), tmp_path / "demos")
    assert cli("train", tmp_path / "demos", "--out", tmp_path / "run", *QUICK)[0] == 0
    out = tmp_path / "out"
    status, said = cli("evaluate", tmp_path / "run", "--episodes", 2, "--out", out)
    assert status == 0, said
    assert (out / "tables.png").read_bytes().startswith(b"\x89PNG")
    assert "tables.png" in said
    found = json.loads((out / "result.json").read_text())
    assert (found["score"]["low"], found["score"]["high"]) == (None, None)
    assert [0 <= score <= 1 for score in found["score"]["values"]] == [True, True]
    assert 0 <= found["success"]["low"] <= found["success"]["high"] <= 1
    assert {"success", "return"} <= set(found)


def test_data_import_nothing(cli, pendulum_run, tmp_path):
    """A downloaded run or data set may name a module; only a typed name is imported."""
    name = "gym:this:X-v0"  # a module that prints when it is imported
    run = shutil.copytree(pendulum_run, tmp_path / "run")
    recipe = json.loads((run / "recipe.json").read_text())
    (run / "recipe.json").write_text(json.dumps({**recipe, "environment": name}))
    for verb in ("evaluate", "diagnose"):
        status, said = cli(verb, run, "--out", tmp_path / "out")
        assert status == 1
        assert f"--environment {name}" in said
        assert "Beautiful is better" not in said
    for kind in ("gym", "mujoco"):
        arrays = [torch.randn(12, 3)], [torch.randn(12, 1)]
        write(episodes_from_arrays(*arrays, system=f"{kind}:this:X-v0", dt=0.05), tmp_path / f"{kind}.npz")
        _, said = cli("train", tmp_path / f"{kind}.npz", "--out", tmp_path / kind, *QUICK)
        assert "Beautiful is better" not in said
    status, said = cli("evaluate", run, "--out", tmp_path / "out", "--environment", name)
    assert status == 1
    assert "Beautiful is better" in said
    assert "unknown gymnasium environment" in said


def test_a_safety_filter_of_a_file_is_applied_counted_and_stored(cli, run_folder, tmp_path):
    (tmp_path / "limits.json").write_text('{"action_low": [-0.01], "action_high": [0.01]}')
    arguments = ("--episodes", 12, "--filter", tmp_path / "limits.json", "--record", tmp_path / "flown.npz")
    status, said = cli("evaluate", run_folder, "--out", tmp_path / "out", *arguments)
    assert status == 0, said
    result = json.loads((tmp_path / "out" / "result.json").read_text())
    assert result["filtered"]["mean"] > 0
    assert result["infeasible"]["mean"] == 0
    assert result["recipe"]["policy"]["execution"]["filter"]["action_high"] == [0.01]
    assert float(read(tmp_path / "flown.npz").actions.abs().max()) <= 0.01


def test_a_filter_of_another_robot_is_refused(cli, run_folder, tmp_path):
    for text, message in (
        ('{"action_low": [-1.0, -1.0]}', "expected action_low of the safety filter with 1 numbers"),
        ("{}", "a safety filter without constraints"),
        ('{"action_lo": [-1.0]}', "SafetyFilter has no field action_lo"),
    ):
        (tmp_path / "limits.json").write_text(text)
        status, said = cli("evaluate", run_folder, "--out", tmp_path / "out", "--filter", tmp_path / "limits.json")
        assert status == 1
        assert message in " ".join(said.split())
