"""Damaged data sets are refused in words, or read as they were; elsewhere the format has no checksum."""

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FAULTS = ("traceback", "outside", "crash", "hang")


def trials(tmp_path, mutations, seed):
    command = [sys.executable, "-m", "tests.campaigns.mutations", "--mutations", str(mutations), "--seed", str(seed)]
    command += ["--out", str(tmp_path / "trials.json")]
    subprocess.run(command, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT / "src")}, check=True)
    return json.loads((tmp_path / "trials.json").read_text())


def check(found):
    assert not [trial for trial in found if trial["outcome"] in FAULTS]
    # sets of other programs have no checksums, and removing Holdfast's cannot be told from another program's edit
    silent = [trial for trial in found if trial["outcome"] == "silent" and "foreign" not in trial["set"]]
    assert not [trial for trial in silent if not any(word in trial["damage"] for word in ("'checksum'", "'holdfast'"))]
    assert Counter(trial["outcome"] for trial in found)["refused"] > len(found) / 3


def test_a_small_part(tmp_path):
    check(trials(tmp_path, 144, 0))


@pytest.mark.campaign
def test_the_campaign(tmp_path):
    check(trials(tmp_path, 2400, 1))
