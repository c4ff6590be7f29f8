"""Planted causes in data sets of others (../shared/cases, or HOLDFAST_CASES): the first cause is the planted one.

The policy is a quick regression on each set, so that nothing needs to be trained. Sets whose fault the environments
below forgive are named nevertheless, where the rates or the lags themselves differ.
"""

import os
import sys
from pathlib import Path

import pytest

from holdfast.analysis.diagnosis import diagnose
from holdfast.analysis.diagnosis.causes.clones import fit_clone
from holdfast.data import read

CASES = Path(os.environ.get("HOLDFAST_CASES", Path(__file__).resolve().parents[3] / "shared" / "cases"))
pytestmark = pytest.mark.skipif(not (CASES / "mybench.py").is_file(), reason="needs the planted causes")

ROWS = [
    ("base", "Arm-v0", None),
    ("push", "Push-v0", None),
    ("goal_right_order", "ArmGoal-v0", None),
    ("noisy", "Arm-v0", None),
    ("obs_late2", "Arm-v0", "lag"),
    ("push_k2", "Push-v0", "lag"),
    ("act_is_state", "Arm-v0", "reading"),
    ("calib", "Arm-v0", "offset"),
    ("idle", "Arm-v0", "idle"),
    ("swapped", "Arm-v0", "first observation"),
    ("push_novel", "PushNoVel-v0", "history"),
    ("base", "ArmFast-v0", "rates"),
    ("push", "PushWeak-v0", "clipping"),
]
CONFIRMED = {"reading", "offset", "idle", "first observation", "history"}


@pytest.mark.parametrize(("name", "environment", "planted"), ROWS, ids=[f"{row[0]}-{row[1]}" for row in ROWS])
def test_the_planted_cause_comes_first(name, environment, planted, monkeypatch):
    monkeypatch.syspath_prepend(str(CASES))
    shown = read(CASES / "data" / f"{name}.npz")
    found = diagnose(
        fit_clone(shown), f"gym:mybench:{environment}", starts=20, demonstrations=shown, sweeps=False, name=name
    )
    loud = [cause for cause in found.causes if cause.severity != "note"]
    if planted is None:
        assert loud == []
        return
    assert loud[0].check == planted
    if planted in CONFIRMED:
        assert loud[0].confirmed.answer == "yes", loud[0].confirmed


@pytest.fixture(autouse=True, scope="module")
def _forget_the_module():
    """Nothing of another's module stays for other tests."""
    yield
    sys.modules.pop("mybench", None)
