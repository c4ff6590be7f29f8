"""Values of a diagnosis for `result.json`."""

from collections.abc import Sequence
from typing import Any

from ..error_growth import Growth
from .causes import Cause
from .examine import Diagnosis
from .findings import Finding, judgement


def values_of(found: Diagnosis, findings: Sequence[Finding]) -> dict[str, Any]:
    """Every measurement of a diagnosis, and its verdict, by name."""
    values: dict[str, Any] = {
        **found.estimates,
        "verdict": judgement(findings),
        "causes": [_cause(part) for part in found.causes],
        "findings": [vars(part) for part in findings],
        "missing": dict(found.missing),
        "own_error": found.own_error,
        "episodes": len(found.evaluation.scores),
        "environment": found.environment,
    }
    if found.drift is not None:
        values["drift"] = _growth(found.drift)
    if found.perturbation is not None:
        values["perturbation"] = _growth(found.perturbation.growth)
    if found.loops is not None:
        values["loops"] = vars(found.loops)
    if found.imitation is not None:
        values["l_marg"] = {"epsilons": found.imitation.epsilons, "loss": found.imitation.worst}
    if found.modulus is not None:
        measured = found.modulus
        values["tv"] = {"distances": measured.distances, "at_least": measured.lower, "at_most": measured.upper}
    if found.seams is not None and found.seams.within.jump is not None:
        values["seam_ratio"] = found.seams.within.jump.ratio
    values["sweeps"] = [
        {"name": item.name, "values": item.values, "scores": item.estimates, "current": item.current}
        for item in found.sweeps
    ]
    return values


def _growth(measured: Growth) -> dict[str, Any]:
    return {name: getattr(measured, name) for name in ("kind", "rate", "level", "agreement")}


def _cause(found: Cause) -> dict[str, Any]:
    return {**vars(found), "confirmed": vars(found.confirmed)}
