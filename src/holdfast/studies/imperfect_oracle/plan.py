"""Trainings of study imperfect-oracle and their evaluation.

Each imperfection (see `oracles`) is applied where a user would meet it: to the demonstrations, on which the policy is
trained again, or at deployment.
"""

from dataclasses import dataclass, replace
from pathlib import Path

from ...envs import Actor
from ...errors import DataError, SynthesisError
from ...learn import attach_controllers, choose_episodes, planner_of, train_to_end, training_set
from ...policy import Planner, Policy
from ...types import Episodes, PrimitiveControllers
from ..engine.jobs import key_of
from ..quadrotor.arms import Arm, recipe_of
from ..quadrotor.cells import scored, world_of
from .oracles import (
    Absent,
    LateFeedback,
    LateGains,
    Learned,
    Oracle,
    ScaledFeedback,
    ScaledGains,
    ScaledPlans,
    StaleState,
    WrongMass,
    closed_loop_radius,
    controllers_of,
    gain_error,
)
from .rows import OracleResult, described

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
        """Name of the job's file."""
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
