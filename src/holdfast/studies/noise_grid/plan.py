"""Trainings of study noise-grid and their evaluation at every deployment noise.

Equal noise in training and at deployment is the replica policy of Block et al. 2023 (arXiv 2307.14619).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

from ...policy import Policy
from ..engine.jobs import key_of
from ..quadrotor.arms import Arm, Gains, recipe_of
from ..quadrotor.cells import Scored, comparison_of, row_of, scored, world_of
from ..quadrotor.run_arms import train_planners

Cell: TypeAlias = tuple[Gains, int, float, float]
"""Gains, demonstrations, σ in training, σ at deployment."""

BASES = ("the same training without noise at deployment", "no noise at all")


@dataclass(frozen=True)
class NoiseJob:
    """One training with the noise σ of its arm, and the noise levels that it is deployed with."""

    arm: Arm
    deployed: tuple[float, ...]

    @property
    def key(self) -> str:
        return key_of(self.arm.key, self.deployed)


def evaluate_grid(folder: Path, jobs: Sequence[NoiseJob]) -> Iterator[tuple[NoiseJob, list[Scored]]]:
    """Train arms of one shape together and evaluate each with each of its deployment noises."""
    world = world_of(folder)
    trained = train_planners([job.arm for job in jobs], world)
    for job in jobs:
        if (planner := trained.planners.get(job.arm)) is not None:
            quiet = recipe_of(job.arm).policy.execution
            policies = [Policy(planner, execution=replace(quiet, sigma_deploy=sigma)) for sigma in job.deployed]
            flights = world.fly_together(policies, [job.arm.seed] * len(policies))
            yield job, [scored(world.judge(flight)) for flight in flights]
    trained.check()


def rows_of(cells: Mapping[Cell, Sequence[Scored]]) -> list[dict[str, Any]]:
    """One wide row per cell."""
    return [
        {"gains": gains, "n_demos": count, "sigma_train": trained, "sigma_deploy": deployed, **row_of(group)}
        for (gains, count, trained, deployed), group in cells.items()
    ]


def comparisons_of(cells: Mapping[Cell, Sequence[Scored]]) -> list[dict[str, Any]]:
    """Each replica with noise against the same weights deployed without noise, and against no noise at all."""
    found = list[dict[str, Any]]()
    for (gains, count, trained, deployed), group in cells.items():
        if trained != deployed or trained == 0:
            continue
        bases: list[Cell] = [(gains, count, trained, 0.0), (gains, count, 0.0, 0.0)]
        for name, base in zip(BASES, bases, strict=True):
            if base in cells:
                what = {"gains": gains, "n_demos": count, "sigma": trained, "against": name}
                found.append({**what, **comparison_of(group, cells[base])})
    return found
