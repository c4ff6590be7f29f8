"""Many trainings on all cores, those of one shape as variants.

Each finished one is kept on disk, so that a stopped study goes on where it was.
"""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch

from ...data import MinMax
from ...errors import DivergedError
from ...evaluation import Comparison
from ...learn import choose_episodes, prepare, train_variants_to_end
from ...policy import Planner, Policy
from ..engine.pool import run_together
from .arms import Arm, NoiseMode, deployments, recipe_of
from .world import QuadrotorWorld, digest_of_world, expert_jacobians, read_world

__all__ = ["GROUP", "ArmResult", "run_arms", "shape_of", "train_planners"]

GROUP = 16
"""Arms that are trained and flown as one: more gain little and lose more when a study is killed."""


@dataclass(frozen=True)
class ArmResult:
    """What came of one training, for one way of deployment, start by start."""

    arm: Arm
    noise: NoiseMode
    score: list[float]
    distance: list[float]
    diverged: list[bool]
    train_seconds: float
    """This arm's share of the time in which its group was trained."""


def run_arms(
    arms: Sequence[Arm],
    folder: Path,
    *,
    workers: int | None = None,
    device: str = "cpu",
    on_done: Callable[[int], None] = lambda done: None,
) -> list[ArmResult]:
    """Train and judge all arms; results come in the order of the arms whatever finishes first.

    Args:
        arms: What to train.
        folder: Where the shared world lies (`make_world`) and finished arms are kept.
        workers: Processes, each with one thread; all cores if nothing is said.
        device: On a graphics card all arms of a shape are trained as one program, in this process.
        on_done: Called with the number of arms done.
    """
    paths = partial(_path, folder)
    here = torch.device(device).type != "cpu"
    run_together(
        arms,
        partial(_run, folder, device),
        paths,
        alike=shape_of,
        size=max(len(arms), 1) if here else GROUP,
        workers=workers,
        here=here,
        on_done=on_done,
    )
    return [result for arm in arms for result in _read(folder, arm)]


def run_group(
    arms: Sequence[Arm], world: QuadrotorWorld, *, device: str = "cpu"
) -> Iterator[tuple[Arm, list[ArmResult]]]:
    """Train arms of one shape as variants and fly each in each of its ways.

    Raises:
        DivergedError: A training's loss was not finite; all others' results came before.
    """
    started = time.perf_counter()
    trained = train_planners(arms, world, device=device)
    seconds = (time.perf_counter() - started) / len(arms)
    ways: list[tuple[Arm, NoiseMode]] = [(arm, noise) for arm in trained.planners for noise in deployments(arm)]
    policies = [Policy(trained.planners[arm], execution=deployments(arm)[noise]) for arm, noise in ways]
    flights = world.fly_together(policies, [arm.seed for arm, _ in ways], device=device)
    results = dict[Arm, list[ArmResult]]()
    for (arm, noise), flight in zip(ways, flights, strict=True):
        results.setdefault(arm, []).append(_result(arm, noise, world.judge(flight), seconds))
    yield from results.items()
    trained.check()


@dataclass(frozen=True)
class Trained:
    """What came of arms that were trained as one.

    Attributes:
        planners: Of each arm whose loss stayed finite.
        diverged: What the others say.
    """

    planners: dict[Arm, Planner]
    diverged: tuple[str, ...]

    def check(self) -> None:
        """Raise `DivergedError` if an arm's loss was not finite."""
        if self.diverged:
            raise DivergedError("\n".join(self.diverged))


def train_planners(arms: Sequence[Arm], world: QuadrotorWorld, *, device: str = "cpu") -> Trained:
    """The trained planners of arms of one shape, with the published defect of its gain scale where an arm has it."""
    recipes = [recipe_of(arm) for arm in arms]
    sets = [prepare(recipe, world.pool, device=device) for recipe in recipes]
    # on a processor the stacked networks are as fast without
    variants = train_variants_to_end(recipes, sets, compiled=torch.device(device).type == "cuda")
    planners, diverged = dict[Arm, Planner](), list[str]()
    for index, arm in enumerate(arms):
        try:
            planners[arm] = _as_published(arm, variants.planner(index), world)
        except DivergedError as error:
            diverged.append(f"{arm.key}: {error}")
    return Trained(planners, tuple(diverged))


def shape_of(arm: Arm) -> str:
    """Arms that say the same here can be trained as one program."""
    return f"{arm.setting} {arm.gains != 'none'} {arm.film_defect} {arm.steps}"


def _result(arm: Arm, noise: NoiseMode, comparison: Comparison, seconds: float) -> ArmResult:
    return ArmResult(
        arm=arm,
        noise=noise,
        score=[float(value) for value in comparison.score],
        distance=[float(value) for value in comparison.distance],
        diverged=[bool(value) for value in comparison.diverged],
        train_seconds=seconds,
    )


def _as_published(arm: Arm, planner: Planner, world: QuadrotorWorld) -> Planner:
    if not arm.range_defect or arm.gains == "none":
        return planner
    jacobians = expert_jacobians(world.task, choose_episodes(recipe_of(arm), world.pool)[0]).flatten(1)
    return replace(planner, code_scale=_with_gain_range(planner.code_scale, jacobians))


def _with_gain_range(scale: MinMax, gains: torch.Tensor) -> MinMax:
    wrong = MinMax.fit(gains)
    plain = scale.low.shape[0] - gains.shape[1]
    return MinMax(low=torch.cat([scale.low[:plain], wrong.low]), high=torch.cat([scale.high[:plain], wrong.high]))


@cache
def _world(folder: Path) -> QuadrotorWorld:
    return read_world(folder)


def _run(folder: Path, device: str, arms: Sequence[Arm]) -> Iterator[tuple[Arm, bytes]]:
    for arm, results in run_group(arms, _world(folder / "world"), device=device):
        plain = [{key: value for key, value in vars(result).items() if key != "arm"} for result in results]
        yield arm, json.dumps(plain).encode()


def _path(folder: Path, arm: Arm) -> Path:
    return folder / "arms" / arm.setting / f"{arm.key}-{digest_of_world(folder / 'world')}.json"


def _read(folder: Path, arm: Arm) -> list[ArmResult]:
    stored: list[dict[str, Any]] = json.loads(_path(folder, arm).read_text())
    return [ArmResult(arm=arm, **plain) for plain in stored]
