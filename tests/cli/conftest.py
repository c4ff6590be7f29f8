"""One small data set and one small run, made through the command line."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Generator
from pathlib import Path

import pytest

# Waiting threads of a busy machine would take most of the time, and one thread repeats bit for bit.
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1"}
QUICK = ["--steps", "30", "--batch-size", "16"]


# One interpreter for many commands: starting one takes longer than most of them.
SERVER = """
import contextlib, io, json, sys, traceback
from holdfast.cli import main
answers = sys.stdout
for line in sys.stdin:
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        try:
            status = main(json.loads(line))
        except SystemExit as stop:
            status = stop.code
        except Exception:
            status = "crashed"
            traceback.print_exc()
    print(json.dumps([status, said.getvalue()]), file=answers, flush=True)
"""


@pytest.fixture(scope="session")
def cli() -> Generator[Callable[..., tuple[int, str]], None, None]:
    """The command line as users run it, in an interpreter of its own: cli("train", path, …) → exit status, words.

    Words come on one line, since terminals break lines where they like.
    """
    command = [sys.executable, "-c", SERVER]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=ENVIRONMENT
    ) as process:

        def run(*arguments: object) -> tuple[int, str]:
            process.stdin.write(json.dumps([str(argument) for argument in arguments]) + "\n")
            process.stdin.flush()
            status, said = json.loads(process.stdout.readline())
            assert status != "crashed", said
            return status, " ".join(said.split())

        yield run
        process.stdin.close()


@pytest.fixture(scope="session")
def start() -> Callable[..., subprocess.Popen[str]]:
    """The command line in a process of its own."""

    def run(*arguments: object) -> subprocess.Popen[str]:
        code = "import sys; from holdfast.cli import main; sys.exit(main())"
        command = [sys.executable, "-c", code, *map(str, arguments)]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=ENVIRONMENT)

    return run


@pytest.fixture(scope="session")
def demos_folder(cli, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("cli") / "demos"
    status, said = cli("demonstrate", "scalar", "--episodes", 4, "--out", out)
    assert status == 0, said
    return out


@pytest.fixture(scope="session")
def run_folder(cli, demos_folder) -> Path:
    out = demos_folder.parent / "run"
    status, said = cli("train", demos_folder, "--out", out, *QUICK)
    assert status == 0, said
    return out
