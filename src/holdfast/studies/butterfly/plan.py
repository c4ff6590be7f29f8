"""Does the loss of a cloned quadrotor stand still while its flights oscillate from checkpoint to checkpoint?

One training for each kind of cloning, size of minibatches, schedule of the learning rate and seed; over its second half
it is looked at again and again, in live weights and in averages of them, all flown from the same held-out starts with
the same randomness. What differs between two checkpoints is therefore the weights alone.

Claimed by Block et al. 2023 (arXiv 2310.11428, "butterfly effects").
"""

import itertools
import json
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeAlias, assert_never

from ...errors import RecipeError
from ...learn import attach_controllers, prepare, training_set
from ...learn.tracing import (
    LIVE,
    Averaging,
    PolynomialDecay,
    Snapshot,
    SteadyDecay,
    along_update,
    decay_at,
    hold_rate,
    name_of,
    trace,
)
from ...models import Regression
from ...models.diffusion import Diffusion
from ...policy import Policy
from ...recipe import Recipe
from ..engine.pool import run_kept
from ..quadrotor.arms import Arm, Gains, recipe_of
from ..quadrotor.cells import Preset, digest_of, kept_world, world_digest, world_of
from ..quadrotor.world import QuadrotorWorld
from .rows import Cell, Traced, comparisons_of, landscapes_of, rows_of

__all__ = ["Butterfly", "ButterflyJob", "butterfly", "butterfly_recipe", "plan_butterfly", "trace_job"]

Family: TypeAlias = Literal["regression", "diffusion"]

AVERAGINGS: tuple[Averaging, ...] = (SteadyDecay(0.9), SteadyDecay(0.99), SteadyDecay(0.999), PolynomialDecay())
SCALES = tuple(float(scale) for scale in range(-10, 11))
"""Of the line along one update; 0 is the checkpoint, 1 the weights after the update."""
QUICK_UPDATES, FULL_UPDATES = 1200, 6000
QUICK_CHECKPOINTS, FULL_CHECKPOINTS = 20, 60
FEWEST_CHECKPOINTS = 10
DEMOS = 10


@dataclass(frozen=True)
class ButterflyJob:
    """One training and what is seen of it.

    Attributes:
        arm: What is cloned, from how many demonstrations, by which seed, for how many updates.
        family: A regression on chunks, the setting of the claim, or a diffusion model.
        batch: Windows an update.
        decays: Whether the learning rate falls to zero along a cosine, or holds still.
        at: Updates at which the training is looked at.
        averagings: The averages beside the live weights.
        scales: Points of the line along the update after the last checkpoint; none, and there is no line.
    """

    arm: Arm
    family: Family
    batch: int
    decays: bool
    at: tuple[int, ...]
    averagings: tuple[Averaging, ...] = AVERAGINGS
    scales: tuple[float, ...] = ()

    @property
    def cell(self) -> Cell:
        """What its seeds have in common."""
        return Cell(self.arm.gains, self.family, self.batch, "cosine" if self.decays else "held")

    @property
    def name(self) -> str:
        """What its file is called; another for another recipe, other checkpoints or another version."""
        return f"{self.arm.gains}-{self.family}-batch{self.batch}-seed{self.arm.seed}-{digest_of(self, self._recipe)}"

    @property
    def _recipe(self) -> Recipe:
        return butterfly_recipe(self)


@dataclass(frozen=True)
class Butterfly:
    """The study's values.

    Attributes:
        rows: One flat object a cell and kind of weights, over its seeds: see `rows_of`.
        comparisons: Live weights of each cell beside the smallest batch at a held rate, and beside raw actions.
        landscapes: Loss and score along one update, with their roughness.
        traces: Every curve, one a training and kind of weights.
    """

    rows: list[dict[str, Any]]
    comparisons: list[dict[str, Any]]
    landscapes: list[dict[str, Any]]
    traces: list[dict[str, Any]]


def plan_butterfly(
    preset: Preset,
    *,
    seeds: int | None = None,
    updates: int | None = None,
    checkpoints: int | None = None,
    batches: Sequence[int] | None = None,
) -> list[ButterflyJob]:
    """All trainings of a preset, on 10 demonstrations.

    Args:
        preset: `quick`: regression on raw actions and on gains, minibatches of 8 and of 64 windows, a decaying rate
            for those of 8, and diffusion on gains for those of 8 at a held rate; `full`: both families of both, four
            sizes, each with and without decay, five times the updates.
        seeds: Training seeds; 3 in quick and 5 in full if nothing is said.
        updates: Of each training, in place of the preset's.
        checkpoints: Over the second half of each training, in place of the preset's.
        batches: Sizes of minibatches, in place of the preset's.

    Raises:
        RecipeError: A size is named twice, or fewer than 10 checkpoints are asked for, or more than there are updates.
    """
    match preset:
        case "quick":
            sizes, count, steps, looks = batches or (8, 64), seeds or 3, QUICK_UPDATES, QUICK_CHECKPOINTS
        case "full":
            sizes, count, steps, looks = batches or (8, 32, 128, 512), seeds or 5, FULL_UPDATES, FULL_CHECKPOINTS
        case _:
            assert_never(preset)
    if len(set(sizes)) < len(sizes):
        raise RecipeError(f"expected each batch size once, got {', '.join(map(str, sizes))}.")
    at, small = _second_half(updates or steps, checkpoints or looks), min(sizes)
    return [
        ButterflyJob(
            arm=Arm("holdfast", DEMOS, cell.gains, 0.0, seed, steps=at[-1]),
            family="regression" if cell.family == "regression" else "diffusion",
            batch=cell.batch,
            decays=cell.schedule == "cosine",
            at=at,
            scales=SCALES if seed == 0 and cell.batch == small and cell.schedule == "held" else (),
        )
        for seed, cell in itertools.product(range(count), _cells(preset, sizes))
    ]


def butterfly(
    jobs: Sequence[ButterflyJob],
    folder: Path,
    *,
    preset: Preset = "quick",
    size: tuple[int, int] | None = None,
    workers: int | None = None,
    on_done: Callable[[int], None] = lambda done: None,
) -> Butterfly:
    """Run the study.

    Args:
        jobs: The trainings, from `plan_butterfly`.
        folder: Where finished trainings are kept; a stopped study goes on from there.
        preset: How large the shared world is.
        size: Demonstrations to choose from and held-out starts, in place of the preset's.
        workers: Processes; all cores if nothing is said.
        on_done: Called with the number of trainings done.
    """
    kept_world(folder, preset, size)
    run_kept(jobs, partial(_run, folder), partial(_path, folder), workers=workers, on_done=on_done)
    cells = dict[Cell, list[Traced]]()
    for job in jobs:
        cells.setdefault(job.cell, []).append(_read(folder, job))
    traces = [
        {**vars(cell), "seed": job.arm.seed, "weights": weights, "step": list(job.at), **curves}
        for job in jobs
        for cell in [job.cell]
        for weights, curves in _read(folder, job).seen.items()
    ]
    return Butterfly(rows_of(cells, _memories(jobs)), comparisons_of(cells), landscapes_of(cells), traces)


def butterfly_recipe(job: ButterflyJob) -> Recipe:
    """A job's recipe: that of its arm, with its family, batches and schedule."""
    recipe = recipe_of(job.arm)
    training = replace(recipe.training, batch_size=job.batch, steps=job.at[-1])
    recipe = replace(recipe, training=training)
    if job.family == "regression" and isinstance(recipe.policy.model, Diffusion):
        # the same network, so that the families differ by what is learned and not by what learns
        model = Regression(network=recipe.policy.model.network)
        recipe = replace(recipe, policy=replace(recipe.policy, model=model))
    return recipe if job.decays else hold_rate(recipe, updates=job.at[-1])


def trace_job(job: ButterflyJob, world: QuadrotorWorld) -> Traced:
    """Train, look at the checkpoints, fly each kind of weights."""
    started, recipe = time.perf_counter(), butterfly_recipe(job)
    data = prepare(recipe, world.pool)
    controllers = attach_controllers(recipe, world.held_out)
    held_out = training_set(recipe.policy, world.held_out, controllers, scales_of=data)
    judge = partial(_judged, world, recipe)
    seen, line = dict[str, dict[str, list[float]]](), dict[str, list[float]]()
    for checkpoint in trace(recipe, data, held_out, at=job.at, averagings=job.averagings):
        for name, weights in checkpoint.snapshots.items():
            _append(seen.setdefault(name, {}), judge(weights))
        if checkpoint.step == job.at[-1] and job.scales:
            # where a cosine has ended there is no step to go along; such jobs ask for no line
            points = along_update(recipe, data, held_out, checkpoint.state, scales=job.scales)
            for scale, weights in points:
                _append(line, {"scale": scale, **judge(weights)})
    return Traced(seen=seen, line=line, seconds=time.perf_counter() - started)


def _judged(world: QuadrotorWorld, recipe: Recipe, weights: Snapshot) -> dict[str, float]:
    policy = Policy(weights.planner, execution=recipe.policy.execution)
    found = world.judge(world.fly(policy, seed=recipe.seed))
    return {
        "training_loss": weights.training_loss,
        "held_out_loss": weights.held_out_loss,
        "unexplained": weights.unexplained,
        "score": float(found.score.mean()),
        "distance": float(found.distance.quantile(0.5)),
        "diverged": float(found.diverged.double().mean()),
    }


def _memories(jobs: Sequence[ButterflyJob]) -> dict[str, float]:
    """How many updates each average remembers at the end of its training: 1/β."""
    found = {LIVE: 1.0}
    for job in jobs:
        found |= {name_of(one): 1 / (1 - decay_at(one, job.at[-1] - 1)) for one in job.averagings}
    return found


def _append(curves: dict[str, list[float]], values: dict[str, float]) -> None:
    for name, value in values.items():
        curves.setdefault(name, []).append(value)


def _cells(preset: Preset, sizes: Sequence[int]) -> Iterable[Cell]:
    kinds: tuple[Gains, ...] = ("none", "tvlqr")
    if preset == "full":
        for gains, family, batch, schedule in itertools.product(
            kinds, ("regression", "diffusion"), sizes, ("held", "cosine")
        ):
            yield Cell(gains, family, batch, schedule)
        return
    small = min(sizes)
    for gains in kinds:
        yield from (Cell(gains, "regression", batch, "held") for batch in sizes)
        yield Cell(gains, "regression", small, "cosine")
    yield Cell("tvlqr", "diffusion", small, "held")


def _second_half(updates: int, checkpoints: int) -> tuple[int, ...]:
    """Checkpoints at equal distances, the last at the end."""
    every = updates // 2 // checkpoints if checkpoints else 0
    if checkpoints < FEWEST_CHECKPOINTS or every < 1:
        raise RecipeError(
            f"expected at least {FEWEST_CHECKPOINTS} checkpoints, and half as many updates or more, got {checkpoints} "
            f"checkpoints in {updates} updates."
        )
    return tuple(updates - every * back for back in reversed(range(checkpoints)))


def _run(folder: Path, job: ButterflyJob) -> bytes:
    return json.dumps(vars(trace_job(job, world_of(folder)))).encode()


def _path(folder: Path, job: ButterflyJob) -> Path:
    return folder / "traces" / f"{job.name}-{world_digest(folder)}.json"


def _read(folder: Path, job: ButterflyJob) -> Traced:
    return Traced(**json.loads(_path(folder, job).read_text()))
