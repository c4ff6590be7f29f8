"""Trainings on stored data, each evaluated in its environment in several ways of deployment, from the same starts."""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from torch import Tensor

from ...data import read
from ...envs import make_environment, rollout
from ...errors import DataError
from ...evaluation import scores_of
from ...learn import planner_of, prepare, train_to_end
from ...policy import Execution, Planner, Policy
from ...recipe import Recipe
from ...types import Episodes
from .jobs import each, key_of, run_jobs
from .plan_cost import PlanCost, plan_cost
from .stored_types import typed_row


@dataclass(frozen=True)
class Trial:
    """One training and its ways of deployment.

    Attributes:
        name: Label of the trial's file.
        deployments: Name → way of deployment.
        first_seed: Seed of the first episode's start, common to all trials of a study.
    """

    name: str
    recipe: Recipe
    deployments: Mapping[str, Execution]
    episodes: int
    first_seed: int

    @property
    def key(self) -> str:
        # the place of the data is no setting; a study's folder belongs to one data set
        recipe = replace(self.recipe, data="")
        return key_of(self.name, recipe, tuple(self.deployments.items()), self.episodes, self.first_seed)


@dataclass(frozen=True)
class TrialResult(PlanCost):
    """Results of one training in one way of deployment, start by start.

    Attributes:
        score: The environment's own score of each episode.
        success: 1 for each solved episode, otherwise 0.
        extra: Further measurements of the environment for each episode; NaN where undefined.
    """

    trial: Trial
    deployment: str
    score: list[float]
    success: list[float]
    extra: dict[str, list[float]]
    train_seconds: float


def run_trials(
    trials: Sequence[Trial],
    folder: Path,
    *,
    workers: int | None = None,
    on_done: Callable[[int], None] = lambda done: None,
) -> list[TrialResult]:
    """Train and evaluate all trials; results come in their order."""
    read = typed_row(TrialResult, "trial")
    results = run_jobs(trials, each(_work), folder, read, workers=workers, on_done=on_done)
    return [TrialResult(trial=trial, **plain) for trial, found in zip(trials, results, strict=True) for plain in found]


def training_seconds(results: Sequence[TrialResult]) -> float:
    """Total training time of all trials [s]."""
    return sum({result.trial.name: result.train_seconds for result in results}.values())


def stored_data(place: str, what: str, *, otherwise: str = "") -> Path:
    """A data set in the folder that the variable HOLDFAST_DATA names. Default: ../shared/data.

    Args:
        place: Its path in the folder.
        what: What it holds, for messages.
        otherwise: What else the study's options allow where it is missing, to follow "or".

    Raises:
        DataError: It does not exist.
    """
    folder = Path(os.environ.get("HOLDFAST_DATA", "../shared/data"))
    if not (folder / place).exists():
        raise DataError(
            f"{folder / place} does not exist; it should hold {what}. Set the variable HOLDFAST_DATA to the folder "
            f"that holds the data sets{otherwise and ', or '}{otherwise}."
        )
    return folder / place


def run_trial(trial: Trial) -> list[TrialResult]:
    """Train one policy and evaluate it in each of its ways of deployment."""
    started = time.perf_counter()
    data = prepare(trial.recipe, _episodes(trial.recipe.data))
    planner = planner_of(trial.recipe, data, train_to_end(trial.recipe, data))
    seconds = time.perf_counter() - started
    cost = plan_cost(planner)
    return [_judge(trial, planner, name, seconds, cost) for name in trial.deployments]


def _judge(trial: Trial, planner: Planner, deployment: str, seconds: float, cost: PlanCost) -> TrialResult:
    environment = make_environment(trial.recipe.environment or "", trial.episodes)
    policy = Policy(planner, execution=trial.deployments[deployment])
    seeds = range(trial.first_seed, trial.first_seed + trial.episodes)
    try:
        found = rollout(policy, environment, starts=seeds, seed=trial.recipe.seed)
    finally:
        environment.close()
    success = found.returns.new_full(found.returns.shape, float("nan")) if found.success is None else found.success
    return TrialResult(
        trial=trial,
        deployment=deployment,
        score=_floats(scores_of(found, environment)),
        success=_floats(success.double()),
        extra={
            name: _floats(values)
            for name, values in {**found.extra, "clipped": found.clipped, "lost": found.escaped.double()}.items()
        },
        train_seconds=seconds,
        **vars(cost),
    )


def _floats(values: Tensor) -> list[float]:
    return [float(value) for value in values]


@cache
def _episodes(path: str) -> Episodes:
    return read(path)


def _work(trial: Trial) -> list[dict[str, Any]]:
    return [{key: value for key, value in vars(result).items() if key != "trial"} for result in run_trial(trial)]
