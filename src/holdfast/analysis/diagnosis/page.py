"""The page of a diagnosis: the verdict in sentences, then the pictures that it rests on."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from ...report import Cell, Chart, Facts, Rule, Section, Series, Table, Text, draw_chart, write_page, write_result
from ..error_growth import Growth
from ..sensitivity import Sweep
from .examine import Diagnosis
from .findings import Finding, Judgement, Tone, judgement, verdict

__all__ = ["write_diagnosis"]

_WORDS: dict[Tone, str] = {"holds": "holds", "drifts": "drifts", "unclear": "–"}
_KNOBS = {
    "sigma_deploy": "noise of the smoothed policy σ [normalised observation]",
    "n_action_steps": "steps executed before the next plan",
    "gains": "factor of the gains",
    "delay": "delay of the actions [steps]",
    "sensor_noise": "std of sensor noise [half ranges]",
}


def write_diagnosis(folder: str | Path, found: Diagnosis, *, about: dict[str, Any] | None = None) -> list[Path]:
    """Write the pictures, `result.json` and `index.html`; returns their paths, the page last.

    Args:
        folder: Output directory, created if it is missing.
        found: The diagnosis.
        about: Further values for `result.json`.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    findings = verdict(found)
    charts = _charts(found)
    pictures = [draw_chart(folder / f"{name}.png", chart) for name, chart in charts.items()]
    result = write_result(folder / "result.json", {**(about or {}), **_values(found, findings)})
    page = write_page(
        folder / "index.html",
        title=f"{found.name} on {found.environment}: {_title(judgement(findings))}",
        lead=_lead(findings),
        sections=[_verdict(findings), *charts.values(), *_rest(found)],
    )
    return [*pictures, result, page]


def _title(word: Judgement) -> str:
    match word:
        case "holds":
            return "it holds"
        case "drifts":
            return "it drifts"
        case "fails":
            return "it fails, and not by drifting"
        case "unclear":
            return "the instruments cannot tell"


def _lead(findings: Sequence[Finding]) -> str:
    """The outcome, and what speaks loudest."""
    tone: Tone = "drifts" if judgement(findings) == "drifts" else "holds"
    telling = [part.claim for part in findings[1:] if part.tone == tone]
    return " ".join([findings[0].claim, *telling[:3]])


def _verdict(findings: Sequence[Finding]) -> Table:
    rows: list[list[Cell]] = [[_WORDS[part.tone], part.claim, part.evidence] for part in findings]
    return Table(
        "Verdict",
        ["speaks for", "finding", "evidence"],
        rows,
        "Each sentence follows from the numbers beside it by a fixed rule, and only where an interval supports it; "
        "a dash speaks for neither.",
        wrap=True,
    )


def _charts(found: Diagnosis) -> dict[str, Chart]:
    charts = dict[str, Chart]()
    if found.drift is not None:
        charts["drift"] = _growth("Distance to the expert", found.drift, found.dt, "distance [SI, mixed units]")
    if found.slip is not None:
        charts["slip"] = _growth(
            f"After one action that is {found.slip.size:.0%} off: distance to the undisturbed flight",
            found.slip.growth,
            found.dt,
            "distance [std of the states]",
        )
    if found.imitation is not None:
        charts["imitation"] = _imitation(found)
    if found.modulus is not None:
        charts["continuity"] = _continuity(found)
    if found.novelty is not None:
        charts["novelty"] = _novelty(found)
    return charts | {f"sweep_{item.name}": _sweep(item) for item in found.sweeps}


def _growth(heading: str, seen: Growth, dt: float, axis: str) -> Chart:
    times = [dt * step for step in range(seen.bands.shape[1])]
    low, middle, high = (_floats(band) for band in seen.bands)
    series = [Series("median of the flights", times, middle, low, high)]
    if bool(seen.fitted.isfinite().any()):
        series.append(Series(f"fitted: {seen.kind}", times, _floats(seen.fitted), colour="#e0592f", dashed=True))
    gone = int(seen.lost[-1]) + int(seen.saturated[-1])
    tail = f" {gone} of {len(seen.error)} flights were lost or saturated in the end." if gone else ""
    return Chart(
        heading, series, "time [s]", axis, f"{_sentence(seen)} Shaded: 10–90 % of the flights.{tail}", log_y=True
    )


def _sentence(seen: Growth) -> str:
    return seen.reason[:1].upper() + seen.reason[1:] + "."


def _imitation(found: Diagnosis) -> Chart:
    losses = found.imitation
    assert losses is not None
    at = _floats(losses.epsilons)
    series = [
        Series("L_marg,ε (worst step)", at, _floats(losses.worst)),
        Series("L_fin,ε (final state)", at, _floats(losses.final), dashed=True),
        Series("L_joint,ε (whole flight)", at, _floats(losses.joint), dashed=True),
    ]
    return Chart(
        "Share of flights that no coupling brings within ε of the expert's",
        series,
        "ε [SI, mixed units]",
        "loss",
        f"{losses.samples} flights from each of {losses.starts} starts, matched within a start; {losses.diverged} were "
        "lost. Finite samples can only raise these values.",
        log_x=True,
    )


def _continuity(found: Diagnosis) -> Chart:
    seen = found.modulus
    assert seen is not None
    at = _floats(seen.distances)
    series = [
        Series("seen: mean over pairs, at least", at, _floats(seen.lower), points=True),
        Series("seen: largest pair, at least", at, _floats(seen.largest), points=True),
    ]
    if seen.upper is not None:
        series.append(Series("proven: at most", at, _floats(seen.upper), dashed=True))
    rules = [] if not found.own_error else [Rule(found.own_error, "the policy's own error", upright=True)]
    return Chart(
        "How far apart plans from nearby observations are",
        series,
        "distance of the observations [normalised]",
        "total variation",
        f"Lower bounds with {seen.level:.0%} confidence from a classifier on {seen.draws} plans at each of "
        f"{seen.pairs} observations; the upper bound holds for the noise that the policy adds, where it adds any.",
        log_x=True,
        rules=rules,
    )


def _novelty(found: Diagnosis) -> Chart:
    seen = found.novelty
    assert seen is not None
    times = [found.dt * step for step in range(seen.visited.shape[1])]
    low, middle, high = (_floats(seen.visited.nanquantile(share, dim=0)) for share in (0.1, 0.5, 0.9))
    rules = [Rule(seen.unusual, "95 % of demonstrations"), Rule(seen.usual, "half of them")]
    return Chart(
        "Distance to the nearest demonstration",
        [Series("median of the flights", times, middle, low, high)],
        "time [s]",
        "distance [normalised observation]",
        "Of what the policy saw to the nearest demonstrated observation. The lines: the same, of demonstrations to one "
        "another. Flights that are over count no more.",
        log_y=True,
        rules=[rule for rule in rules if rule.at > 0],
    )


def _sweep(item: Sweep) -> Chart:
    means, lows, highs = ([getattr(part, end) for part in item.estimates] for end in ("mean", "low", "high"))
    return Chart(
        f"Score against {item.name}",
        [Series("score", item.values, means, lows, highs, points=True)],
        _KNOBS[item.name],
        "score",
        "The same starts throughout, nothing trained again; 95 % intervals over starts.",
        rules=[Rule(item.own, "as it is", upright=True)],
    )


def _rest(found: Diagnosis) -> list[Section]:
    sections: list[Section] = [
        Table("Outcome", ["", "estimate"], [[name, value] for name, value in found.estimates.items()])
    ]
    if found.loops is not None:
        rows: list[list[Cell]] = [["the system alone", *found.loops.open]]
        if found.loops.closed is not None:
            rows.append(["under the executed gains", *found.loops.closed])
        caption = (
            f"Norms of products of {found.loops.steps} Jacobians along the flights, to the power 1/{found.loops.steps}."
        )
        sections.append(Table("What a step does to an error", ["", "10 %", "median", "90 %"], rows, caption))
    if found.missing:
        sections.append(Facts("What could not be measured", dict(found.missing)))
    sections.append(
        Text(
            "How to read it",
            [
                "A distance that grows exponentially means that errors compound: the same training error costs more "
                "the longer the task. One that contracts, or stays at a level, means that they do not.",
                "Total variation near 1 between plans from observations as far apart as the policy is off means that "
                "its plans jump where it actually goes; noise on the observation bounds it.",
            ],
        )
    )
    return sections


def _values(found: Diagnosis, findings: Sequence[Finding]) -> dict[str, Any]:
    values: dict[str, Any] = {
        **found.estimates,
        "verdict": judgement(findings),
        "findings": [vars(part) for part in findings],
        "missing": dict(found.missing),
        "own_error": found.own_error,
        "episodes": len(found.evaluation.scores),
        "environment": found.environment,
    }
    for name, seen in (("drift", found.drift), ("slip", found.slip.growth if found.slip else None)):
        if seen is not None:
            values[name] = {"kind": seen.kind, "rate": seen.rate, "level": seen.level, "agreement": seen.agreement}
    if found.loops is not None:
        values["loops"] = vars(found.loops)
    if found.imitation is not None:
        values["l_marg"] = {"epsilons": found.imitation.epsilons, "loss": found.imitation.worst}
    if found.modulus is not None:
        seen = found.modulus
        values["tv"] = {"distances": seen.distances, "at_least": seen.lower, "at_most": seen.upper}
    if found.seams is not None and found.seams.jump is not None:
        values["seam_ratio"] = found.seams.jump.ratio
    values["sweeps"] = [
        {"name": item.name, "values": item.values, "scores": item.estimates, "own": item.own} for item in found.sweeps
    ]
    return values


def _floats(values: Tensor) -> list[float]:
    return [float(value) for value in values]
