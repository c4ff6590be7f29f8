"""Trainings of study butterfly, and the evaluation of their checkpoints.

One training for each kind of cloning, batch size, learning-rate schedule and seed. Checkpoints in its second half are
evaluated, with live weights and with averages of them, from the same held-out starts with the same randomness, so two
checkpoints differ in the weights alone.

Source: Block et al. 2023 (arXiv 2310.11428, "butterfly effects").
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal, TypeAlias

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
from ..engine.jobs import key_of
from ..quadrotor.arms import Arm, Gains, recipe_of
from ..quadrotor.cells import world_of
from ..quadrotor.world import QuadrotorWorld

Family: TypeAlias = Literal["regression", "diffusion"]

AVERAGINGS: tuple[Averaging, ...] = (SteadyDecay(0.9), SteadyDecay(0.99), SteadyDecay(0.999), PolynomialDecay())
SCALES = tuple(float(scale) for scale in range(-10, 11))
"""Points on the line along one update; 0 is the checkpoint, 1 the weights after the update."""
DEMOS = 10


@dataclass(frozen=True)
class Cell:
    """Settings that the seeds of a training share; `schedule` of the learning rate is "held" or "cosine"."""

    gains: Gains
    family: str
    batch: int
    schedule: str


@dataclass(frozen=True)
class Traced:
    """Measurements of one training.

    Attributes:
        seen: Kind of weights → measure → values at the checkpoints.
        line: Measure → values along one update; empty if there is no line.
    """

    seen: dict[str, dict[str, list[float]]]
    line: dict[str, list[float]]
    seconds: float


@dataclass(frozen=True)
class ButterflyJob:
    """One training and its checkpoints.

    Attributes:
        decays: Whether the learning rate decays to zero along a cosine, or is held constant.
        at: Updates of the checkpoints.
        scales: Points on the line along the update after the last checkpoint; without points there is no line.
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
        """Settings that its seeds share."""
        return Cell(self.arm.gains, self.family, self.batch, "cosine" if self.decays else "held")

    @property
    def key(self) -> str:
        label = f"{self.arm.gains}-{self.family}-batch{self.batch}-seed{self.arm.seed}"
        return key_of(label, self, butterfly_recipe(self))


def butterfly_recipe(job: ButterflyJob) -> Recipe:
    """Recipe of the training: its arm's, with its own family, batch size and schedule."""
    recipe = recipe_of(job.arm)
    training = replace(recipe.training, batch_size=job.batch, steps=job.at[-1])
    recipe = replace(recipe, training=training)
    if job.family == "regression" and isinstance(recipe.policy.model, Diffusion):
        # with the same network the families differ only in what is learned
        model = Regression(network=recipe.policy.model.network)
        recipe = replace(recipe, policy=replace(recipe.policy, model=model))
    return recipe if job.decays else hold_rate(recipe, updates=job.at[-1])


def trace_job(folder: Path, job: ButterflyJob) -> list[Traced]:
    """Train, and evaluate each kind of weights at every checkpoint."""
    started, recipe, world = time.perf_counter(), butterfly_recipe(job), world_of(folder)
    data = prepare(recipe, world.pool)
    controllers = attach_controllers(recipe, world.held_out)
    held_out = training_set(recipe.policy, world.held_out, controllers, scales_of=data)
    judge = partial(_judged, world, recipe)
    seen, line = dict[str, dict[str, list[float]]](), dict[str, list[float]]()
    for checkpoint in trace(recipe, data, held_out, at=job.at, averagings=job.averagings):
        for name, weights in checkpoint.snapshots.items():
            _append(seen.setdefault(name, {}), judge(weights))
        if checkpoint.step == job.at[-1] and job.scales:
            # at the end of a cosine there is no further update to go along; such jobs have no line
            points = along_update(recipe, data, held_out, checkpoint.state, scales=job.scales)
            for scale, weights in points:
                _append(line, {"scale": scale, **judge(weights)})
    return [Traced(seen=seen, line=line, seconds=time.perf_counter() - started)]


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


def memories_of(jobs: Sequence[ButterflyJob]) -> dict[str, float]:
    """Number of updates that each average remembers at the end of its training: 1/β."""
    found = {LIVE: 1.0}
    for job in jobs:
        found |= {name_of(one): 1 / (1 - decay_at(one, job.at[-1] - 1)) for one in job.averagings}
    return found


def _append(curves: dict[str, list[float]], values: dict[str, float]) -> None:
    for name, value in values.items():
        curves.setdefault(name, []).append(value)
