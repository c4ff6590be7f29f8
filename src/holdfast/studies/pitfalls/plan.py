"""Trainings of study pitfalls: regression, diffusion and chunks on two systems with the same demonstrations.

One training serves both systems (`indistinguishable`), since their data are equal. It is evaluated in both, at several
checkpoints, and the worse of the two counts: no data tell in which of them one is. The error on held-out demonstrations
is measured with it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, assert_never

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
from ..engine.jobs import grouped, key_of

FamilyKind = Literal["regression", "diffusion"]

PAIR = IndistinguishablePair()
CHUNK = 8
SIGMA = 0.3
"""Std of the noise on normalised observations, enough to make the fit so coarse that the closed loop is stable."""
DEMONSTRATIONS, STARTS = 40, 64
MARKS = (0, 30, 100, 300, 1000, 3000, 10_000)
"""Updates after which a training is evaluated."""


@dataclass(frozen=True)
class Checked:
    """One checkpoint in one way of deployment, in one of the two systems.

    Attributes:
        arm: Name of the deployment, a key of `deployments`.
        error: Mean square error of the first action on held-out demonstrations.
        peaks: Cost of each start: largest |p| over the episode.
        largest: Median over starts of the largest |p| so far, at each step.
        lost: Share of episodes that diverged numerically.
        kind: Kind of growth of the distance to the expert.
        rate: Growth factor per step, if the growth is exponential or contracting.
    """

    arm: str
    sign: int
    step: int
    error: float
    peaks: list[float]
    largest: list[float]
    lost: float
    kind: str
    rate: float | None


@dataclass(frozen=True)
class PitfallJob:
    """One training.

    Attributes:
        horizon: Steps of a chunk.
        sigma: Std of the noise on normalised observations in training.
        steps: Control steps of an episode.
    """

    family: FamilyKind
    horizon: int
    sigma: float
    seed: int
    updates: int
    steps: int = 50

    @property
    def key(self) -> str:
        label = f"{self.family}-h{self.horizon}-sigma{self.sigma:g}-seed{self.seed}"
        return key_of(label, self, PAIR, DEMONSTRATIONS, STARTS, MARKS)


def deployments(job: PitfallJob) -> dict[str, Execution]:
    """Names and ways of deployment of a training."""
    once = Execution(n_action_steps=1)
    if job.sigma:
        noised = replace(once, sigma_deploy=job.sigma)
        return {f"{job.family}, noise in training only": once, f"{job.family}, replica noise": noised}
    if job.horizon == 1:
        # diffusion samples are within the range of the data; the mean is not, unless it is clipped
        act = PAIR.demonstrations(PAIR.rotation[None, :, 1], 1).actions[0, 0].abs()
        low, high = (tuple(float(sign * value) for value in act) for sign in (-1, 1))
        bounded = {f"{job.family}, bounded actions": replace(once, action_low=low, action_high=high)}
        return {job.family: once} | (bounded if job.family == "regression" else {})
    return {
        f"{job.family}, plans {CHUNK}, executes {count}": Execution(n_action_steps=count)
        for count in (1, CHUNK // 2, CHUNK)
    }


def by_arm(jobs: Sequence[PitfallJob], results: Sequence[Sequence[Checked]]) -> dict[str, list[list[Checked]]]:
    """Checkpoints of every arm, one list per seed; plain regression comes first, since others are compared with it."""
    arms = grouped(
        (arm, [one for one in checked if one.arm == arm])
        for job, checked in zip(jobs, results, strict=True)
        for arm in deployments(job)
    )
    return dict(sorted(arms.items(), key=lambda item: (item[0] != "regression", not item[0].startswith("regr"))))


def check_job(job: PitfallJob) -> list[Checked]:
    """Train, and evaluate at every mark."""
    recipe, data, held_out = recipe_of(job), *_demonstrations(job)
    prepared = prepare(recipe, data)
    state = initial_state(recipe, prepared)
    found = _check(job, recipe, prepared, state, held_out)
    for following in train(recipe, prepared, state):
        if following.step in MARKS or following.step == job.updates:
            found += _check(job, recipe, prepared, following, held_out)
    return found


def recipe_of(job: PitfallJob) -> Recipe:
    """Recipe of a training."""
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
            steps=job.updates, batch_size=64, warmup_steps=min(100, job.updates), ema_decay=0.99, sigma_train=job.sigma
        ),
        seed=job.seed,
    )


def _demonstrations(job: PitfallJob) -> tuple[Episodes, Trajectory]:
    """Training set and held-out demonstrations, from whose starts policies are evaluated."""
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
    # beyond the width of the task errors have saturated and do not show their growth
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
