"""Many trainings on all cores; each finished one is kept on disk, so that a stopped study goes on where it was."""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch

from ..data import MinMax
from ..learn import choose_episodes, planner_of, prepare, train_to_end
from ..policy import Planner, Policy
from .arms import Arm, NoiseMode, deployments, recipe_of
from .pool import run_kept
from .quadrotor_world import QuadrotorWorld, digest_of_world, expert_jacobians, read_world

__all__ = ["ArmResult", "run_arms"]


@dataclass(frozen=True)
class ArmResult:
    """What came of one training, for one way of deployment, start by start."""

    arm: Arm
    noise: NoiseMode
    score: list[float]
    distance: list[float]
    diverged: list[bool]
    train_seconds: float


def run_arms(
    arms: Sequence[Arm], folder: Path, *, workers: int | None = None, on_done: Callable[[int], None] = lambda done: None
) -> list[ArmResult]:
    """Train and judge all arms; results come in the order of the arms whatever finishes first.

    Args:
        arms: What to train.
        folder: Where the shared world lies (`make_world`) and finished arms are kept.
        workers: Processes, each with one thread; all cores if nothing is said.
        on_done: Called with the number of arms done.
    """
    run_kept(arms, partial(_run, folder), partial(_path, folder), workers=workers, on_done=on_done)
    return [result for arm in arms for result in _read(folder, arm)]


def run_arm(arm: Arm, world: QuadrotorWorld) -> list[ArmResult]:
    """Train one arm and fly it in each of its ways."""
    started = time.perf_counter()
    planner = train_planner(arm, world)
    seconds = time.perf_counter() - started
    results = list[ArmResult]()
    for noise, execution in deployments(arm).items():
        comparison = world.judge(world.fly(Policy(planner, execution=execution), seed=arm.seed))
        results.append(
            ArmResult(
                arm=arm,
                noise=noise,
                score=[float(value) for value in comparison.score],
                distance=[float(value) for value in comparison.distance],
                diverged=[bool(value) for value in comparison.diverged],
                train_seconds=seconds,
            )
        )
    return results


def train_planner(arm: Arm, world: QuadrotorWorld) -> Planner:
    """The trained planner of an arm, with the published defect of its gain scale if the arm has it."""
    recipe = recipe_of(arm)
    data = prepare(recipe, world.pool)
    planner = planner_of(recipe, data, train_to_end(recipe, data))
    if not arm.range_defect or arm.gains == "none":
        return planner
    jacobians = expert_jacobians(world.task, choose_episodes(recipe, world.pool)[0]).flatten(1)
    return replace(planner, code_scale=_with_gain_range(planner.code_scale, jacobians))


def _with_gain_range(scale: MinMax, gains: torch.Tensor) -> MinMax:
    wrong = MinMax.fit(gains)
    plain = scale.low.shape[0] - gains.shape[1]
    return MinMax(low=torch.cat([scale.low[:plain], wrong.low]), high=torch.cat([scale.high[:plain], wrong.high]))


@cache
def _world(folder: Path) -> QuadrotorWorld:
    return read_world(folder)


def _run(folder: Path, arm: Arm) -> bytes:
    results = run_arm(arm, _world(folder / "world"))
    plain = [{key: value for key, value in vars(result).items() if key != "arm"} for result in results]
    return json.dumps(plain).encode()


def _path(folder: Path, arm: Arm) -> Path:
    return folder / "arms" / arm.setting / f"{arm.key}-{digest_of_world(folder / 'world')}.json"


def _read(folder: Path, arm: Arm) -> list[ArmResult]:
    stored: list[dict[str, Any]] = json.loads(_path(folder, arm).read_text())
    return [ArmResult(arm=arm, **plain) for plain in stored]
