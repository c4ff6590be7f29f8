"""`train --seeds`: several runs as one program, each of which is a run like any other."""

import json
import shutil
import signal
import time

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from holdfast.cli.train_seeds import seed_threads
from holdfast.learn import load_recipe

QUICK = ["--steps", "30", "--batch-size", "16"]
LONG = ["--steps", "300", "--batch-size", "16", "--save-every", "30", "--seeds", "2"]


def header_of(run):
    with safe_open(str(run / "train_state" / "state.safetensors"), framework="pt") as file:
        return json.loads(file.metadata()["holdfast"])


def step_of(run):
    return header_of(run)["step"] if (run / "train_state" / "state.safetensors").exists() else -1


def weights(run):
    return [(run / name).read_bytes() for name in ("model.safetensors", "train_state/state.safetensors")]


@pytest.fixture(scope="module")
def trained(cli, demos_folder, tmp_path_factory):
    """Seeds 4, 5 and 6, and what was said of them."""
    out = tmp_path_factory.mktemp("seeds") / "runs"
    status, said = cli("train", demos_folder, "--out", out, "--seed", 4, "--seeds", 3, *QUICK)
    assert status == 0, said
    return out, said


def test_each_seed_is_a_run_of_its_own(cli, demos_folder, trained, tmp_path):
    out, said = trained
    assert sorted(path.name for path in out.iterdir()) == ["seed4", "seed5", "seed6"]
    assert [load_recipe(out / f"seed{seed}").seed for seed in (4, 5, 6)] == [4, 5, 6]
    assert "3 seeds of 4 episodes" in said
    assert f"next: holdfast evaluate {out}/seed4 --episodes 50" in said
    assert cli("train", demos_folder, "--out", tmp_path / "alone", "--seed", 5, *QUICK)[0] == 0
    found, expected = (load_file(path / "model.safetensors") for path in (out / "seed5", tmp_path / "alone"))
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, atol=1e-4, rtol=0)
    assert load_recipe(out / "seed5") == load_recipe(tmp_path / "alone")


def test_the_verbs_take_a_seed_as_any_run(cli, trained, tmp_path):
    run = trained[0] / "seed5"
    assert cli("evaluate", run, "--episodes", 2, "--out", tmp_path / "evaluation")[0] == 0
    status, said = cli("diagnose", run, "--starts", 10, "--steps", 20, "--no-sweeps", "--out", tmp_path / "diagnosis")
    assert status == 0, said
    before = weights(run)
    status, said = cli("train", "--resume", run)
    assert status == 0, said
    assert weights(run) == before


def test_a_finished_folder_resumes_to_itself(cli, trained):
    before = [weights(trained[0] / f"seed{seed}") for seed in (4, 5, 6)]
    status, said = cli("train", "--resume", trained[0])
    assert status == 0, said
    assert [weights(trained[0] / f"seed{seed}") for seed in (4, 5, 6)] == before


def test_runs_are_replaced_only_where_asked(cli, demos_folder, trained, tmp_path):
    out = tmp_path / "runs"
    shutil.copytree(trained[0], out)
    again = ("train", demos_folder, "--out", out, "--seed", 5, "--seeds", 2, "--steps", 3, "--batch-size", 4)
    status, said = cli(*again)
    assert status == 1
    assert "exists already. Choose another --out, or give --overwrite to replace all runs" in said
    assert step_of(out / "seed5") == 30
    status, said = cli(*again, "--overwrite")
    assert status == 0, said
    # a seed of before, beside the new ones, would go on with them
    assert sorted(path.name for path in out.iterdir()) == ["seed5", "seed6"]
    assert step_of(out / "seed5") == 3


def test_one_run_replaces_several_seeds_only_where_asked_and_as_a_whole(cli, demos_folder, trained, tmp_path):
    out = tmp_path / "runs"
    shutil.copytree(trained[0], out)
    (out / "seed4" / "notes.txt").write_text("mine")
    again = ("train", demos_folder, "--out", out, "--steps", 3, "--batch-size", 4)
    status, said = cli(*again)
    assert status == 1
    assert "holds the runs of 3 seeds. Choose another folder, or replace all of them with --overwrite" in said
    assert step_of(out / "seed5") == 30
    # what is refused after the data were read replaces nothing either
    assert cli(*again, "--demos", 999, "--overwrite")[0] == 1
    assert step_of(out / "seed5") == 30
    status, said = cli(*again, "--overwrite")
    assert status == 0, said
    assert step_of(out) == 3
    assert [path.relative_to(out).as_posix() for path in out.rglob("seed*/*")] == ["seed4/notes.txt"]
    status, said = cli(*again, "--seeds", 2, "--overwrite")
    assert status == 0, said
    assert not (out / "recipe.json").exists()
    assert step_of(out / "seed1") == 3


def test_what_is_refused_replaces_nothing(cli, demos_folder, trained, tmp_path):
    out = tmp_path / "runs"
    shutil.copytree(trained[0], out)
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    status, said = cli("train", demos_folder, "--out", out, "--seed", 5, "--seeds", 100_000, *QUICK, "--overwrite")
    assert status == 1
    assert "100000 variants need" in said
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == before


def test_what_is_no_folder_of_runs_is_not_overwritten(cli, demos_folder, tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    status, said = cli("train", demos_folder, "--out", tmp_path, "--seeds", 2, "--overwrite", *QUICK)
    assert status == 1
    assert "is not a run folder" in said
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--seeds", "0"], "--seeds of at least 1, got 0"),
        (["--seeds", "2", "--family", "bet", "--codec", "actions"], "remove --seeds, and give --seed 0 to 1"),
        (["--seeds", "2", "--demos", "9"], "n_demos from 1 to 4"),
        (["--seeds", "2", "--threads", "0"], "at least 1 thread, got 0"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(cli, demos_folder, tmp_path, arguments, message):
    status, said = cli("train", demos_folder, "--out", tmp_path / "new", *QUICK, *arguments)
    assert status == 1
    assert message in said
    assert "Traceback" not in said
    assert not (tmp_path / "new").exists()


def test_a_folder_of_seeds_goes_on_as_it_was(cli, trained):
    status, said = cli("train", "--resume", trained[0], "--seeds", 3)
    assert status == 1
    assert "Remove --seeds" in said


def test_one_that_diverged_is_named_at_the_end(cli, demos_folder, tmp_path):
    arguments = ["--seeds", 2, "--steps", 20, "--batch-size", 4, "--learning-rate", 1e30]
    status, said = cli("train", demos_folder, "--out", tmp_path / "runs", *arguments)
    assert status == 1
    for seed in (0, 1):
        assert f"seed{seed}: the loss of update" in said
        assert step_of(tmp_path / "runs" / f"seed{seed}") == 0
    assert "next:" not in said


def wait_for_step(run, process, step, seconds=120):
    deadline = time.monotonic() + seconds
    while step_of(run) < step:
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline, "no checkpoint came"
        time.sleep(0.005)


def test_killed_and_interrupted_seeds_end_on_the_same_bits(cli, start, demos_folder, tmp_path):
    whole, run = tmp_path / "whole", tmp_path / "run"
    status, said = cli("train", demos_folder, "--out", whole, *LONG)
    assert status == 0, said
    process = start("train", demos_folder, "--out", run, *LONG)
    wait_for_step(run / "seed0", process, 30)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    assert 30 <= step_of(run / "seed0") < 300
    process = start("train", "--resume", run)
    wait_for_step(run / "seed1", process, 120)
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 130, said
    stopped = step_of(run / "seed0")
    assert stopped == step_of(run / "seed1") < 300
    assert f"stopped at step {stopped}; continue with: holdfast train --resume {run}" in " ".join(said.split())
    status, said = cli("train", "--resume", run)
    assert status == 0, said
    for seed in ("seed0", "seed1"):
        assert weights(run / seed) == weights(whole / seed)


def test_seeds_have_a_thread_each_as_far_as_there_are_cores(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr("os.sched_getaffinity", lambda process: set(range(4)), raising=False)
    assert [seed_threads(count, device="cpu") for count in (2, 4, 9)] == [2, 4, 4]
    assert seed_threads(9, device="cuda") is None
    assert seed_threads(1, device="cpu") is None
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert seed_threads(9, device="cpu") is None


def test_too_many_seeds_are_refused_before_their_recipes_are_made(cli, demos_folder, tmp_path, monkeypatch):
    made = []
    monkeypatch.setattr("holdfast.cli.train_seeds.seed_folder", lambda *given: made.append(given))
    status, said = cli("train", demos_folder, "--out", tmp_path / "runs", "--seeds", 1_000_000, *QUICK)
    assert (status, made) == (1, [])
    assert "1000000 variants need" in said
