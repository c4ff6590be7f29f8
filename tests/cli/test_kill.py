"""Real processes that are killed or interrupted in the middle of a training, and what is left of it."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from safetensors import safe_open

STEPS = 1000
OPTIONS = ["--steps", STEPS, "--batch-size", 16, "--save-every", 50]


def step_of(run):
    """The step of a run's stored state, −1 before there is one."""
    path = run / "train_state" / "state.safetensors"
    if not path.exists():
        return -1
    with safe_open(str(path), framework="pt") as file:
        return json.loads(file.metadata()["holdfast"])["step"]


def wait_for_step(run, process, step, seconds=90):
    deadline = time.monotonic() + seconds
    while step_of(run) < step:
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline, "no checkpoint came"
        time.sleep(0.005)


def weights(run):
    return [(run / name).read_bytes() for name in ("model.safetensors", "train_state/state.safetensors")]


@pytest.fixture(scope="module")
def uninterrupted(start, demos_folder, tmp_path_factory):
    run = tmp_path_factory.mktemp("kill") / "whole"
    process = start("train", demos_folder, "--out", run, *OPTIONS)
    printed, _ = process.communicate(timeout=120)
    assert process.returncode == 0, printed
    assert step_of(run) == STEPS
    return run


def test_kill_9_then_resume_gives_the_same_bits(start, demos_folder, tmp_path, uninterrupted):
    run = tmp_path / "killed"
    process = start("train", demos_folder, "--out", run, *OPTIONS)
    wait_for_step(run, process, 100)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=30)
    assert process.returncode == -signal.SIGKILL
    assert 100 <= step_of(run) < STEPS
    assert weights(run) != weights(uninterrupted)
    process = start("train", "--resume", run)
    printed, _ = process.communicate(timeout=120)
    assert process.returncode == 0, printed
    assert weights(run) == weights(uninterrupted)
    steps = [json.loads(line)["step"] for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert steps == list(range(50, STEPS + 1, 50))


@pytest.mark.usefixtures("no_nohup")
@pytest.mark.parametrize(("signum", "expected"), [("SIGINT", 130), ("SIGTERM", 143), ("SIGHUP", 129)])
def test_signals_save_say_how_to_go_on_and_have_their_status(start, demos_folder, tmp_path, signum, expected):
    run = tmp_path / "stopped"
    process = start("train", demos_folder, "--out", run, *OPTIONS)
    wait_for_step(run, process, 50)
    process.send_signal(getattr(signal, signum))
    printed, _ = process.communicate(timeout=60)
    assert process.returncode == expected, printed
    assert f"holdfast train --resume {run}" in " ".join(printed.split())
    assert f"stopped at step {step_of(run)};" in printed
    assert 50 <= step_of(run) < STEPS
    assert [path.name for path in tmp_path.iterdir()] == ["stopped"]


@pytest.mark.parametrize("both", [False, True])
def test_a_training_goes_on_when_the_reader_of_its_output_is_gone(demos_folder, tmp_path, both):
    code = "import sys; from holdfast.cli import main; sys.exit(main())"
    arguments = ["train", demos_folder, "--out", tmp_path / "run", "--steps", 60, "--batch-size", 4]
    process = subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT if both else subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert process.stdout.readline()
    process.stdout.close()
    said = "" if both else process.stderr.read()
    assert process.wait(timeout=120) == 0
    assert "Traceback" not in said
    assert both or said.count("the reader of the output is gone. The work goes on") == 1
    assert step_of(tmp_path / "run") == 60


def test_no_output_at_all_is_no_traceback(demos_folder, tmp_path):
    code = "import sys; sys.stdout = sys.stderr = None; from holdfast.cli import main; sys.exit(main())"
    arguments = ["train", demos_folder, "--out", tmp_path / "run", "--steps", 3]
    done = subprocess.run([sys.executable, "-c", code, *map(str, arguments)], check=False, timeout=120)
    assert done.returncode == 0
    assert step_of(tmp_path / "run") == 3


def test_a_second_training_is_refused_at_once_and_the_first_goes_on(cli, start, demos_folder, tmp_path):
    run = tmp_path / "run"
    process = start("train", demos_folder, "--out", run, *OPTIONS)
    wait_for_step(run, process, 50)
    for arguments in (
        ("train", demos_folder, "--out", run, "--overwrite"),
        ("train", demos_folder, "--out", run, "--seeds", 2, "--overwrite"),
        ("train", "--resume", run),
    ):
        status, said = cli(*arguments)
        assert (status, f"process {process.pid} on" in said) == (1, True), said
    assert process.poll() is None
    process.kill()
    process.communicate(timeout=30)
    assert cli("train", demos_folder, "--out", run, "--overwrite", "--steps", 3, "--batch-size", 4)[0] == 0
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
