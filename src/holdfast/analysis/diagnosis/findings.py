"""Verdict of a diagnosis: rules that turn measurements into sentences.

Every sentence follows from the numbers next to it by a rule of this module. A rule supports a side only if a confidence
interval, or a bound with a confidence level, does; otherwise the finding is unclear.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, assert_never

from ...evaluation.intervals import Estimate
from ..continuity import Modulus
from ..error_growth import Growth
from ..sensitivity import Sweep
from .examine import Diagnosis

Tone = Literal["holds", "drifts", "unclear"]
Judgement = Literal["holds", "drifts", "fails", "unclear"]

WORTH = 0.02
"""Smallest improvement of a setting worth reporting, as a share of the score."""
SOLVED, EARNED = 0.5, 0.8
"""Thresholds of a policy that holds: share of solved episodes, and share of the expert's reward."""
JUMPS = 1.5
"""Ratio from which changes of the action between plans count as jumps."""


@dataclass(frozen=True)
class Finding:
    """One sentence of the verdict.

    Attributes:
        claim: The finding.
        evidence: Numbers that support it.
        tone: Whether it supports a policy that holds, one that drifts, or neither.
        of_rollouts: Whether it describes where rollouts went, as opposed to plans or to whether the task was solved.
    """

    claim: str
    evidence: str
    tone: Tone
    of_rollouts: bool = False


def verdict(found: Diagnosis) -> list[Finding]:
    """Findings of a diagnosis, the outcome first.

    The order is: the outcome, growth of errors, its causes in the system and the plans, and remedies.
    """
    parts = [_outcome(found), _drift(found), _perturbation(found), _loops(found), _continuity(found), _novelty(found)]
    parts += [_seams(found), *(_setting(found, item) for item in found.sweeps)]
    return [part for part in parts if part is not None]


def judgement(findings: Sequence[Finding]) -> Judgement:
    """The verdict in one word.

    Findings on rollouts outweigh findings on plans: a policy may be discontinuous and yet hold. A policy that fails
    drifts only if rollouts diverge, errors grow, or rollouts end outside the demonstrated region; otherwise it fails
    near the demonstrations.
    """
    outcome, rest = findings[0], findings[1:]
    drifting = any(part.tone == "drifts" and part.of_rollouts for part in findings)
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
    evidence = f"{count} rollouts: score {score}{rest}, lost {lost}"
    if lost.low > 0.05:
        return Finding(f"{lost.mean:.0%} of the rollouts diverge.", evidence, "drifts", of_rollouts=True)
    if "success" in found.estimates:
        share = found.estimates["success"]
        claim = f"The task is solved in {share.mean:.0%} of the rollouts."
        return Finding(claim, evidence, _relative_to(share, SOLVED))
    if "distance" in found.estimates:
        claim = f"The policy earns {score.mean:.2f} of what the expert earns from the same starts."
        return Finding(claim, evidence, _relative_to(score, EARNED))
    return Finding(f"The mean score is {score.mean:.3g}; there is no reference for a good score.", evidence, "unclear")


def _relative_to(estimate: Estimate, bar: float) -> Tone:
    """Whether an interval is above a threshold, below it, or contains it."""
    return "holds" if estimate.low > bar else "drifts" if estimate.high < bar else "unclear"


def _drift(found: Diagnosis) -> Finding | None:
    return None if found.drift is None else _growth_finding("The distance to the expert", found.drift)


def _perturbation(found: Diagnosis) -> Finding | None:
    if found.perturbation is None:
        return None
    after = f"After one action perturbed by {found.perturbation.size:.0%} of half its range"
    return _growth_finding(f"{after}, the distance to the unperturbed rollout", found.perturbation.growth)


def _growth_finding(what: str, growth: Growth) -> Finding:
    evidence = f"{growth.reason}; {growth.agreement:.0%} of the resamples agree"
    match growth.kind:
        case "contracting" if growth.rate is not None:
            claim = f"{what} shrinks by a factor of {growth.rate.mean:.3f} per step."
            return Finding(claim, evidence, "holds", of_rollouts=True)
        case "exponential" if growth.rate is not None:
            claim = f"{what} grows by a factor of {growth.rate.mean:.3f} per step."
            return Finding(claim, evidence, "drifts", of_rollouts=True)
        case "linear" if growth.rate is not None:
            claim = f"{what} grows by a constant {growth.rate.mean:.3g} per step."
            return Finding(claim, evidence, "drifts", of_rollouts=True)
        case "bounded" if growth.level is not None:
            return Finding(f"{what} stays at a level of {growth.level.mean:.3g}.", evidence, "holds", of_rollouts=True)
        case "floor":
            return Finding(f"{what} is zero up to rounding.", evidence, "holds", of_rollouts=True)
        case _:
            return Finding(f"{what} follows no clear law of growth.", evidence, "unclear")


def _loops(found: Diagnosis) -> Finding | None:
    if found.loops is None:
        return None
    loose, closed, steps = found.loops.open, found.loops.closed, found.loops.steps
    evidence = f"medians over windows of {steps} steps; without feedback 10–90 %: {loose[0]:.3f}–{loose[2]:.3f}"
    if closed is None:
        if loose[1] <= 1:
            claim = f"Between plans the system alone shrinks errors by a factor of {loose[1]:.3f} per step."
            return Finding(claim, evidence, "holds")
        claim = (
            f"No feedback acts between plans, and the system alone multiplies an error by {loose[1]:.3f} per step. "
            "Clone feedback gains (train --codec affine) to correct errors between plans."
        )
        return Finding(claim, evidence, "drifts")
    evidence += f"; with gains: {closed[0]:.3f}–{closed[2]:.3f}"
    claim = (
        f"The system alone multiplies an error by {loose[1]:.3f} per step; with the planned gains by {closed[1]:.3f}."
    )
    return Finding(claim, evidence, "holds" if closed[2] < 1 else "drifts" if closed[1] > 1 else "unclear")


def _continuity(found: Diagnosis) -> Finding | None:
    modulus, error = found.modulus, found.own_error
    if modulus is None or error is None or found.sigma is None:
        return None
    return _smoothed(error, found.sigma) if found.sigma > 0 else _unsmoothed(modulus, error)


def _smoothed(error: float, sigma: float) -> Finding | None:
    """The bound on the total variation that the deployment noise gives, where it says something.

    A weak bound is no finding: rollouts often hold without one.
    """
    reached = math.erf(error / (math.sqrt(8) * sigma))
    if reached > 0.5:
        return None
    evidence = f"own error {error:.3g} in normalized observations, σ = {sigma:g}: TV ≤ {reached:.2f}"
    return Finding("Plans are total-variation continuous at the scale of the policy's own error.", evidence, "holds")


def _unsmoothed(modulus: Modulus, error: float) -> Finding:
    """Whether plans without noise jump at the scale of the policy's own error."""
    place = int((modulus.distances.log() - math.log(max(error, 1e-9))).abs().argmin())
    bound = float(modulus.lower[place])
    at = float(modulus.distances[place])
    evidence = (
        f"own error {error:.3g} in normalized observations; plans from observations at distance {at:g} have TV ≥ "
        f"{bound:.2f} on average, with {modulus.level:.0%} confidence"
    )
    if bound > 0.5:
        claim = "Plans are not total-variation continuous at the scale of the policy's own error."
        return Finding(claim, evidence, "drifts")
    claim = (
        "No noise bounds how fast plans change with the observation (σ = 0), but no jump was found at the scale of the "
        "policy's own error."
    )
    return Finding(claim, evidence, "unclear")


def _novelty(found: Diagnosis) -> Finding | None:
    if found.novelty is None:
        return None
    outside = found.novelty.outside
    final = float(outside[-max(len(outside) // 10, 1) :].mean())
    evidence = (
        f"normalized distance between demonstrations: median {found.novelty.demonstrated_median:.3g}, 95 % quantile "
        f"{found.novelty.demonstrated_95:.3g} (the boundary of the region)"
    )
    claim = f"At the end {final:.0%} of the rollouts are outside the demonstrated region (5 % of demonstrations are)."
    tone: Tone = "drifts" if final > 0.5 else "holds" if final < 0.15 else "unclear"
    return Finding(claim, evidence, tone, of_rollouts=True)


def _seams(found: Diagnosis) -> Finding | None:
    """Whether actions jump between plans, by the demonstrations' own steps and by those within plans."""
    if found.seams is None or found.seams.within.jump is None:
        return None
    ratio, own = found.seams.demonstrated, found.seams.within.jump.ratio
    evidence = f"without noise at deployment; changes of the action across seams, relative to those inside plans: {own}"
    if ratio is not None:
        evidence += f", to those of the demonstrations (root mean square): {ratio}"
    if own.low > JUMPS and ratio is not None and ratio.low > JUMPS:
        claim = f"Plans do not join: actions jump {ratio.mean:.1f} times as far between them as in the demonstrations."
        return Finding(claim, evidence, "drifts")
    if own.high < JUMPS or (ratio is not None and ratio.high < JUMPS):
        return Finding("Plans join about as smoothly as demonstrated actions follow one another.", evidence, "holds")
    return Finding("It is unclear whether plans join smoothly.", evidence, "unclear")


def _setting(found: Diagnosis, item: Sweep) -> Finding | None:
    """The best value if it is significantly better; for delays and sensor noise, the first significant loss."""
    if item.name.startswith("inference_delay"):
        return _tolerated(item)
    best = item.differences[item.best]
    own = item.estimates[item.values.index(item.current)].mean
    # improvements are relative to 1 if that is the largest score, else to the present score
    whole = 1.0 if found.evaluation.comparison is not None or found.evaluation.rollout.success is not None else abs(own)
    better = best.low > 0 and best.mean > WORTH * whole
    # the best of several noisy estimates is biased upwards, which the evidence mentions
    if item.name in ("sigma_deploy", "n_action_steps", "gains") and better:
        change = f"{item.name} = {item.values[item.best]:g} instead of {item.current:g}"
        claim = f"{change} would raise the score by {best.mean:.2f}."
        evidence = f"paired over starts {best}; the best of {len(item.values)} values, so slightly optimistic"
        return Finding(claim, evidence, "unclear")
    if item.name in ("delay", "sensor_noise"):
        for value, change in zip(item.values, item.differences, strict=True):
            if change.high < 0 and own > 0 and -change.mean > 0.1 * abs(own):
                late = f"A transport delay of {value:g} step{'s' * (value != 1)}"
                what = late if item.name == "delay" else f"Sensor noise of {value:g}"
                # a lost episode has a return of −∞
                share = -change.mean / own
                cost = "loses episodes" if math.isinf(share) else f"costs {share:.0%} of the score"
                return Finding(f"{what} {cost}.", f"paired over starts {change}", "unclear")
    return None


def _tolerated(item: Sweep) -> Finding | None:
    """How much inference delay the policy tolerates: until its mean score falls below the interval at 0."""
    own = item.estimates[item.values.index(item.current)]
    if own.low <= 0 <= own.high:
        return None  # there is no score to lose
    means = [estimate.mean for estimate in item.estimates]
    left = next((index for index, mean in enumerate(means) if mean < own.low), None)
    way = item.name.removeprefix("inference_delay").strip("_") or "naive"
    scores = ", ".join(f"{mean:.3g} at {value:g}" for value, mean in zip(item.values, means, strict=True))
    evidence = f"mean scores {scores}; interval at 0: {own}; executed steps from the observation to its plan"
    if left is None:
        claim = f"An inference delay of up to {item.values[-1]:g} steps, the longest tried, is tolerated ({way})."
    elif item.values[left - 1] == 0:
        claim = f"An inference delay of {item.values[left]:g} steps is not tolerated ({way})."
    else:
        tolerated, value = item.values[left - 1], item.values[left]
        claim = f"An inference delay of {tolerated:g} steps is tolerated, {value:g} steps are not ({way})."
    return Finding(claim, evidence, "unclear")
