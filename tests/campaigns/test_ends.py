"""Verbs and worker pools that are ended by signals, as processes of their own: nothing half-written, nobody left.

A small part runs with the other tests; all of it with `pytest -m campaign tests/campaigns`.
"""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from holdfast.atomic import is_leftover

from .pooled import CELLS

ROOT = Path(__file__).resolve().parents[2]
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
# within these, workers notice that their parent is gone
SECONDS = 60
VERBS = {
    "evaluate": ("evaluate", "{made}/old", "--episodes", "2", "--out", "{here}/out"),
    "inspect": ("inspect", "{made}/demos", "--out", "{here}/out"),
    "diagnose": ("diagnose", "{made}/old", "--starts", "16", "--out", "{here}/out"),
    "demo": ("demo", "--steps", "4", "--starts", "2", "--out", "{here}/out"),
}


def started(*command):
    paths = os.pathsep.join([str(ROOT), str(ROOT / "src")])
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": paths, "MPLBACKEND": "agg"}
    return subprocess.Popen(
        [sys.executable, "-m", *command],
        cwd=ROOT,
        env=environment,
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def members(session):
    """Processes of a session that run."""
    found = []
    for place in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = place.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == session and fields[0] != "Z":
            found.append(int(place.parent.name))
    return found


def nobody_left(session):
    end = time.monotonic() + SECONDS
    while (left := members(session)) and time.monotonic() < end:
        time.sleep(0.05)
    return not left


def ended(process, *, after, by):
    """End a process some time after it has begun; its exit status."""
    try:
        process.wait(timeout=after)
    except subprocess.TimeoutExpired:
        process.send_signal(by)
    said = process.communicate(timeout=SECONDS)[0]
    status = process.returncode
    # Ctrl-C while the interpreter itself is starting, before any line of the program runs
    early = by == signal.SIGINT and status == 1 and "KeyboardInterrupt" in said and "/holdfast/cli" not in said
    assert early or status in (0, -by, 128 + by), (status, said)
    assert nobody_left(process.pid)
    return status


def leftovers(folder):
    return [str(path) for path in folder.rglob("*") if is_leftover(path.name)]


def pool(folder, rng, by):
    process = started("tests.campaigns.pooled", str(folder))
    assert process.stdout.readline() == "begun\n"
    ended(process, after=rng.uniform(0, 12), by=by)
    for place in folder.glob("jobs/cell-*.json"):
        assert json.loads(place.read_text())[0]["numbers"][-1] == 19_999
    again = started("tests.campaigns.pooled", str(folder))
    assert again.communicate(timeout=SECONDS)[0].endswith("finished\n")
    assert nobody_left(again.pid)
    assert len(list((folder / "jobs").iterdir())) == CELLS, list((folder / "jobs").iterdir())


def whole(out):
    """Whether a folder of results is whole, or not there."""
    if not out.exists():
        return True
    json.loads((out / "result.json").read_text())
    return all((out / name).stat().st_size for name in os.listdir(out) if not (out / name).is_dir())


def verb(name, made, here, rng, by, seconds):
    command = [part.format(made=made, here=here) for part in VERBS[name]]
    ended(started("holdfast", *command), after=rng.uniform(0, seconds), by=by)
    assert whole(here / "out")
    again = started("holdfast", *command, *(["--overwrite"] if (here / "out").exists() else []))
    said = again.communicate(timeout=10 * SECONDS)[0]
    assert again.returncode == 0, said
    assert nobody_left(again.pid)
    assert whole(here / "out")
    assert os.listdir(here) == ["out"]
    assert not leftovers(here)


def test_a_pool(tmp_path):
    pool(tmp_path / "study", random.Random("pool"), signal.SIGKILL)


@pytest.mark.campaign
@pytest.mark.parametrize("by", SIGNALS)
@pytest.mark.parametrize("trial", range(6))
def test_many_pools(tmp_path, by, trial):
    pool(tmp_path / "study", random.Random(f"pool {by} {trial}"), by)


@pytest.mark.campaign
@pytest.mark.parametrize("by", SIGNALS)
@pytest.mark.parametrize("trial", range(3))
@pytest.mark.parametrize("name", VERBS)
def test_verbs(made, tmp_path, name, by, trial):
    seconds = {"inspect": 12, "evaluate": 6, "diagnose": 30, "demo": 40}[name]
    verb(name, made, tmp_path, random.Random(f"{name} {by} {trial}"), by, seconds)
