"""Trainings on stored data, each judged in its environment in several ways of deployment, from the same starts."""

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

from torch import Tensor

from ... import __version__
from ...data import read
from ...envs import make_environment, rollout
from ...evaluation import scores_of
from ...learn import planner_of, prepare, train_to_end
from ...policy import Execution, Planner, Policy
from ...recipe import Recipe
from ...schema import to_plain
from ...types import Episodes
from .plan_cost import PlanCost, plan_cost
from .pool import run_kept

__all__ = ["Trial", "TrialResult", "run_trials"]


@dataclass(frozen=True)
class Trial:
    """One training and what is to be tried with it.

    Attributes:
        name: What files of it are called.
        recipe: What is trained, on which data; its `environment` is where it is judged.
        deployments: Name → how the trained policy is run.
        episodes: Episodes of each deployment.
        first_seed: Of the episodes' starts; all trials of a study share them.
    """

    name: str
    recipe: Recipe
    deployments: Mapping[str, Execution]
    episodes: int
    first_seed: int

    @property
    def key(self) -> str:
        """A name for files: a trial has another when its recipe, its deployments or holdfast's version change."""
        # where the data lie says nothing of what they are; the study's folder is for one set of data
        recipe = to_plain(replace(self.recipe, data=""))
        ways = {name: to_plain(way) for name, way in self.deployments.items()}
        plain = json.dumps([__version__, recipe, ways, self.episodes, self.first_seed], sort_keys=True)
        return f"{self.name}-{hashlib.sha256(plain.encode()).hexdigest()[:10]}"


@dataclass(frozen=True)
class TrialResult:
    """What came of one deployment of one training, start by start.

    Attributes:
        trial: What was tried.
        deployment: Which of its deployments.
        score: The environment's own score of each episode.
        success: 1 where an episode was solved.
        extra: What else the environment measured in each episode; NaN where it could not.
        train_seconds: Time spent in training.
        parameters: Of the model.
        network_calls: Of one plan.
        plan_ms: Median time of one plan for one observation [ms].
    """

    trial: Trial
    deployment: str
    score: list[float]
    success: list[float]
    extra: dict[str, list[float]]
    train_seconds: float
    parameters: int
    network_calls: int
    plan_ms: float


def run_trials(
    trials: Sequence[Trial],
    folder: Path,
    *,
    workers: int | None = None,
    on_done: Callable[[int], None] = lambda done: None,
) -> list[TrialResult]:
    """Train and judge all trials; results come in their order whatever finishes first.

    Args:
        trials: What to train and to try.
        folder: Where finished trials are kept; a stopped study goes on from there.
        workers: Processes, each with one thread; all cores if nothing is said.
        on_done: Called with the number of trials done.
    """
    run_kept(trials, _run, partial(_path, folder), workers=workers, on_done=on_done)
    return [result for trial in trials for result in _read(folder, trial)]


def run_trial(trial: Trial) -> list[TrialResult]:
    """Train one policy and run it in each of its ways."""
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
        parameters=cost.parameters,
        network_calls=cost.network_calls,
        plan_ms=cost.plan_ms,
    )


def _floats(values: Tensor) -> list[float]:
    return [float(value) for value in values]


@cache
def _episodes(path: str) -> Episodes:
    return read(path)


def _run(trial: Trial) -> bytes:
    plain = [{key: value for key, value in vars(result).items() if key != "trial"} for result in run_trial(trial)]
    return json.dumps(plain).encode()


def _path(folder: Path, trial: Trial) -> Path:
    return folder / "trials" / f"{trial.key}.json"


def _read(folder: Path, trial: Trial) -> list[TrialResult]:
    stored: list[dict[str, Any]] = json.loads(_path(folder, trial).read_text())
    return [TrialResult(trial=trial, **plain) for plain in stored]
