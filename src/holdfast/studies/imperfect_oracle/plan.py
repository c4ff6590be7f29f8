"""How good the synthesis oracle must be: the quadrotor's policies, trained on imperfect gains.

HINT (Block et al. 2023, arXiv 2307.14619) assumes stabilising gains of the true dynamics. Each imperfection (see
`oracles`) is applied where a user would meet it: in the demonstrations, and the policy is trained again; or in flight.
"""

import itertools
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, assert_never

from ...envs import Actor
from ...errors import DataError, SynthesisError
from ...learn import attach_controllers, choose_episodes, planner_of, train_to_end, training_set
from ...policy import Planner, Policy
from ...types import Episodes, PrimitiveControllers
from ..engine.pool import run_kept
from ..quadrotor.arms import Arm, Gains, recipe_of
from ..quadrotor.cells import Judged, Preset, digest_of, judged, kept_world, world_digest, world_of
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
from .rows import Cell, OracleResult, comparisons_of, described, row_of_oracle

__all__ = ["ImperfectOracle", "OracleJob", "OracleResult", "imperfect_oracle", "plan_imperfect_oracle"]

QUICK_UPDATES = 1500
"""Half of what `fig5` trains with."""

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
    """One training, and what is flown with it.

    Attributes:
        arm: What is trained.
        trained: The oracle of its demonstrations.
        flown: Oracles whose flights it stands for: its own, and those that differ in flight only.
    """

    arm: Arm
    trained: Oracle
    flown: tuple[Oracle, ...]

    @property
    def name(self) -> str:
        """What its file is called; another for another recipe, other oracles or another version."""
        return f"{self.arm.key}-{type(self.trained).__name__}-{digest_of(self.trained, self.flown)}"


@dataclass(frozen=True)
class ImperfectOracle:
    """The study's values.

    Attributes:
        rows: One flat object an oracle, over its seeds; `failed` counts seeds for which it gave no gains.
        comparisons: Each oracle beside the perfect one, paired by seed and start.
        problems: What the failures said.
    """

    rows: list[dict[str, Any]]
    comparisons: list[dict[str, Any]]
    problems: list[str]


def plan_imperfect_oracle(
    preset: Preset,
    *,
    seeds: int = 3,
    demos: Sequence[int] | None = None,
    sigma: float = 0.1,
    oracles: Sequence[Oracle] = IN_TRAINING,
    in_flight: Sequence[Oracle] = IN_FLIGHT,
    updates: int | None = None,
) -> list[OracleJob]:
    """All trainings of a preset.

    Args:
        preset: `quick`: 3 demonstrations, gains along a trajectory, half of the usual updates; `full`: 1, 3 and 10
            demonstrations, the expert's own feedback as well, all updates.
        seeds: Training seeds; each also chooses its demonstrations.
        demos: Numbers of demonstrations, in place of the preset's.
        sigma: Of the noise in training and flight; raw actions, which it harms, go without.
        oracles: Imperfect in the demonstrations; the perfect and the absent one are always there.
        in_flight: Imperfect in flight; they need no training of their own.
        updates: Of each training, in place of the preset's.
    """
    kinds: tuple[Gains, ...]
    match preset:
        case "quick":
            kinds = ("tvlqr",)
            counts, steps = demos or (3,), updates or QUICK_UPDATES
        case "full":
            kinds = ("tvlqr", "receding")
            counts, steps = demos or (1, 3, 10), updates
        case _:
            assert_never(preset)
    jobs = list[OracleJob]()
    for seed, count in itertools.product(range(seeds), counts):
        jobs.append(OracleJob(Arm("holdfast", count, "none", 0.0, seed, steps=steps), Absent(), (Absent(),)))
        for kind in kinds:
            arm = Arm("holdfast", count, kind, sigma, seed, steps=steps)
            jobs.append(OracleJob(arm, Perfect(), (Perfect(), *in_flight)))
            jobs += [OracleJob(arm, oracle, (oracle,)) for oracle in oracles]
    return jobs


def imperfect_oracle(
    jobs: Sequence[OracleJob],
    folder: Path,
    *,
    preset: Preset = "quick",
    size: tuple[int, int] | None = None,
    workers: int | None = None,
    on_done: Callable[[int], None] = lambda done: None,
) -> ImperfectOracle:
    """Run the study.

    Args:
        jobs: The trainings, from `plan_imperfect_oracle`.
        folder: Where finished trainings are kept; a stopped study goes on from there.
        preset: How large the shared world is.
        size: Demonstrations to choose from and held-out starts, in place of the preset's.
        workers: Processes; all cores if nothing is said.
        on_done: Called with the number of trainings done.
    """
    kept_world(folder, preset, size)
    run_kept(jobs, partial(_run, folder), partial(_path, folder), workers=workers, on_done=on_done)
    cells = dict[Cell, list[OracleResult]]()
    for job in jobs:
        for oracle, result in zip(job.flown, _read(folder, job), strict=True):
            cells.setdefault((job.arm.gains, job.arm.n_demos, job.arm.sigma, oracle), []).append(result)
    return ImperfectOracle(
        rows=[row_of_oracle(cell, group) for cell, group in cells.items()],
        comparisons=comparisons_of(cells),
        problems=sorted({result.problem for group in cells.values() for result in group if result.problem}),
    )


def fly_oracle(job: OracleJob, folder: Path) -> list[OracleResult]:
    """Train one policy on what its oracle gives, and fly it in its ways."""
    world, recipe = world_of(folder), recipe_of(job.arm)
    chosen, _ = choose_episodes(recipe, world.pool)
    try:
        controllers = controllers_of(job.trained, recipe, chosen)
    except (SynthesisError, DataError) as error:
        return [OracleResult(flights=None, problem=f"{described(job.trained)[0]}: {error}") for _ in job.flown]
    data = training_set(recipe.policy, chosen, controllers)
    planner = planner_of(recipe, data, train_to_end(recipe, data))
    results = list[OracleResult]()
    for oracle in job.flown:
        flights = judged(world.judge(world.fly(policy_of(oracle, planner, job.arm), seed=job.arm.seed)))
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
    """Radius of the closed loop at hover, and how far the gains are from the true ones."""
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


def _run(folder: Path, job: OracleJob) -> bytes:
    return json.dumps([_plain(result) for result in fly_oracle(job, folder)]).encode()


def _plain(result: OracleResult) -> dict[str, Any]:
    return {**vars(result), "flights": None if result.flights is None else vars(result.flights)}


def _path(folder: Path, job: OracleJob) -> Path:
    return folder / "flights" / f"{job.name}-{world_digest(folder)}.json"


def _read(folder: Path, job: OracleJob) -> list[OracleResult]:
    stored: list[dict[str, Any]] = json.loads(_path(folder, job).read_text())
    return [_result(**plain) for plain in stored]


def _result(flights: dict[str, Any] | None, **rest: Any) -> OracleResult:
    return OracleResult(flights=None if flights is None else Judged(**flights), **rest)
