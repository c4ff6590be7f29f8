"""Many trainings on all cores, those of one shape as variants."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from ...data import MinMax
from ...errors import DivergedError
from ...learn import choose_episodes, prepare, train_variants_to_end
from ...policy import Planner, Policy
from ..engine.jobs import run_jobs
from ..engine.stored_types import typed_row
from .arms import Arm, NoiseMode, deployments, recipe_of
from .cells import Scored, scored, world_digest, world_of
from .world import QuadrotorWorld, expert_jacobians

GROUP = 16
"""Number of arms that are trained together; more gain little and lose more when a study is killed."""


@dataclass(frozen=True)
class ArmResult(Scored):
    """Scores of one training in one way of deployment, start by start."""

    arm: Arm
    noise: NoiseMode
    train_seconds: float
    """The arm's share of its group's training time [s]."""


def run_arms(
    arms: Sequence[Arm],
    folder: Path,
    *,
    workers: int | None = None,
    device: str = "cpu",
    on_done: Callable[[int], None] = lambda done: None,
) -> list[ArmResult]:
    """Train and evaluate all arms; results come in the order of the arms."""
    in_process = torch.device(device).type != "cpu"
    results = run_jobs(
        arms,
        partial(_work, folder, device),
        folder,
        typed_row(ArmResult, "arm"),
        alike=shape_of,
        size=max(len(arms), 1) if in_process else GROUP,
        tag=world_digest(folder),
        workers=workers,
        in_process=in_process,
        on_done=on_done,
    )
    return [ArmResult(arm=arm, **plain) for arm, found in zip(arms, results, strict=True) for plain in found]


def run_group(
    arms: Sequence[Arm], world: QuadrotorWorld, *, device: str = "cpu"
) -> Iterator[tuple[Arm, list[ArmResult]]]:
    """Train arms of one shape as variants and evaluate each in each of its ways of deployment."""
    started = time.perf_counter()
    trained = train_planners(arms, world, device=device)
    seconds = (time.perf_counter() - started) / len(arms)
    ways: list[tuple[Arm, NoiseMode]] = [(arm, noise) for arm in trained.planners for noise in deployments(arm)]
    policies = [Policy(trained.planners[arm], execution=deployments(arm)[noise]) for arm, noise in ways]
    flights = world.fly_together(policies, [arm.seed for arm, _ in ways], device=device)
    results = dict[Arm, list[ArmResult]]()
    for (arm, noise), flight in zip(ways, flights, strict=True):
        scores = scored(world.judge(flight))
        results.setdefault(arm, []).append(ArmResult(**vars(scores), arm=arm, noise=noise, train_seconds=seconds))
    yield from results.items()
    trained.check()


@dataclass(frozen=True)
class Trained:
    """Planners of the arms whose loss stayed finite, and the error messages of the others."""

    planners: dict[Arm, Planner]
    diverged: tuple[str, ...]

    def check(self) -> None:
        """Raise `DivergedError` if an arm's loss was not finite."""
        if self.diverged:
            raise DivergedError("\n".join(self.diverged))


def train_planners(arms: Sequence[Arm], world: QuadrotorWorld, *, device: str = "cpu") -> Trained:
    """Train arms of one shape together; arms with the published defect get its gain scale."""
    recipes = [recipe_of(arm) for arm in arms]
    sets = [prepare(recipe, world.pool, device=device) for recipe in recipes]
    # on a CPU the stacked networks are as fast without compilation
    variants = train_variants_to_end(recipes, sets, compiled=torch.device(device).type == "cuda")
    planners, diverged = dict[Arm, Planner](), list[str]()
    for index, arm in enumerate(arms):
        try:
            planners[arm] = _as_published(arm, variants.planner(index), world)
        except DivergedError as error:
            diverged.append(f"{arm.key}: {error}")
    return Trained(planners, tuple(diverged))


def shape_of(arm: Arm) -> str:
    """Name of the arm's shape: arms of one shape can be trained as one program."""
    return f"{arm.setting} {arm.gains != 'none'} {arm.film_defect} {arm.steps}"


def _as_published(arm: Arm, planner: Planner, world: QuadrotorWorld) -> Planner:
    if not arm.range_defect or arm.gains == "none":
        return planner
    jacobians = expert_jacobians(world.task, choose_episodes(recipe_of(arm), world.pool)[0]).flatten(1)
    return replace(planner, code_scale=_with_gain_range(planner.code_scale, jacobians))


def _with_gain_range(scale: MinMax, gains: torch.Tensor) -> MinMax:
    wrong = MinMax.fit(gains)
    plain = scale.low.shape[0] - gains.shape[1]
    return MinMax(low=torch.cat([scale.low[:plain], wrong.low]), high=torch.cat([scale.high[:plain], wrong.high]))


def _work(folder: Path, device: str, arms: Sequence[Arm]) -> Iterator[tuple[Arm, list[dict[str, Any]]]]:
    for arm, results in run_group(arms, world_of(folder), device=device):
        yield arm, [{key: value for key, value in vars(result).items() if key != "arm"} for result in results]
