"""Every instrument that applies, on one policy, from the same starts.

    outcome      score, success, distance to the expert, flights that were lost
    drift        growth of the distance to the expert                            where there is an expert
    slip         growth of the distance between two flights, one of which had one action off
    loops        what the system and the planned gains do to an error           where there are derivatives
    imitation    L_marg,ε as a coupling of several flights with the expert's     where there is an expert
    continuity   how far apart plans from nearby observations are               where the policy plans
    seams        jumps where one plan ends and the next begins                   where the policy plans
    novelty      distance of what was seen to what was demonstrated             where there are demonstrations
    sweeps       score against noise, replanning, gains, delay and sensors

What could not be measured is named with the reason, never left out in silence.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from torch import Tensor

from ...data import Affine
from ...envs import Actor, Environment
from ...errors import DataError, HoldfastError
from ...evaluation import Estimate, Evaluation, FixedStarts, bootstrap, fixed_starts, rate
from ...policy import Policy
from ...types import Episodes
from ..chunk_seams import Seams
from ..continuity import Modulus
from ..couplings import ImitationLosses
from ..error_growth import FEWEST_EPISODES, Growth
from ..novelties import Novelty
from ..sensitivity import Sweep, knobs_of, sweep
from . import instruments
from .instruments import Slip, Subject, subject_of
from .loops import LoopRates

__all__ = ["Diagnosis", "diagnose"]

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """What the instruments say of one policy; `None` where one does not apply.

    Attributes:
        name: Name of the policy.
        environment: Name of the environment.
        dt: Seconds per control step [s].
        evaluation: The unchanged policy from the fixed starts.
        estimates: Outcome with intervals.
        drift: Growth of the distance to the expert.
        slip: Growth after one action that was off.
        loops: Factors a step along the flights.
        imitation: Losses as couplings with the expert's flights.
        modulus: Continuity of the plans.
        own_error: Distance, in normalised observations, at which the policy's own flights are off.
        sigma: Deployment noise of a policy of Holdfast.
        n_action_steps: Steps between its plans.
        with_gains: Whether its chunks hold gains.
        seams: Jumps between plans.
        novelty: Distance to the demonstrations.
        sweeps: What turning a knob does.
        missing: Instrument → why it says nothing here.
    """

    name: str
    environment: str
    dt: float
    evaluation: Evaluation
    estimates: Mapping[str, Estimate]
    drift: Growth | None
    slip: Slip | None
    loops: LoopRates | None
    imitation: ImitationLosses | None
    modulus: Modulus | None
    own_error: float | None
    sigma: float | None
    n_action_steps: int | None
    with_gains: bool
    seams: Seams | None
    novelty: Novelty | None
    sweeps: tuple[Sweep, ...]
    missing: Mapping[str, str]


def diagnose(
    policy: Actor,
    environment: str | Environment | FixedStarts,
    *,
    starts: int = 16,
    name: str = "policy",
    demonstrations: Episodes | None = None,
    half_range: Tensor | None = None,
    seed: int = 0,
    sweeps: bool = True,
    on_part: Callable[[str], None] = lambda part: None,
) -> Diagnosis:
    """Examine a policy.

    Args:
        policy: A Holdfast policy, or any other; `PlainPolicy` makes one of a function.
        environment: Where to run it: one of `ENVIRONMENTS`, an environment, or starts from `fixed_starts`.
        starts: Number of episodes, unless `environment` fixes them.
        name: Name of the policy in the report.
        demonstrations: Demonstrations that it was trained on, or should imitate.
        half_range: Unit of sensor noise for each observation coordinate. Default: that of the policy's scale, else half
            the range of the observations in its episodes.
        seed: Random seed of the policy and of the diagnostics.
        sweeps: Also vary how the policy is run, which takes most of the time.
        on_part: Called with the name of each diagnostic before it begins.

    Raises:
        DataError: Fewer starts than intervals need.
    """
    fixed = environment if isinstance(environment, FixedStarts) else fixed_starts(environment, starts, seed=seed)
    if fixed.count < FEWEST_EPISODES:
        raise DataError(f"{fixed.count} episodes are too few for intervals. Give at least {FEWEST_EPISODES} starts.")
    on_part("flights")
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
    return Diagnosis(
        name=name,
        environment=fixed.name,
        dt=fixed.environment.dt,
        evaluation=subject.evaluation,
        estimates=_estimates(subject.evaluation, seed),
        drift=attempt("drift", instruments.drift_of),
        slip=attempt("slip", instruments.slip_of),
        loops=attempt("loops", instruments.loops_of),
        imitation=attempt("imitation", instruments.imitation_of),
        modulus=attempt("continuity", instruments.continuity_of),
        own_error=instruments.own_error(subject, novel),
        sigma=None if own is None else own.spec.execution.sigma_deploy,
        n_action_steps=None if own is None else own.executor.n_action_steps,
        with_gains=own is not None and isinstance(own.spec.codec, Affine),
        seams=attempt("seams", instruments.seams_of),
        novelty=novel,
        sweeps=_sweeps(subject, half_range, on_part) if sweeps else (),
        missing=missing,
    )


def _sweeps(subject: Subject, half_range: Tensor | None, on_part: Callable[[str], None]) -> tuple[Sweep, ...]:
    if half_range is None:
        seen = subject.rollout.observed.flatten(0, 1)
        half_range = (seen.amax(dim=0) - seen.amin(dim=0)) / 2
    found = list[Sweep]()
    for knob in knobs_of(subject.policy, half_range=half_range):
        on_part(f"sweep of {knob.name}")
        found.append(sweep(subject.starts, knob, known=subject.evaluation, seed=subject.seed))
    return tuple(found)


def _estimates(evaluation: Evaluation, seed: int) -> dict[str, Estimate]:
    found = {"score": bootstrap(evaluation.scores, seed=seed)}
    if evaluation.rollout.success is not None:
        found["success"] = rate(evaluation.rollout.success)
    if evaluation.comparison is not None:
        found["distance"] = bootstrap(evaluation.comparison.distance, seed=seed)
    return {**found, "lost": rate(evaluation.rollout.escaped)}
