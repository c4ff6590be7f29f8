"""Noise in training × noise at deployment, on the quadrotor, for cloned gains and for cloned raw actions.

One training for each σ of training noise, flown with every σ of deployment noise from the same held-out starts. Equal
sigmas are the replica policy of Block et al. 2023 (arXiv 2307.14619).
"""

import itertools
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, assert_never

from ...errors import RecipeError
from ...policy import Policy
from ..engine.pool import run_together
from ..quadrotor.arms import Arm, Gains, recipe_of
from ..quadrotor.cells import Judged, Preset, compared, digest_of, judged, kept_world, row_of, world_digest, world_of
from ..quadrotor.run_arms import GROUP, shape_of, train_planners

__all__ = ["NoiseGrid", "NoiseJob", "noise_grid", "plan_noise_grid"]

QUICK_SIGMAS = (0.0, 0.03, 0.1, 0.3)
FULL_SIGMAS = (0.0, 0.01, 0.03, 0.05, 0.1, 0.2, 0.3, 0.5)
QUICK_UPDATES = 1500
"""Half of what `fig5` trains with."""


@dataclass(frozen=True)
class NoiseJob:
    """One training, and the deployment noises that it is flown with.

    Attributes:
        arm: What is trained; its `sigma` is the training noise.
        deployed: Std of the noise on normalised observations at deployment, one flight each.
    """

    arm: Arm
    deployed: tuple[float, ...]

    @property
    def name(self) -> str:
        """What its file is called; another for another recipe, other flights or another version."""
        return f"{self.arm.key}-{digest_of(self.deployed)}"


@dataclass(frozen=True)
class NoiseGrid:
    """The study's values.

    Attributes:
        rows: One flat object a kind of cloning, σ in training and σ at deployment, over its seeds.
        comparisons: Paired: each replica against the same training flown without noise, and against no noise at all.
    """

    rows: list[dict[str, Any]]
    comparisons: list[dict[str, Any]]


_Cell = tuple[Gains, int, float, float]


def plan_noise_grid(
    preset: Preset,
    *,
    seeds: int = 3,
    demos: Sequence[int] | None = None,
    sigmas: Sequence[float] | None = None,
    updates: int | None = None,
) -> list[NoiseJob]:
    """All trainings of a preset.

    Args:
        preset: `quick`: 3 demonstrations, gains along a trajectory or none, half of the usual updates; `full`: 1, 3
            and 10 demonstrations, the expert's own feedback as well, all updates.
        seeds: Training seeds; each also chooses its demonstrations.
        demos: Numbers of demonstrations, in place of the preset's.
        sigmas: Noise levels of both axes, in place of the preset's.
        updates: Of each training, in place of the preset's.

    Raises:
        RecipeError: A σ is named twice: its cell would be counted twice.
    """
    kinds: tuple[Gains, ...]
    match preset:
        case "quick":
            kinds = ("none", "tvlqr")
            counts, levels, steps = demos or (3,), sigmas or QUICK_SIGMAS, updates or QUICK_UPDATES
        case "full":
            kinds = ("none", "tvlqr", "receding")
            counts, levels, steps = demos or (1, 3, 10), sigmas or FULL_SIGMAS, updates
        case _:
            assert_never(preset)
    if len(set(levels)) < len(levels):
        raise RecipeError(f"expected each sigma once, got {', '.join(f'{sigma:g}' for sigma in levels)}.")
    return [
        NoiseJob(Arm("holdfast", count, kind, sigma, seed, steps=steps), tuple(levels))
        for seed, count, kind, sigma in itertools.product(range(seeds), counts, kinds, levels)
    ]


def noise_grid(
    jobs: Sequence[NoiseJob],
    folder: Path,
    *,
    preset: Preset = "quick",
    size: tuple[int, int] | None = None,
    workers: int | None = None,
    on_done: Callable[[int], None] = lambda done: None,
) -> NoiseGrid:
    """Run the study.

    Args:
        jobs: The trainings, from `plan_noise_grid`.
        folder: Where finished trainings are kept; a stopped study goes on from there.
        preset: How large the shared world is.
        size: Demonstrations to choose from and held-out starts, in place of the preset's.
        workers: Processes; all cores if nothing is said.
        on_done: Called with the number of trainings done.
    """
    kept_world(folder, preset, size)
    paths = partial(_path, folder)
    run_together(jobs, partial(_run, folder), paths, alike=_shape, size=GROUP, workers=workers, on_done=on_done)
    cells = dict[_Cell, list[Judged]]()
    for job in jobs:
        for deployed, flown in zip(job.deployed, _read(folder, job), strict=True):
            cells.setdefault((job.arm.gains, job.arm.n_demos, job.arm.sigma, deployed), []).append(flown)
    return NoiseGrid([_row(cell, group) for cell, group in cells.items()], _comparisons(cells))


def fly_grid(jobs: Sequence[NoiseJob], folder: Path) -> Iterator[tuple[NoiseJob, list[Judged]]]:
    """Train arms of one shape as one program and fly each with each of its deployment noises.

    Raises:
        DivergedError: A training's loss was not finite; all others' flights came before.
    """
    world, trained = world_of(folder), train_planners([job.arm for job in jobs], world_of(folder))
    for job in jobs:
        if (planner := trained.planners.get(job.arm)) is not None:
            quiet = recipe_of(job.arm).policy.execution
            policies = [Policy(planner, execution=replace(quiet, sigma_deploy=sigma)) for sigma in job.deployed]
            flights = world.fly_together(policies, [job.arm.seed] * len(policies))
            yield job, [judged(world.judge(flight)) for flight in flights]
    trained.check()


def _row(cell: _Cell, group: Sequence[Judged]) -> dict[str, Any]:
    kind, n_demos, trained, deployed = cell
    return {
        "gains": kind,
        "n_demos": n_demos,
        "sigma_train": trained,
        "sigma_deploy": deployed,
        "replica": trained == deployed,
        **row_of(group),
    }


def _comparisons(cells: dict[_Cell, list[Judged]]) -> list[dict[str, Any]]:
    """Every replica with noise beside the same weights without, and beside a training and flight without."""
    found = list[dict[str, Any]]()
    for (kind, count, trained, deployed), group in cells.items():
        if trained != deployed or trained == 0:
            continue
        bases: dict[str, _Cell] = {
            "the same training, flown without noise": (kind, count, trained, 0.0),
            "no noise at all": (kind, count, 0.0, 0.0),
        }
        found += [
            {"gains": kind, "n_demos": count, "sigma": trained, "against": name, **compared(group, cells[base])}
            for name, base in bases.items()
            if base in cells
        ]
    return found


def _run(folder: Path, jobs: Sequence[NoiseJob]) -> Iterator[tuple[NoiseJob, bytes]]:
    for job, flown in fly_grid(jobs, folder):
        yield job, json.dumps([vars(each) for each in flown]).encode()


def _shape(job: NoiseJob) -> str:
    return shape_of(job.arm)


def _path(folder: Path, job: NoiseJob) -> Path:
    return folder / "flights" / f"{job.name}-{world_digest(folder)}.json"


def _read(folder: Path, job: NoiseJob) -> list[Judged]:
    return [Judged(**plain) for plain in json.loads(_path(folder, job).read_text())]
