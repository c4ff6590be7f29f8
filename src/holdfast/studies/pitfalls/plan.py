"""Regression, diffusion and chunks on two systems whose demonstrations are the same (`indistinguishable`).

One training serves both systems, for their data are equal. It is judged in both, at checkpoints on the way, and what
counts is the worse of the two: no data say in which of them one is. Error on held-out demonstrations stands beside it.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, assert_never

import torch
from jaxtyping import Float
from torch import Tensor

from ...analysis.error_growth import growth
from ...control.systems.indistinguishable import SIGNS, IndistinguishablePair, Sign
from ...data import Actions
from ...envs import SystemEnvironment, rollout
from ...learn import TrainingSet, TrainState, initial_state, planner_of, prepare, train
from ...models import Diffusion, Regression, Sampler
from ...nn import FilmMlp
from ...policy import Execution, Planner, Policy, PolicySpec
from ...recipe import Recipe, Training
from ...seeding import stream
from ...types import Episodes, Observation, Trajectory
from ..engine.pool import run_kept
from ..quadrotor.cells import Preset, digest_of
from .rows import Checked, comparisons_of, curves_of, rows_of

__all__ = ["PitfallJob", "Pitfalls", "pitfalls", "plan_pitfalls"]

CHUNK = 8
SIGMA = 0.3
"""Of normalised observations: the pair's open loop is stable again once noise has made the fit coarse enough."""
DEMONSTRATIONS, STARTS = 40, 64
MARKS = (0, 30, 100, 300, 1000, 3000, 10_000)
"""Updates after which a training is judged, as far as it goes."""

FamilyKind = Literal["regression", "diffusion"]


@dataclass(frozen=True)
class PitfallJob:
    """One training.

    Attributes:
        family: What is learned: the mean, or the law.
        horizon: Steps of a chunk.
        sigma: Std of the noise on normalised observations in training.
        seed: Of the demonstrations, the weights, the batches and the deployment noise.
        updates: Of the training.
        steps: Control steps of an episode, demonstrated or judged.
    """

    family: FamilyKind
    horizon: int
    sigma: float
    seed: int
    updates: int
    steps: int = 50

    @property
    def name(self) -> str:
        """What its file is called; another for another training or version."""
        digest = digest_of(self, PAIR, DEMONSTRATIONS, STARTS, MARKS)
        return f"{self.family}-h{self.horizon}-sigma{self.sigma:g}-seed{self.seed}-{digest}"


@dataclass(frozen=True)
class Pitfalls:
    """The study's values.

    Attributes:
        rows: One flat object an arm, of the last checkpoint, over seeds.
        comparisons: Each arm beside regression, paired by seed and start.
        curves: Error and cost over training, and cost over the horizon, of each arm.
    """

    rows: list[dict[str, Any]]
    comparisons: list[dict[str, Any]]
    curves: list[dict[str, Any]]


PAIR = IndistinguishablePair()


def plan_pitfalls(preset: Preset, *, seeds: int | None = None, updates: int | None = None) -> list[PitfallJob]:
    """All trainings of a preset.

    Args:
        preset: `quick`: 5 seeds, 1,000 updates; `full`: 10 seeds, 10,000 updates.
        seeds: Training seeds, in place of the preset's.
        updates: Of each training, in place of the preset's.
    """
    match preset:
        case "quick":
            count, length = seeds or 5, updates or 1000
        case "full":
            count, length = seeds or 10, updates or 10_000
        case _:
            assert_never(preset)
    kinds: list[tuple[FamilyKind, int, float]] = [
        ("diffusion", 1, 0.0),
        ("diffusion", 1, SIGMA),
        ("diffusion", CHUNK, 0.0),
        ("regression", 1, 0.0),
        ("regression", 1, SIGMA),
        ("regression", CHUNK, 0.0),
    ]
    return [
        PitfallJob(family, horizon, sigma, seed, length) for family, horizon, sigma in kinds for seed in range(count)
    ]


def deployments(job: PitfallJob) -> dict[str, Execution]:
    """The ways in which a training is run."""
    once = Execution(n_action_steps=1)
    if job.sigma:
        noised = replace(once, sigma_deploy=job.sigma)
        return {f"{job.family}, noise in training only": once, f"{job.family}, replica noise": noised}
    if job.horizon == 1:
        # a diffusion sample lies within the range of the data; the mean does not unless it is made to
        act = PAIR.demonstrations(PAIR.rotation[None, :, 1], 1).actions[0, 0].abs()
        low, high = (tuple(float(sign * value) for value in act) for sign in (-1, 1))
        bounded = {f"{job.family}, bounded actions": replace(once, action_low=low, action_high=high)}
        return {job.family: once} | (bounded if job.family == "regression" else {})
    return {
        f"{job.family}, plans {CHUNK}, executes {count}": Execution(n_action_steps=count)
        for count in (1, CHUNK // 2, CHUNK)
    }


def pitfalls(
    jobs: Sequence[PitfallJob],
    folder: Path,
    *,
    workers: int | None = None,
    on_done: Callable[[int], None] = lambda done: None,
) -> Pitfalls:
    """Run the study.

    Args:
        jobs: The trainings, from `plan_pitfalls`.
        folder: Where finished trainings are kept; a stopped study goes on from there.
        workers: Processes; all cores if nothing is said.
        on_done: Called with the number of trainings done.
    """
    run_kept(jobs, _run, partial(_path, folder), workers=workers, on_done=on_done)
    arms = dict[str, list[list[Checked]]]()
    for job in jobs:
        checked = [Checked(**plain) for plain in json.loads(_path(folder, job).read_text())]
        for arm in deployments(job):
            arms.setdefault(arm, []).append([one for one in checked if one.arm == arm])
    # regression first, then what is to be compared with it
    ordered = dict(sorted(arms.items(), key=lambda item: (item[0] != "regression", not item[0].startswith("regr"))))
    return Pitfalls(rows_of(ordered), comparisons_of(ordered), curves_of(ordered))


def check_job(job: PitfallJob) -> list[Checked]:
    """Train, and judge at every mark."""
    recipe, data, held_out = recipe_of(job), *_demonstrations(job)
    prepared = prepare(recipe, data)
    state = initial_state(recipe, prepared)
    found = _check(job, recipe, prepared, state, held_out)
    for following in train(recipe, prepared, state):
        if following.step in MARKS or following.step == job.updates:
            found += _check(job, recipe, prepared, following, held_out)
    return found


def recipe_of(job: PitfallJob) -> Recipe:
    """Everything that a training depends on."""
    network = FilmMlp(widths=(64, 64), activation="mish", bounded=False)
    match job.family:
        case "regression":
            model = Regression(network)
        case "diffusion":
            model = Diffusion(network, sampler=Sampler(steps=5, eta=1.0))
        case _:
            assert_never(job.family)
    return Recipe(
        policy=PolicySpec(
            n_states=2,
            n_actions=2,
            n_observed=2,
            codec=Actions(),
            model=model,
            n_obs_steps=1,
            horizon=job.horizon,
            execution=Execution(n_action_steps=1),
        ),
        training=Training(
            steps=job.updates,
            batch_size=64,
            warmup_steps=min(100, job.updates),
            ema_decay=0.99,
            sigma_train=job.sigma,
        ),
        seed=job.seed,
    )


def _demonstrations(job: PitfallJob) -> tuple[Episodes, Trajectory]:
    """To train on, and held out; judged from the held-out starts."""
    flown = [
        PAIR.demonstrations(PAIR.initial_states(count, rng=stream(seed, "pitfalls", what)), job.steps)
        for count, seed, what in ((DEMONSTRATIONS, job.seed, "demonstrations"), (STARTS, 0, "held out"))
    ]
    return Episodes.of(flown[0], dt=1.0, system="indistinguishable"), flown[1]


def _check(
    job: PitfallJob, recipe: Recipe, data: TrainingSet, state: TrainState, held_out: Trajectory
) -> list[Checked]:
    planner = planner_of(recipe, data, state)
    error = _error(planner, held_out, job.seed)
    return [
        _fly(job, arm, Policy(planner, execution=execution), sign, state.step, error, held_out)
        for arm, execution in deployments(job).items()
        for sign in SIGNS
    ]


def _fly(
    job: PitfallJob, arm: str, policy: Policy, sign: Sign, step: int, error: float, held_out: Trajectory
) -> Checked:
    flown = rollout(
        policy, SystemEnvironment(PAIR.system(sign), steps=job.steps), starts=held_out.states[:, 0], seed=job.seed
    )
    largest: Float[Tensor, "b t"] = PAIR.distance_from_data(flown.trajectory.states).cummax(1).values
    # what is farther than the task is wide has saturated, and no longer tells how errors grow
    grown = growth(held_out, flown.trajectory, lost=flown.lost, ceiling=1.0, resamples=50)
    factor = grown.rate.mean if grown.rate is not None and grown.kind in ("exponential", "contracting") else None
    return Checked(
        arm=arm,
        sign=sign,
        step=step,
        error=error,
        peaks=[float(value) for value in largest[:, -1]],
        largest=[float(value) for value in largest.quantile(0.5, dim=0)],
        lost=float(flown.escaped.double().mean()),
        kind=grown.kind,
        rate=factor,
    )


@torch.no_grad()
def _error(planner: Planner, held_out: Trajectory, seed: int) -> float:
    windows = Observation(state=held_out.states[:, :-1].flatten(0, 1)[:, None])
    actions = planner.plan(windows, rng=stream(seed, "held-out error")).actions[:, 0]
    return float((actions - held_out.actions.flatten(0, 1)).square().sum(-1).mean())


def _run(job: PitfallJob) -> bytes:
    return json.dumps([vars(one) for one in check_job(job)]).encode()


def _path(folder: Path, job: PitfallJob) -> Path:
    return folder / "trainings" / f"{job.name}.json"
