"""The verbs, from demonstrations to results, and what they refuse."""

import json
import os
import shutil
from pathlib import Path

import pytest
import torch

import holdfast
from holdfast.learn import load_recipe

ROOT = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("HOLDFAST_DATA", ROOT.parent / "shared" / "data"))
PUSHT = DATA / "pusht" / "pusht_cchi_v7_replay.zarr"
QUICK = ["--steps", "3", "--batch-size", "4"]


def is_estimate(value):
    """Whether it is an estimate of fewer than ten episodes, which has values in place of an interval, or of a rate."""
    if value["low"] is None:
        return value["high"] is None and sum(value["values"]) / len(value["values"]) == pytest.approx(value["mean"])
    return value["low"] <= value["mean"] <= value["high"]


def test_demonstrations_are_a_data_set(demos_folder):
    episodes = holdfast.read(demos_folder)
    assert len(episodes) == 4
    assert episodes.system == "scalar"
    assert episodes.final_states is not None


def test_seeds_of_demonstrations(cli, demos_folder, tmp_path):
    for seed in (0, 1):
        assert cli("demonstrate", "scalar", "--episodes", 4, "--seed", seed, "--out", tmp_path / str(seed))[0] == 0
    first, again, other = (holdfast.read(path) for path in (demos_folder, tmp_path / "0", tmp_path / "1"))
    assert torch.equal(first.states, again.states)
    assert not torch.equal(first.states, other.states)
    assert (demos_folder / "meta" / "info.json").is_file(), "LeRobot's format is the default"


def test_avoid_has_a_scripted_expert(cli, tmp_path):
    status, said = cli("demonstrate", "avoid", "--episodes", 24, "--out", tmp_path / "avoid.npz")
    assert status == 0, said
    episodes = holdfast.read(tmp_path / "avoid.npz")
    assert sorted(episodes.meta["modes"]) == list(range(24))
    assert episodes.meta["seed"] == 0


def test_a_run_folder_is_complete(run_folder):
    files = {str(path.relative_to(run_folder)) for path in run_folder.rglob("*") if path.is_file()}
    wanted = {"recipe.json", "model.safetensors", "scale.json", "metrics.jsonl", "train_state/state.safetensors"}
    assert wanted <= files
    recipe = load_recipe(run_folder)
    assert (recipe.training.steps, recipe.training.batch_size, recipe.environment) == (30, 16, "scalar")
    assert holdfast.load(run_folder).spec == recipe.policy


def test_evaluation(cli, run_folder, tmp_path):
    out = tmp_path / "evaluation"
    status, printed = cli("evaluate", run_folder, "--episodes", 2, "--out", out)
    assert status == 0
    found = json.loads((out / "result.json").read_text())
    assert is_estimate(found["score"])
    assert is_estimate(found["distance"])
    assert found["episodes"] == 2
    assert found["recipe"]["training"]["steps"] == 30
    assert found["versions"]["holdfast"] == holdfast.__version__
    assert "result.json" in printed
    assert "score" in printed
    # results that exist stay, unless replacing them is asked for
    status, printed = cli("evaluate", run_folder, "--episodes", 2, "--out", out)
    assert status == 1
    assert "exists already. Choose another --out, or give --overwrite" in printed
    assert cli("evaluate", run_folder, "--episodes", 2, "--out", out, "--overwrite", "--n-action-steps", 2)[0] == 0
    again = json.loads((out / "result.json").read_text())
    assert again["recipe"]["policy"]["execution"]["n_action_steps"] == 2


def test_equal_seeds_give_equal_results_but_for_times(cli, run_folder, tmp_path):
    found = []
    for name in "ab":
        assert cli("evaluate", run_folder, "--episodes", 2, "--seed", 5, "--out", tmp_path / name)[0] == 0
        values = json.loads((tmp_path / name / "result.json").read_text())
        assert values.pop("seconds") > 0
        found.append(values)
    assert found[0] == found[1]


@pytest.mark.parametrize("verb", ["demonstrate", "train"])
def test_outputs_that_exist_are_kept(cli, demos_folder, run_folder, verb):
    arguments = {
        "demonstrate": ("demonstrate", "scalar", "--episodes", 1, "--out", demos_folder),
        "train": ("train", demos_folder, "--out", run_folder, *QUICK),
    }
    folder = {"demonstrate": demos_folder, "train": run_folder}[verb]
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    status, printed = cli(*arguments[verb])
    assert status == 1
    assert "exists already" in printed
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(
    "late",
    [
        ("--demos", 999),
        ("--held-out", 1.0),
        ("--seeds", 2, "--demos", 999),
        ("--family", "tokens", "--tokenizer", "fast", "--seeds", 2),
    ],
)
def test_what_is_refused_late_replaces_nothing(cli, demos_folder, run_folder, tmp_path, late):
    shutil.copytree(run_folder, tmp_path / "run")
    (tmp_path / "run" / "notes.txt").write_text("mine")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    status, said = cli("train", demos_folder, "--out", tmp_path / "run", "--overwrite", *QUICK, *late)
    assert status == 1, said
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_options_reach_the_recipe(cli, demos_folder, tmp_path):
    given = ["--seed", 3, "--demos", 2, "--held-out", 0.25, "--sigma-train", 0.2, "--sigma-deploy", 0.05]
    given += ["--horizon", 6, "--n-action-steps", 3, "--n-obs-steps", 2, "--synthesis", "dare", "--save-every", 2]
    assert cli("train", demos_folder, "--out", tmp_path / "run", *QUICK, *given)[0] == 0
    recipe = load_recipe(tmp_path / "run")
    policy, execution = recipe.policy, recipe.policy.execution
    assert (recipe.seed, recipe.n_demos, recipe.held_out, recipe.training.sigma_train) == (3, 2, 0.25, 0.2)
    assert (policy.horizon, policy.n_obs_steps, recipe.training.save_every) == (6, 2, 2)
    assert (execution.n_action_steps, execution.sigma_deploy) == (3, 0.05)
    assert type(recipe.synthesis).__name__ == "Dare"


def test_raw_actions(cli, demos_folder, tmp_path):
    assert cli("train", demos_folder, "--out", tmp_path / "run", *QUICK, "--codec", "actions")[0] == 0
    recipe = load_recipe(tmp_path / "run")
    assert (type(recipe.policy.codec).__name__, type(recipe.synthesis).__name__) == ("Actions", "NoFeedback")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["demonstrate", "moon", "--out", "{new}"],
            "unknown system 'moon'. Known: avoid, avoid-m1, avoid-m2, avoid-m3, courier, ",
        ),
        (["demonstrate", "scalar", "--episodes", "0", "--out", "{new}"], "at least 1 episode, got 0"),
        (["study", "fig99", "--out", "{new}"], "unknown study 'fig99'. Known: butterfly, families, fig5"),
        (["study", "fig5", "--device", "moon", "--out", "{new}"], "expected a device of this machine, cpu"),
        (["evaluate", "{run}", "--environment", "moon", "--out", "{new}"], "unknown environment 'moon'. Known: avoid"),
        (["evaluate", "{new}", "--out", "{new}"], "does not exist. Make a run folder with: holdfast train"),
        (["evaluate", "{demos}", "--out", "{new}"], "is not a run folder: recipe.json is missing"),
        (["train", "{new}", "--out", "{new}"], "does not exist"),
        (["train"], "expected DATA and --out RUN, or --resume RUN"),
        (["train", "{demos}", "--out", "{new}", "--horizon", "3"], "horizon 3 is shorter than n_action_steps 4"),
        (["train", "{demos}", "--out", "{new}", "--demos", "9"], "n_demos from 1 to 4"),
        (["train", "{demos}", "--out", "{new}", "--steps", "0"], "steps of at least 1, got 0"),
        (
            ["train", "{demos}", "--out", "{new}", "--family", "act", "--network", "unet"],
            "the family act has a network of its own. Remove --network unet",
        ),
        (
            ["evaluate", "{run}", "--out", "{new}", "--ensemble", "True", "--n-action-steps", "4"],
            "plans at every step, so --n-action-steps 4 would have no effect. Remove it",
        ),
        (
            ["evaluate", "{run}", "--out", "{new}", "--stream", "True", "--delay", "2"],
            "With --delay, give --realtime streaming instead",
        ),
        (["train", "--resume", "{new}"], "does not exist. Make a run folder"),
        (["train", "{demos}", "--resume", "{run}"], "continues with the run's own data"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(cli, demos_folder, run_folder, tmp_path, arguments, message):
    places = {"new": tmp_path / "new", "run": run_folder, "demos": demos_folder}
    status, printed = cli(*[argument.format(**places) for argument in arguments])
    assert status == 1
    assert message in printed
    assert "Traceback" not in printed
    assert not [*(tmp_path / "new").rglob("*")]


def test_an_unknown_codec_lists_the_known(cli, demos_folder, tmp_path):
    status, printed = cli("train", demos_folder, "--out", tmp_path / "run", "--codec", "tokens")
    assert status == 2
    assert all(word in printed for word in ("tokens", "actions", "affine"))


def test_data_that_moved_are_named(cli, demos_folder, tmp_path):
    shutil.copytree(demos_folder, tmp_path / "demos")
    assert cli("train", tmp_path / "demos", "--out", tmp_path / "run", *QUICK)[0] == 0
    shutil.rmtree(tmp_path / "demos")
    status, printed = cli("train", "--resume", tmp_path / "run")
    assert status == 1
    assert "the demonstrations of" in printed


@pytest.mark.skipif(not PUSHT.exists(), reason="the human demonstrations are not here")
def test_human_demonstrations_through_the_same_pipeline(cli, tmp_path):
    pytest.importorskip("gym_pusht")
    run, out = tmp_path / "run", tmp_path / "out"
    assert cli("train", PUSHT, "--out", run, "--steps", 2, "--batch-size", 8, "--demos", 3)[0] == 0
    recipe = load_recipe(run)
    assert (recipe.environment, recipe.policy.n_observed, recipe.policy.n_actions) == ("pusht", 20, 2)
    assert cli("evaluate", run, "--episodes", 1, "--out", out)[0] == 0
    found = json.loads((out / "result.json").read_text())
    assert is_estimate(found["score"])
    assert 0 <= found["score"]["mean"] <= 1
    assert is_estimate(found["success"])


def test_demo(cli, tmp_path):
    out = tmp_path / "demo"
    assert cli("demo", "--out", out, "--steps", 20, "--starts", 4)[0] == 0
    page = (out / "index.html").read_text()
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert {"result.json", "index.html"} <= {path.name for path in out.iterdir()}
    found = json.loads((out / "result.json").read_text())
    assert all(is_estimate(item["score"]) for item in found["policies"])


@pytest.mark.slow
def test_study(cli, tmp_path):
    out = tmp_path / "study"
    arguments = ("study", "fig5", "--out", out, "--seeds", 1, "--demos", 1, "--sigmas", 0)
    assert cli(*arguments)[0] == 0
    rows = json.loads((out / "result.json").read_text())["rows"]
    assert {row["arm"] for row in rows if "n_demos" in row} == {"none", "tvlqr", "receding"}
    assert cli(*arguments)[0] == 1
