"""`holdfast evaluate`: closed loop, with intervals."""

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import tyro

from ..control import SYSTEMS, system
from ..errors import RecipeError
from ..evaluate import ENVIRONMENTS, Estimate, Evaluation, episode_steps, evaluate
from ..learn import load_recipe
from ..policy import Policy
from ..report import draw_errors, write_result
from .console import claim_folder, name_files, show_table, stages
from .machine import usable_device

__all__ = ["Evaluate"]


@dataclass(frozen=True)
class Evaluate:
    """Run a trained policy in its environment and say how well it does, with 95 % intervals.

    On a built-in system the expert flies from the same starts: `score` is the ratio of their summed rewards, `distance`
    the median over episodes of the time-averaged state error, `diverged` the share of episodes that left the expert by
    more than 10. On Push-T `score` is the mean largest coverage, clipped at 0.95 and divided by it, and `success` the
    share of episodes above 0.95, on the published test seeds.
    """

    run_folder: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """The run folder."""
    episodes: int = 50
    """How many episodes."""
    out: Path | None = None
    """Folder for result.json and pictures; the run's own folder `evaluation`, replaced, if nothing is said."""
    seed: int = 0
    """Of the initial states and of the policy's noise."""
    environment: str | None = None
    """Where to run it; the environment that its data came from, if nothing is said."""
    n_action_steps: int | None = None
    """Steps executed before the next plan, in place of the run's own number."""
    sigma_deploy: float | None = None
    """Std of the deployment noise, in place of the run's own."""
    device: str = "cpu"
    """Where the network runs: cpu or cuda."""
    overwrite: bool = False
    """Replace results that lie in the folder."""

    def run(self) -> None:
        """Evaluate, show a table, write result.json."""
        if self.episodes < 1:
            raise RecipeError(f"expected at least 1 episode, got {self.episodes}.")
        recipe = load_recipe(self.run_folder)
        environment = self.environment or recipe.environment
        if environment is None:
            raise RecipeError(
                f"the data of {self.run_folder} name no environment. Give one with --environment: "
                f"{', '.join(ENVIRONMENTS)}."
            )
        policy = self.policy()
        out = claim_folder(self.out or self.run_folder / "evaluation", overwrite=self.overwrite or self.out is None)
        started = time.perf_counter()
        with stages() as stage:
            advance = stage(f"{self.episodes} episodes", episode_steps(environment))
            found = evaluate(policy, environment, episodes=self.episodes, seed=self.seed, on_step=advance)
        values: dict[str, Any] = {
            **found.estimates,
            "environment": environment,
            "episodes": self.episodes,
            "seed": self.seed,
            "recipe": replace(recipe, policy=policy.spec),
            "seconds": time.perf_counter() - started,
        }
        show_table(
            f"{environment}, {self.episodes} episodes, 95 % intervals",
            ["", "estimate", "low", "high"],
            [_row(name, estimate) for name, estimate in found.estimates.items()],
        )
        name_files(write_result(out / "result.json", values), *_pictures(found, out))

    def policy(self) -> Policy:
        """The run's policy, executed as asked for."""
        policy = Policy.from_pretrained(self.run_folder, device=usable_device(self.device), seed=self.seed)
        execution = policy.spec.execution
        if self.n_action_steps is not None:
            execution = replace(execution, n_action_steps=self.n_action_steps)
        if self.sigma_deploy is not None:
            execution = replace(execution, sigma_deploy=self.sigma_deploy)
        return Policy(policy.planner, execution=execution, seed=self.seed)


def _row(name: str, estimate: Estimate) -> list[str]:
    return [name, *(f"{value:.3f}" for value in (estimate.mean, estimate.low, estimate.high))]


def _pictures(found: Evaluation, out: Path) -> list[Path]:
    if found.comparison is None or found.environment not in SYSTEMS:
        return []
    times = [system(found.environment).dt * (step + 1) for step in range(found.comparison.error.shape[1])]
    return [draw_errors(out / "errors.png", times, {"policy": found.comparison.error})]
