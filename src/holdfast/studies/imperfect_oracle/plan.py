"""Trainings of study imperfect-oracle and their evaluation.

Each imperfection (see `oracles`) is applied where a user would meet it: to the demonstrations, on which the policy is
trained again, or at deployment.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias, assert_never

from ...envs import Actor
from ...errors import DataError, SynthesisError
from ...learn import attach_controllers, choose_episodes, planner_of, train_to_end, training_set
from ...policy import Planner, Policy
from ...types import Episodes, PrimitiveControllers
from ..engine.jobs import key_of
from ..quadrotor.arms import Arm, Gains, recipe_of
from ..quadrotor.cells import Scored, comparison_of, row_of, scored, world_of
from .oracles import (
    Absent,
    LateFeedback,
    LateGains,
    Learned,
    Oracle,
    Perfect,
    ScaledFeedback,
    ScaledGains,
    ScaledPlans,
    StaleState,
    WrongMass,
    closed_loop_radius,
    controllers_of,
    gain_error,
)

Cell: TypeAlias = tuple[Gains, int, float, Oracle]
"""Kind of gains, demonstrations, σ and oracle."""


@dataclass(frozen=True)
class OracleResult:
    """Scores of one training under one oracle.

    Attributes:
        flights: Scores, start by start; `None` if the oracle gave no gains.
        radius: Spectral radius of the true closed loop at hover under the last demonstrated gain; `None` without gains.
        gain_error: Median of ‖K − K*‖ / ‖K*‖ over the demonstrations; `None` without gains.
    """

    flights: Scored | None
    radius: float | None = None
    gain_error: float | None = None
    problem: str | None = None

    @staticmethod
    def of(flights: dict[str, Any] | None, **rest: Any) -> "OracleResult":
        """The result with its stored fields."""
        return OracleResult(flights=None if flights is None else Scored(**flights), **rest)


def described(oracle: Oracle) -> tuple[str, str, float | None]:
    """An oracle's family, where it is imperfect, and the amount."""
    match oracle:
        case Perfect():
            return "perfect", "nowhere", None
        case WrongMass(factor=factor):
            return "wrong mass", "training", factor
        case Learned(model=model):
            return f"learned dynamics ({model})", "training", None
        case ScaledGains(factor=factor):
            return "scaled gains", "training", factor
        case LateGains(steps=steps):
            return "late gains", "training", float(steps)
        case ScaledFeedback(factor=factor):
            return "scaled gains", "flight", factor
        case LateFeedback(steps=steps):
            return "late state", "flight", float(steps)
        case Absent():
            return "absent", "training", None
        case _:
            assert_never(oracle)


def rows_of(cells: Mapping[Cell, Sequence[OracleResult]]) -> list[dict[str, Any]]:
    """One wide row per oracle; without scores where it gave no gains for any seed."""
    return [_row(cell, group) for cell, group in cells.items()]


def problems_of(cells: Mapping[Cell, Sequence[OracleResult]]) -> list[str]:
    """Error messages of oracles that gave no gains, each once."""
    return sorted({result.problem for group in cells.values() for result in group if result.problem})


def _row(cell: Cell, group: Sequence[OracleResult]) -> dict[str, Any]:
    kind, n_demos, sigma, oracle = cell
    family, where, amount = described(oracle)
    flown = [result.flights for result in group if result.flights is not None]
    what: dict[str, Any] = {
        "oracle": family,
        "where": where,
        "amount": amount,
        "gains": kind,
        "n_demos": n_demos,
        "sigma": sigma,
        "failed": len(group) - len(flown),
    }
    if not flown:
        return what
    return {**what, **row_of(flown), "radius": _mean(group, "radius"), "gain_error": _mean(group, "gain_error")}


def _mean(group: Sequence[OracleResult], name: str) -> float | None:
    values = [value for result in group if (value := getattr(result, name)) is not None]
    return sum(values) / len(values) if values else None


def comparisons_of(cells: Mapping[Cell, Sequence[OracleResult]]) -> list[dict[str, Any]]:
    """Each oracle against the perfect one with the same demonstrations, over the seeds for which both gave gains."""
    found = list[dict[str, Any]]()
    perfect = {cell[:2]: group for cell, group in cells.items() if isinstance(cell[3], Perfect)}
    for (kind, n_demos, sigma, oracle), group in cells.items():
        for (base_kind, base_count), base in perfect.items():
            if isinstance(oracle, Perfect) or n_demos != base_count or kind not in (base_kind, "none"):
                continue
            pairs = [
                (one.flights, other.flights)
                for one, other in zip(group, base, strict=True)
                if one.flights is not None and other.flights is not None
            ]
            if pairs:
                family, where, amount = described(oracle)
                what = {"oracle": family, "where": where, "amount": amount, "against": base_kind, "n_demos": n_demos}
                found.append({**what, "sigma": sigma, **comparison_of([a for a, _ in pairs], [b for _, b in pairs])})
    return found


MASSES = (0.5, 0.8, 1.25, 2.0)
SCALES = (0.0, 0.25, 0.5, 1.5, 2.0)
LATE_GAINS = (3, 10, 30)
LATE_STATES = (1, 2, 3)

IN_TRAINING: tuple[Oracle, ...] = (
    *map(WrongMass, MASSES),
    Learned("linear"),
    Learned("mlp"),
    *map(ScaledGains, SCALES),
    *map(LateGains, LATE_GAINS),
)
IN_FLIGHT: tuple[Oracle, ...] = (*map(ScaledFeedback, SCALES), *map(LateFeedback, LATE_STATES))


@dataclass(frozen=True)
class OracleJob:
    """One training, the oracle of its demonstrations, and the oracles that it is evaluated with."""

    arm: Arm
    trained: Oracle
    deployed: tuple[Oracle, ...]

    @property
    def key(self) -> str:
        return key_of(f"{self.arm.key}-{type(self.trained).__name__}", self.trained, self.deployed)


def evaluate_oracle(folder: Path, job: OracleJob) -> list[OracleResult]:
    """Train one policy on the gains of its oracle, and evaluate its deployments."""
    world, recipe = world_of(folder), recipe_of(job.arm)
    chosen, _ = choose_episodes(recipe, world.pool)
    try:
        controllers = controllers_of(job.trained, recipe, chosen)
    except (SynthesisError, DataError) as error:
        return [OracleResult(flights=None, problem=f"{described(job.trained)[0]}: {error}") for _ in job.deployed]
    data = training_set(recipe.policy, chosen, controllers)
    planner = planner_of(recipe, data, train_to_end(recipe, data))
    results = list[OracleResult]()
    for oracle in job.deployed:
        flights = scored(world.judge(world.fly(policy_of(oracle, planner, job.arm), seed=job.arm.seed)))
        results.append(OracleResult(flights, *_quality(oracle, job.arm, chosen, controllers)))
    return results


def policy_of(oracle: Oracle, planner: Planner, arm: Arm) -> Actor:
    """The trained policy, run with its training noise and with the oracle's imperfection of the flight, if any."""
    policy = Policy(planner, execution=replace(recipe_of(arm).policy.execution, sigma_deploy=arm.sigma))
    match oracle:
        case ScaledFeedback(factor=factor):
            policy.executor.plans = ScaledPlans(policy.executor.plans, factor)
            return policy
        case LateFeedback(steps=steps):
            return StaleState(policy, steps)
        case _:
            return policy


def _quality(
    oracle: Oracle, arm: Arm, chosen: Episodes, given: PrimitiveControllers
) -> tuple[float | None, float | None]:
    """Spectral radius of the closed loop at hover, and relative error of the gains."""
    if isinstance(oracle, Absent):
        return None, None
    true = attach_controllers(recipe_of(arm), chosen)
    match oracle:
        case ScaledFeedback(factor=factor):
            given = replace(given, gains=factor * given.gains)
            return closed_loop_radius(given), gain_error(given, true)
        case LateFeedback(steps=steps):
            return closed_loop_radius(given, late=steps), gain_error(given, true)
        case _:
            return closed_loop_radius(given), gain_error(given, true)
