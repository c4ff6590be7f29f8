"""From numbers to sentences: what holds, what drifts, and what the instruments cannot tell.

Every sentence follows from a number that stands beside it, by a rule that is written here and nowhere else. A rule
speaks only where an interval, or a bound with confidence, supports it; otherwise it says that it cannot tell.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, assert_never

from ...evaluation.intervals import Estimate
from ..error_growth import Growth
from ..sensitivity import Sweep
from .examine import Diagnosis

__all__ = ["Finding", "Judgement", "Tone", "judgement", "verdict"]

Tone = Literal["holds", "drifts", "unclear"]
Judgement = Literal["holds", "drifts", "fails", "unclear"]

WORTH = 0.02
"""Share of the score below which a better setting is not worth a sentence."""
SOLVED, EARNED = 0.5, 0.8
"""What counts as holding: the share of solved flights, and of the expert's reward."""

_HALF_TV = 2 * 0.6744897501960817
"""‖δ‖/σ at which two noised observations are ½ apart in total variation: 2 Φ⁻¹(¾)."""


@dataclass(frozen=True)
class Finding:
    """One sentence of the verdict.

    Attributes:
        claim: What is so.
        evidence: The numbers that say so.
        tone: Whether it speaks for a policy that holds, for one that drifts, or for neither.
        of_flights: Whether it speaks of where flights went, as opposed to whether they solved the task, or of plans.
    """

    claim: str
    evidence: str
    tone: Tone
    of_flights: bool = False


def verdict(found: Diagnosis) -> list[Finding]:
    """The findings of an examination, the outcome first.

    The order is that in which one asks: does it work, do errors grow, is it the system or the plans, what helps.
    """
    parts = [_outcome(found), _drift(found), _slip(found), _loops(found), _continuity(found), _novelty(found)]
    parts += [_seams(found), *(_knob(found, item) for item in found.sweeps)]
    return [part for part in parts if part is not None]


def judgement(findings: Sequence[Finding]) -> Judgement:
    """One word for all.

    What is measured of flights outweighs what is measured of plans: a policy may be discontinuous and yet hold. A
    policy that fails drifts only where flights run away, errors grow, or it ends where no demonstration was; it may as
    well fail close to the demonstrations.
    """
    outcome, rest = findings[0], findings[1:]
    drifting = any(part.tone == "drifts" and part.of_flights for part in findings)
    match outcome.tone:
        case "holds":
            return "holds"
        case "drifts":
            return "drifts" if drifting else "fails"
        case "unclear":
            return "drifts" if drifting and not any(part.tone == "holds" for part in rest) else "unclear"
        case _:
            assert_never(outcome.tone)


def _outcome(found: Diagnosis) -> Finding:
    lost, score = found.estimates["lost"], found.estimates["score"]
    count = len(found.evaluation.scores)
    rest = "".join(f", {name} {found.estimates[name]}" for name in ("success", "distance") if name in found.estimates)
    evidence = f"{count} flights: score {score}{rest}, lost {lost}"
    if lost.low > 0.05:
        return Finding(f"{lost.mean:.0%} of the flights run away.", evidence, "drifts", of_flights=True)
    if "success" in found.estimates:
        share = found.estimates["success"]
        claim = f"The task is solved in {share.mean:.0%} of the flights."
        return Finding(claim, evidence, _beside(share, SOLVED))
    if "distance" in found.estimates:
        claim = f"The policy earns {score.mean:.2f} of what the expert earns from the same starts."
        return Finding(claim, evidence, _beside(score, EARNED))
    return Finding(f"The mean score is {score.mean:.3g}; nothing here says what a good one is.", evidence, "unclear")


def _beside(estimate: Estimate, bar: float) -> Tone:
    """Whether an interval lies above a bar, below it, or across."""
    return "holds" if estimate.low > bar else "drifts" if estimate.high < bar else "unclear"


def _drift(found: Diagnosis) -> Finding | None:
    return None if found.drift is None else _growing("The distance to the expert", found.drift)


def _slip(found: Diagnosis) -> Finding | None:
    if found.slip is None:
        return None
    size = f"After one action that is {found.slip.size:.0%} of its range off, the distance to the undisturbed flight"
    return _growing(size, found.slip.growth)


def _growing(what: str, seen: Growth) -> Finding:
    evidence = f"{seen.reason}; {seen.agreement:.0%} of resamples agree"
    match seen.kind:
        case "contracting" if seen.rate is not None:
            return Finding(f"{what} shrinks {seen.rate.mean:.3f}× a step.", evidence, "holds", of_flights=True)
        case "exponential" if seen.rate is not None:
            return Finding(f"{what} grows {seen.rate.mean:.3f}× a step.", evidence, "drifts", of_flights=True)
        case "linear" if seen.rate is not None:
            return Finding(
                f"{what} grows by a constant {seen.rate.mean:.3g} a step.", evidence, "drifts", of_flights=True
            )
        case "bounded" if seen.level is not None:
            return Finding(f"{what} stays at a level of {seen.level.mean:.3g}.", evidence, "holds", of_flights=True)
        case "floor":
            return Finding(f"{what} is nothing but rounding.", evidence, "holds", of_flights=True)
        case _:
            return Finding(f"{what} shows no clear law.", evidence, "unclear")


def _loops(found: Diagnosis) -> Finding | None:
    if found.loops is None:
        return None
    loose, closed, steps = found.loops.open, found.loops.closed, found.loops.steps
    evidence = f"medians over windows of {steps} steps; open 10–90 %: {loose[0]:.3f}–{loose[2]:.3f}"
    if closed is None:
        if loose[1] <= 1:
            return Finding(f"Between plans the system itself shrinks errors {loose[1]:.3f}× a step.", evidence, "holds")
        claim = f"Between plans nothing holds: the system carries an error {loose[1]:.3f}× a step, without gains."
        return Finding(claim, evidence, "drifts")
    evidence += f"; closed: {closed[0]:.3f}–{closed[2]:.3f}"
    claim = f"The system alone carries an error {loose[1]:.3f}× a step; under the planned gains it is {closed[1]:.3f}×."
    return Finding(claim, evidence, "holds" if closed[2] < 1 else "drifts" if closed[1] > 1 else "unclear")


def _continuity(found: Diagnosis) -> Finding | None:
    modulus, error = found.modulus, found.own_error
    if modulus is None or error is None or found.sigma is None:
        return None
    needed = error / _HALF_TV
    if found.sigma > 0:
        reached = math.erf(error / (math.sqrt(8) * found.sigma))
        evidence = f"own error {error:.3g} in normalised observations, σ = {found.sigma:g}: TV ≤ {reached:.2f}"
        if reached <= 0.5:
            return Finding("The policy is TV-continuous at the scale of its own error.", evidence, "holds")
        claim = f"The noise is too small for the policy's own error: σ = {needed:.2g} would bound TV by ½"
        return Finding(f"{claim}{_cost(found, needed)}.", evidence, "unclear")
    place = int((modulus.distances.log() - math.log(max(error, 1e-9))).abs().argmin())
    seen = float(modulus.lower[place])
    at = float(modulus.distances[place])
    evidence = (
        f"own error {error:.3g} in normalised observations; plans from observations {at:g} apart differ by TV ≥ "
        f"{seen:.2f} on average, with {modulus.level:.0%} confidence"
    )
    if seen > 0.5:
        claim = f"The policy is not TV-continuous at the scale of its own error; σ = {needed:.2g} would make it so"
        claim += f"{_cost(found, needed)}."
        return Finding(claim, evidence, "drifts")
    return Finding(
        "Nothing bounds how fast plans change with the observation (σ = 0); at the scale of the policy's own error no "
        "jump was seen.",
        evidence,
        "unclear",
    )


def _cost(found: Diagnosis, sigma: float) -> str:
    """What about that much noise does to the score, where a value within a factor of two was tried."""
    for item in found.sweeps:
        if item.name == "sigma_deploy":
            tried = [index for index, value in enumerate(item.values) if value > 0 and value != item.own]
            nearest = min(tried, key=lambda index: abs(math.log(item.values[index] / sigma)))
            value, change = item.values[nearest], item.differences[nearest]
            if 0.5 <= value / sigma <= 2:
                return f" (σ = {value:g}, put in without training, changes the score by {change})"
    return ""


def _novelty(found: Diagnosis) -> Finding | None:
    if found.novelty is None:
        return None
    outside = found.novelty.outside
    final = float(outside[-max(len(outside) // 10, 1) :].mean())
    evidence = (
        f"nearest demonstrated observation, normalised: another demonstration's is {found.novelty.usual:.3g} away "
        f"(median; 95 %: {found.novelty.unusual:.3g})"
    )
    claim = f"At the end {final:.0%} of the flights are where no demonstration was (5 % of demonstrations are)."
    tone: Tone = "drifts" if final > 0.5 else "holds" if final < 0.15 else "unclear"
    return Finding(claim, evidence, tone, of_flights=True)


def _seams(found: Diagnosis) -> Finding | None:
    if found.seams is None or found.seams.jump is None:
        return None
    ratio = found.seams.jump.ratio
    evidence = f"change of the action across seams over that inside chunks: {ratio}"
    if ratio.low > 1.5:
        return Finding(
            f"Plans do not join: actions jump {ratio.mean:.1f}× as far between plans as within.", evidence, "drifts"
        )
    if ratio.high < 1.5:
        return Finding("Plans join about as smoothly as they run.", evidence, "holds")
    return Finding("Whether plans join smoothly cannot be told.", evidence, "unclear")


def _knob(found: Diagnosis, item: Sweep) -> Finding | None:
    """The best value, where it is surely better; else, of delay and sensors, what is surely lost."""
    best = item.differences[item.best]
    own = item.estimates[item.values.index(item.own)].mean
    # where 1 is all that there is to earn, else in units of what is earned
    whole = 1.0 if found.evaluation.comparison is not None or found.evaluation.rollout.success is not None else abs(own)
    better = best.low > 0 and best.mean > WORTH * whole
    # as many values as were tried had a chance to look better than they are
    if item.name in ("sigma_deploy", "n_action_steps", "gains") and better:
        claim = f"{item.name} = {item.values[item.best]:g} instead of {item.own:g} would score {best.mean:.2f} more."
        evidence = f"paired over starts {best}; the best of {len(item.values)} values tried, so a little flattered"
        return Finding(claim, evidence, "unclear")
    if item.name in ("delay", "sensor_noise"):
        for value, change in zip(item.values, item.differences, strict=True):
            if change.high < 0 and own > 0 and -change.mean > 0.1 * abs(own):
                late = f"A delay of {value:g} step{'s' * (value != 1)}"
                what = late if item.name == "delay" else f"Sensor noise of {value:g}"
                return Finding(f"{what} costs {-change.mean / own:.0%} of the score.", f"paired {change}", "unclear")
    return None
