"""The process that forks, and everything that doors find, made once."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from .doors import make

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def run():
    """run(task, arguments…, crash=n, after=seconds, two_steps=…) → exit status, printed text, number of changes."""
    paths = os.pathsep.join([str(ROOT), str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": paths, "MPLBACKEND": "agg"}
    command = [sys.executable, "-m", "tests.campaigns.zygote"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment, cwd=ROOT
    ) as process:

        def ask(task, *arguments, **options):
            asked = {"task": task, "arguments": [str(argument) for argument in arguments], **options}
            process.stdin.write(json.dumps(asked) + "\n")
            process.stdin.flush()
            return tuple(json.loads(process.stdout.readline()))

        yield ask
        process.stdin.close()


@pytest.fixture(scope="session")
def made(run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    make(run, folder)
    return folder
