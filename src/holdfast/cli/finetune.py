"""`holdfast finetune`: a trained policy and an environment with rewards → a better policy."""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from ..errors import RecipeError
from ..learn import load_recipe
from ..learn.finetune import (
    FineTuning,
    Iteration,
    Tuner,
    continue_fine_tuning,
    fine_tune,
    read_origin,
    threads_of,
    tunable_steps,
)
from .console import console, name_files
from .environment import environment_of
from .machine import use_threads
from .places import check_apart
from .progress import stages
from .resuming import ThreadsOption, check_resumed

_OPTIONS = (
    *("steps", "episodes", "denoising_steps", "learning_rate", "critic_learning_rate", "epochs", "clip", "gamma"),
    *("gamma_denoising", "sampling_std", "target_kl", "save_every", "seed"),
)


@dataclass(frozen=True)
class Finetune(ThreadsOption):
    """Fine-tune a cloned policy by policy gradients in an environment with rewards (DPPO).

    Episodes are played with the policy as it is executed, except that every denoising step has at least the noise of
    --sampling-std. Proximal policy optimization (PPO) then raises the probability of the last denoising steps that led
    to more reward than a learned critic expected. The first denoising steps keep their pre-trained weights. Families:
    diffusion and flow; regression as a Gaussian about its chunk, and mixture, both as baselines. Gains and reference
    states are fine-tuned with the actions. The result is a run folder like any other: holdfast evaluate RUN2.
    docs/finetune.md has the formulas.
    """

    run_folder: Annotated[Path | None, tyro.conf.Positional, tyro.conf.arg(metavar="[RUN]")] = None
    """Run folder of a trained policy, which is only read. Required unless --resume is given."""
    out: Annotated[Path | None, tyro.conf.arg(metavar="RUN2")] = None
    """Run folder to create. Required unless --resume is given."""
    resume: Annotated[Path | None, tyro.conf.arg(metavar="RUN2")] = None
    """Run folder of a stopped fine-tuning to continue, in place of RUN and --out. Of the other options, only --threads
    may be given, and --environment, which is needed where the environment is another package's. Default: start a new
    one."""
    environment: Annotated[str | None, tyro.conf.arg(metavar="NAME")] = None
    """Environment with rewards, for example avoid-m1, avoid-m2, avoid-m3, pusht or gym:<id>; docs/environments.md lists
    them. Default: the environment recorded in the training data."""
    steps: int | None = None
    """Number of control steps, summed over episodes; the iteration in which they are reached is completed. Default:
    250000."""
    episodes: int | None = None
    """Episodes of an iteration, played together; their seeds are below 100000. Default: 50."""
    denoising_steps: int | None = None
    """Number of last denoising steps that are fine-tuned; at most the number of steps in which the policy samples.
    Default: half of them, as published."""
    learning_rate: float | None = None
    """Learning rate of the policy. Default: 1e-05."""
    critic_learning_rate: float | None = None
    """Learning rate of the critic. Default: 0.001."""
    epochs: int | None = None
    """Passes over the experience of an iteration, of two updates each. Default: 10."""
    clip: float | None = None
    """Largest change of the ratio of probabilities that counts in an update. Default: 0.1."""
    gamma: float | None = None
    """Discount factor from one plan to the next. Default: 0.99."""
    gamma_denoising: float | None = None
    """Discount factor of the advantage from the last denoising step towards the first. Default: 0.95."""
    sampling_std: float | None = None
    """Smallest standard deviation of a denoising step while episodes are played, where actions are scaled to [-1, 1].
    Default: 0.1."""
    target_kl: float | None = None
    """Estimated divergence from the policy that played at which the updates of an iteration end. Default: 1."""
    save_every: int | None = None
    """Iterations between checkpoints. Default: 1."""
    seed: int | None = None
    """Random seed for the episodes, the noise, the critic and the batches. Default: 0."""
    overwrite: bool = False
    """Replace an existing run in --out, and its results of evaluate and diagnose. Other files in the folder stay."""

    def run(self) -> None:
        """Fine-tune to the end, or to Ctrl-C."""
        if self.resume is not None:
            self._resume(self.resume)
            return
        if self.run_folder is None or self.out is None:
            raise RecipeError("expected RUN and --out RUN2, or --resume RUN2.")
        check_apart(self.out, self.run_folder)
        use_threads(self.threads)
        recipe = load_recipe(self.run_folder)
        environment = environment_of(self.environment, recipe, self.run_folder)
        given = {name: value for name in _OPTIONS if (value := getattr(self, name)) is not None}
        options = FineTuning(**given)
        tuned = tunable_steps(recipe.policy.model, options)
        console.say(
            f"{environment}: {options.episodes} episodes an iteration, {options.steps} control steps in all; "
            f"fine-tuned denoising steps of the {type(recipe.policy.model).__name__}: {tuned}"
        )
        with _progress(options.steps) as show:
            tuner = fine_tune(
                self.run_folder, environment, self.out, options, overwrite=self.overwrite, on_iteration=show
            )
        _conclude(tuner, self.out)

    def _resume(self, folder: Path) -> None:
        check_resumed(
            self,
            folder,
            own="its own policy and options",
            allowed=("threads", "environment"),
            positional={"run_folder": "RUN"},
        )
        options = read_origin(folder).options
        use_threads(threads_of(folder) if self.threads is None else self.threads)
        with _progress(options.steps) as show:
            tuner = continue_fine_tuning(folder, environment=self.environment, on_iteration=show)
        _conclude(tuner, folder)


@contextmanager
def _progress(steps: int) -> Generator[Callable[[Tuner, Iteration], None], None, None]:
    """A bar of the control steps, with one line for each tenth of them."""
    with stages() as stage:
        advance, shown = stage("control steps", steps), -1

        def show(tuner: Tuner, done: Iteration) -> None:
            nonlocal shown
            # a bar of more than 1000 steps ignores numbers that are no multiples of 20
            advance(min(tuner.control_steps, steps) // 20 * 20)
            if (tenth := 10 * tuner.control_steps // steps) > shown or tuner.done:
                shown = tenth
                console.say(f"iteration {tuner.iteration}, {tuner.control_steps} control steps: {_said(done)}")

        yield show


def _said(done: Iteration) -> str:
    success = "" if done.success is None else f", success {done.success:.2f}"
    return f"return {done.mean_return:.2f}{success} while exploring; KL at most {done.kl:.2g}"


def _conclude(tuner: Tuner, folder: Path) -> None:
    """Say what there is, and what to do next."""
    if tuner.last is None:
        console.say(f"all {tuner.options.steps} control steps are done already")
    name_files(folder)
    console.say(f"next: holdfast evaluate {folder} --episodes 200")
