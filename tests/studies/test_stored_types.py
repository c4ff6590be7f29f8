"""Stored results have the types that their classes name: a study refuses others before it computes with them."""

import copy
from dataclasses import asdict, dataclass
from typing import Any

import pytest

from holdfast.studies.engine.stored_types import check_fields, typed_row
from holdfast.studies.engine.trials import TrialResult
from holdfast.studies.imperfect_oracle.plan import OracleResult
from holdfast.studies.long_horizon.plan import LongFlight
from holdfast.studies.quadrotor.cells import Scored
from holdfast.studies.quadrotor.run_arms import ArmResult
from holdfast.studies.theorems.plan import TheoremRow, jobs_of, measure

NAN = float("nan")
SCORED = Scored(score=[1.0, NAN], distance=[0.0, 2.5], diverged=[False, True])
FLIGHT = LongFlight(air="gusts", block=3, score=[1.0], distance=[2.0], error=[[0.1]], peak=[[0.2]], left=[None, 4])
ARM = {**asdict(SCORED), "noise": "train", "train_seconds": 1.5}
TRIAL: dict[str, Any] = {
    "parameters": 3,
    "network_calls": 1,
    "plan_ms": 0.5,
    "deployment": "usual",
    "score": [1.0],
    "success": [NAN],
    "extra": {"lost": [0.0]},
    "train_seconds": 2.0,
}


def altered(result, **fields):
    """A copy with other fields, past every check of a constructor."""
    found = copy.copy(result)
    for name, value in fields.items():
        object.__setattr__(found, name, value)
    return found


@dataclass(frozen=True)
class Pair:
    both: tuple[float, ...]
    anything: Any


@pytest.mark.parametrize("sound", [SCORED, FLIGHT, OracleResult(flights=None), OracleResult(SCORED), Pair((1,), "x")])
def test_sound_results_pass(sound):
    check_fields(sound)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (altered(SCORED, score="high"), "score"),
        (altered(SCORED, score=3.0), "score"),
        (altered(SCORED, score=["1"]), "score"),
        (altered(SCORED, diverged=[0, 1]), "diverged"),
        (altered(FLIGHT, air="storm"), "air"),
        (altered(FLIGHT, block=2.5), "block"),
        (altered(FLIGHT, block=True), "block"),
        (altered(FLIGHT, error=[0.1]), "error"),
        (altered(FLIGHT, left=["never"]), "left"),
        (OracleResult(flights=altered(SCORED, distance=None)), "distance"),
        (altered(OracleResult(flights=SCORED), radius="1"), "radius"),
    ],
)
def test_wrong_types_are_named(wrong, says):
    with pytest.raises(TypeError, match=rf"^{says}: expected .*, got "):
        check_fields(wrong)


def test_rows_that_lack_a_field_of_their_own_keep_their_values():
    assert typed_row(ArmResult, "arm")(**ARM) == ARM
    assert typed_row(TrialResult, "trial")(**TRIAL) == TRIAL


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"noise": "loud"}, "noise: expected"),
        ({"train_seconds": "long"}, "train_seconds: expected float"),
        ({"more": 1}, "'more' is unknown"),
        ({"distance": {}}, "distance: expected"),
    ],
)
def test_wrong_rows_are_refused(change, says):
    with pytest.raises(TypeError, match=says):
        typed_row(ArmResult, "arm")(**ARM | change)


def test_rows_without_a_field_are_refused():
    with pytest.raises(TypeError, match="'extra' is missing"):
        typed_row(TrialResult, "trial")(**{name: value for name, value in TRIAL.items() if name != "extra"})
    with pytest.raises(TypeError, match="extra: expected"):
        typed_row(TrialResult, "trial")(**TRIAL | {"extra": {"lost": "none"}})


def test_measured_rows_of_the_theorems_have_their_types():
    job = jobs_of("plain", quick=True, count=60, seed=0)[0]
    for row in measure(job):
        assert typed_row(TheoremRow)(**row) == row
