"""Report of a diagnosis: the verdict in sentences, followed by the figures that support it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from ...report import Cell, Chart, Facts, Rule, Section, Series, Table, Text, draw_chart, write_page, write_result
from ..error_growth import Growth
from ..sensitivity import Sweep
from .causes import Cause
from .examine import Diagnosis
from .findings import Finding, Judgement, Tone, judgement, verdict
from .loops import LoopRates
from .values import values_of

_WORDS: dict[Tone, str] = {"holds": "holds", "drifts": "drifts", "unclear": "–"}
_SETTINGS = {
    "sigma_deploy": "noise of the smoothed policy, σ [normalized observation]",
    "n_action_steps": "steps executed before the next plan",
    "gains": "factor of the gains",
    "delay": "transport delay, from choosing an action to executing it [steps]",
    "inference_delay": "inference delay, the old plan runs on (naive) [steps]",
    "inference_delay_guided": "inference delay, the new plan guided toward the old one [steps]",
    "inference_delay_conditioned": "inference delay, the new plan conditioned on the old one [steps]",
    "sensor_noise": "std of sensor noise [half ranges]",
}


def write_diagnosis(folder: str | Path, found: Diagnosis, *, about: dict[str, Any] | None = None) -> list[Path]:
    """Write the figures, `result.json` and `index.html`; return their paths, the page last.

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
    result = write_result(folder / "result.json", {**(about or {}), **values_of(found, findings)})
    page = write_page(
        folder / "index.html",
        title=f"{found.name} on {found.environment}: {_title(judgement(findings))}",
        lead=_lead(findings),
        sections=[*_causes(found), _verdict(findings), *charts.values(), *_rest(found)],
    )
    return [*pictures, result, page]


def _title(word: Judgement) -> str:
    match word:
        case "holds":
            return "it holds"
        case "drifts":
            return "it drifts"
        case "fails":
            return "it fails without drifting"
        case "unclear":
            return "inconclusive"


def _lead(findings: Sequence[Finding]) -> str:
    """The outcome, followed by at most three findings that support it."""
    tone: Tone = "drifts" if judgement(findings) == "drifts" else "holds"
    telling = [part.claim for part in findings[1:] if part.tone == tone]
    return " ".join([findings[0].claim, *telling[:3]])


def _cause(item: Cause) -> list[Cell]:
    tested = f"Confirmed: {item.confirmed.answer}. {item.confirmed.test}"
    return [f"{item.check} ({item.severity})", f"{item.what} {item.effect}", f"{item.remedy} {tested}"]


def _causes(found: Diagnosis) -> list[Section]:
    rows = [_cause(item) for item in found.causes]
    if not rows:
        return [Text("Causes", ("No cause was found in the data, in the environment or in the rollouts.",))]
    return [
        Table(
            "Causes",
            ["check", "cause", "what to do, and the test"],
            rows,
            "The cause that explains most comes first. A cause is confirmed if rollouts in which it is undone score "
            "higher by more than chance; without such a test it is plausible only.",
            wrap=True,
        )
    ]


def _verdict(findings: Sequence[Finding]) -> Table:
    rows: list[list[Cell]] = [[_WORDS[part.tone], part.claim, part.evidence] for part in findings]
    return Table(
        "Verdict",
        ["supports", "finding", "evidence"],
        rows,
        "Each sentence follows from the numbers next to it by a fixed rule, and supports a side only if a confidence "
        "interval does; a dash supports neither.",
        wrap=True,
    )


def _charts(found: Diagnosis) -> dict[str, Chart]:
    charts = dict[str, Chart]()
    if found.drift is not None:
        charts["drift"] = _growth("Distance to the expert", found.drift, found.dt, "distance [SI, mixed units]")
    if found.perturbation is not None:
        charts["perturbation"] = _growth(
            f"Distance after one action perturbed by {found.perturbation.size:.0%} of half its range",
            found.perturbation.growth,
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


def _growth(heading: str, measured: Growth, dt: float, axis: str) -> Chart:
    times = [dt * step for step in range(measured.bands.shape[1])]
    low, middle, high = (_floats(band) for band in measured.bands)
    series = [Series("median of the rollouts", times, middle, low, high)]
    if bool(measured.fitted.isfinite().any()):
        series.append(
            Series(f"fitted: {measured.kind}", times, _floats(measured.fitted), colour="#e0592f", dashed=True)
        )
    gone = int(measured.lost[-1]) + int(measured.saturated[-1])
    tail = f" {gone} of {len(measured.error)} rollouts were lost or saturated at the end." if gone else ""
    return Chart(
        heading, series, "time [s]", axis, f"{_sentence(measured)} Shaded: 10–90 % of the rollouts.{tail}", log_y=True
    )


def _sentence(measured: Growth) -> str:
    return measured.reason[:1].upper() + measured.reason[1:] + "."


def _imitation(found: Diagnosis) -> Chart:
    losses = found.imitation
    assert losses is not None
    at = _floats(losses.epsilons)
    series = [
        Series("L_marg,ε (worst step)", at, _floats(losses.worst)),
        Series("L_fin,ε (final state)", at, _floats(losses.final), dashed=True),
        Series("L_joint,ε (whole trajectory)", at, _floats(losses.joint), dashed=True),
    ]
    return Chart(
        "Share of rollouts that no coupling brings within ε of the expert's",
        series,
        "ε [SI, mixed units]",
        "loss",
        f"{losses.samples} rollouts from each of {losses.starts} starts, matched within a start; {losses.diverged} "
        "were lost. The finite number of rollouts can only increase these values.",
        log_x=True,
    )


def _continuity(found: Diagnosis) -> Chart:
    measured = found.modulus
    assert measured is not None
    at = _floats(measured.distances)
    series = [
        Series("mean over pairs, lower bound", at, _floats(measured.lower), points=True),
        Series("largest pair, lower bound", at, _floats(measured.largest), points=True),
    ]
    if measured.upper is not None:
        series.append(Series("upper bound", at, _floats(measured.upper), dashed=True))
    rules = [] if not found.own_error else [Rule(found.own_error, "the policy's own error", upright=True)]
    return Chart(
        "Total variation between plans from nearby observations",
        series,
        "distance of the observations [normalized]",
        "total variation",
        f"Lower bounds with {measured.level:.0%} confidence from a classifier on {measured.draws} plans at each of "
        f"{measured.pairs} observations. The upper bound follows from the noise that the policy adds.",
        log_x=True,
        rules=rules,
    )


def _novelty(found: Diagnosis) -> Chart:
    measured = found.novelty
    assert measured is not None
    times = [found.dt * step for step in range(measured.distances.shape[1])]
    low, middle, high = (_floats(measured.distances.nanquantile(share, dim=0)) for share in (0.1, 0.5, 0.9))
    rules = [
        Rule(measured.demonstrated_95, "95 % of demonstrations"),
        Rule(measured.demonstrated_median, "median of demonstrations"),
    ]
    return Chart(
        "Distance to the nearest demonstration",
        [Series("median of the rollouts", times, middle, low, high)],
        "time [s]",
        "distance [normalized observation]",
        "Distance of the policy's observations to the nearest demonstrated observation. Lines: the same distance "
        "between demonstrations. Only rollouts still running are included.",
        log_y=True,
        rules=[rule for rule in rules if rule.at > 0],
    )


def _sweep(item: Sweep) -> Chart:
    means, lows, highs = ([getattr(part, end) for part in item.estimates] for end in ("mean", "low", "high"))
    return Chart(
        f"Score against {item.name}",
        [Series("score", item.values, means, lows, highs, points=True)],
        _SETTINGS[item.name],
        "score",
        "Same starts for all values, without retraining; 95 % intervals over starts.",
        rules=[Rule(item.current, "present value", upright=True)],
    )


def _rest(found: Diagnosis) -> list[Section]:
    sections: list[Section] = [
        Table("Outcome", ["", "estimate"], [[name, value] for name, value in found.estimates.items()])
    ]
    if found.loops is not None:
        sections.append(_loops(found.loops))
    if found.missing:
        sections.append(Facts("Diagnostics that do not apply", dict(found.missing)))
    return [*sections, Text("How to read it, and what to do", READING)]


def _loops(found: LoopRates) -> Table:
    rows: list[list[Cell]] = [["the system alone", *found.open]]
    if found.closed is not None:
        rows.append(["with the executed gains", *found.closed])
    caption = f"Norms of products of {found.steps} Jacobians along the rollouts, to the power 1/{found.steps}."
    return Table("Factor by which an error changes per step", ["", "10 %", "median", "90 %"], rows, caption)


READING = (
    "If a distance grows exponentially, errors compound: the cost of a given training error increases with "
    "the length of the task. Contraction or a constant level means that they do not. Against compounding "
    "errors, clone feedback gains (train --codec affine) and train with observation noise (--sigma-train).",
    "A total variation near 1 between plans whose observations differ by the policy's own error means that "
    "plans change abruptly within the states that the policy visits. Observation noise bounds it; train "
    "with the same noise (--sigma-train) instead of only adding it at deployment.",
    "A policy that fails without drifting has wrong plans near the demonstrations: train longer, with more "
    "demonstrations, or with another family of models.",
)


def _floats(values: Tensor) -> list[float]:
    return [float(value) for value in values]
