"""Diagnosis of one policy by all diagnostics that apply, from the same starts.

    outcome      score, success, distance to the expert, lost rollouts
    drift        growth of the distance to the expert                            needs an expert
    perturbation growth of the distance between two rollouts after one perturbed action
    loops        factor per step of the system and of the planned feedback       needs derivatives
    imitation    L_marg,ε as a coupling of rollouts with the expert's            needs an expert
    continuity   total variation between plans from nearby observations          needs plans
    seams        discontinuities between one plan and the next                   needs plans
    novelty      distance of the observations to the demonstrations              needs demonstrations
    sweeps       score against noise, replanning, gains, transport and inference delay, and sensor noise
    causes       what explains the outcome, each with a test

Diagnostics that do not apply are reported with the reason.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from torch import Tensor

from ...data import feeds_back
from ...envs import Actor, Environment
from ...errors import DataError, HoldfastError
from ...evaluation import Estimate, Evaluation, FixedStarts, fixed_starts, mean_over_starts, over_starts, rate
from ...policy import Policy
from ...types import Episodes
from ..continuity import Modulus
from ..couplings import ImitationLosses
from ..error_growth import FEWEST_EPISODES, Growth
from ..novelties import Novelty
from ..sensitivity import Sweep, settings_of, sweep
from . import instruments
from .causes import Cause, Measured, causes_of
from .instruments import PerturbedRollouts, PlanSeams, Subject, subject_of
from .loops import LoopRates

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """Results of the diagnostics; `None` for those that do not apply.

    Attributes:
        name: Name of the policy.
        environment: Name of the environment.
        dt: Duration of a control step [s].
        evaluation: Evaluation of the unchanged policy from the fixed starts.
        estimates: Outcome with intervals.
        drift: Growth of the distance to the expert.
        perturbation: Growth after one perturbed action.
        loops: Factors per step along the rollouts.
        imitation: Losses by couplings with the expert's rollouts.
        modulus: Continuity of the plans.
        own_error: Typical error of the policy's rollouts, in normalised observations.
        sigma: Deployment noise of a Holdfast policy.
        n_action_steps: Steps between its plans.
        with_gains: Whether its chunks contain gains.
        seams: Discontinuities between plans.
        novelty: Distance to the demonstrations.
        sweeps: Score against each setting.
        missing: Reason for each diagnostic that does not apply.
        causes: Causes of the outcome, the one that explains most first.
    """

    name: str
    environment: str
    dt: float
    evaluation: Evaluation
    estimates: Mapping[str, Estimate]
    drift: Growth | None
    perturbation: PerturbedRollouts | None
    loops: LoopRates | None
    imitation: ImitationLosses | None
    modulus: Modulus | None
    own_error: float | None
    sigma: float | None
    n_action_steps: int | None
    with_gains: bool
    seams: PlanSeams | None
    novelty: Novelty | None
    sweeps: tuple[Sweep, ...]
    missing: Mapping[str, str]
    causes: tuple[Cause, ...] = ()


def check_starts(count: int) -> None:
    """Refuse a number of episodes that gives no intervals.

    Raises:
        DataError: There are fewer than intervals need.
    """
    if count < FEWEST_EPISODES:
        raise DataError(f"{count} episodes are too few for intervals. Give at least {FEWEST_EPISODES} starts.")


def diagnose(
    policy: Actor | Any,
    environment: str | Environment | FixedStarts | Any,
    *,
    starts: int = 16,
    name: str = "policy",
    demonstrations: Episodes | None = None,
    half_range: Tensor | None = None,
    seed: int = 0,
    sweeps: bool = True,
    on_part: Callable[[str], None] = lambda part: None,
) -> Diagnosis:
    """Apply all diagnostics to a policy.

    Args:
        policy: A Holdfast policy, any object with `reset` and `act`, or a policy of another library
            (`envs.foreign_kinds`).
        environment: One of `ENVIRONMENTS`, an environment, a gymnasium environment or what makes one, or starts from
            `fixed_starts`.
        starts: Number of episodes, unless `environment` fixes them.
        name: Name of the policy in the report.
        demonstrations: Demonstrations that it was trained on, or should imitate.
        half_range: Unit of sensor noise for each observation coordinate. Default: that of the policy's scale, else half
            the range of the observations in its episodes.
        seed: Random seed of the policy and of the diagnostics.
        sweeps: Also vary how the policy is run, which takes most of the time.
        on_part: Called with the name of each diagnostic before it begins.

    Raises:
        DataError: There are fewer starts than intervals need.
    """
    check_starts(environment.count if isinstance(environment, FixedStarts) else starts)
    fixed = (
        environment
        if isinstance(environment, FixedStarts)
        else fixed_starts(environment, starts, seed=seed, fits=policy)
    )
    on_part("rollouts")
    policy = fixed.actor(policy)
    subject = subject_of(policy, fixed, demonstrations=demonstrations, seed=seed)
    missing = dict[str, str]()

    def attempt(part: str, measure: Callable[[Subject], T]) -> T | None:
        on_part(part)
        try:
            return measure(subject)
        except HoldfastError as reason:
            missing[part] = str(reason)
            return None

    own = policy if isinstance(policy, Policy) else None
    novel = attempt("novelty", instruments.novelty_of)
    found = Diagnosis(
        name=name,
        environment=fixed.name,
        dt=fixed.environment.dt,
        evaluation=subject.evaluation,
        estimates=_estimates(subject.evaluation),
        drift=attempt("drift", instruments.drift_of),
        perturbation=attempt("perturbation", instruments.perturbation_of),
        loops=attempt("loops", instruments.loops_of),
        imitation=attempt("imitation", instruments.imitation_of),
        modulus=attempt("continuity", instruments.continuity_of),
        own_error=instruments.own_error(subject, novel),
        sigma=None if own is None else own.spec.execution.sigma_deploy,
        n_action_steps=None if own is None else own.executor.n_action_steps,
        with_gains=own is not None and feeds_back(own.spec.codec),
        seams=attempt("seams", instruments.seams_of),
        novelty=novel,
        sweeps=_sweeps(subject, half_range, on_part) if sweeps else (),
        missing=missing,
    )
    on_part("causes")
    return replace(found, causes=causes_of(subject, _measured(found)))


def _measured(found: Diagnosis) -> Measured:
    growths = [found.drift, None if found.perturbation is None else found.perturbation.growth]
    return Measured([growth for growth in growths if growth is not None], found.sweeps)


def _sweeps(subject: Subject, half_range: Tensor | None, on_part: Callable[[str], None]) -> tuple[Sweep, ...]:
    if half_range is None:
        observed = subject.rollout.observed.flatten(0, 1)
        half_range = (observed.amax(dim=0) - observed.amin(dim=0)) / 2
    found = list[Sweep]()
    for setting in settings_of(subject.policy, half_range=half_range):
        on_part(f"sweep of {setting.name}")
        found.append(sweep(subject.starts, setting, baseline=subject.evaluation, seed=subject.seed))
    return tuple(found)


def _estimates(evaluation: Evaluation) -> dict[str, Estimate]:
    mean = over_starts if evaluation.comparison is None else mean_over_starts
    found = {"score": mean(evaluation.scores)}
    if evaluation.rollout.success is not None:
        found["success"] = rate(evaluation.rollout.success)
    if evaluation.comparison is not None:
        found["distance"] = mean_over_starts(evaluation.comparison.distance)
    return {**found, "lost": rate(evaluation.rollout.escaped)}
