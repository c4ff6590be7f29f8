"""`holdfast compare`: several runs from the same starts, with paired intervals."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import torch
import tyro

from ..control import SYSTEMS
from ..devices import usable_device
from ..envs import FIRST_TEST_SEED, cameras_of, make_environment, with_pictures
from ..errors import RecipeError, RunError
from ..evaluation import Arm, differences, evaluate
from ..learn import load_recipe, seed_folders
from ..policy import Policy
from .compare_results import Comparison, show, write_comparison
from .console import name_files, results_folder
from .environment import check_first_seed, environment_of
from .places import check_apart
from .progress import Advance, stages


@dataclass(frozen=True)
class Compare:
    """Compare trained policies from the same starts, with 95 % intervals of their differences.

    Every policy runs from the same starts with the same random numbers, so that a difference is paired: start by start,
    and training by training where an argument is a folder of several seeds (`train --seeds`). `score` is that of
    `holdfast evaluate`. The intervals of the differences hold together with 95 %: with m differences each holds with a
    probability of 1 - 0.05/m (Bonferroni). Differences of scores that are 0 or 1 have Tango's interval for paired
    rates (1998), all others Student's, and with several trainings the widest of these, of Student's interval over
    trainings, and of a bootstrap over trainings and starts. One training each says nothing about other trainings of the
    same recipes, and the result says so.
    """

    runs: Annotated[
        tuple[Path, ...],
        tyro.conf.Positional,
        tyro.conf.arg(metavar="RUN RUN ...", help_behavior_hint="(at least two)"),
    ]
    """Run folders, or folders of several seeds of one recipe, each with the same number of seeds."""
    out: Annotated[Path, tyro.conf.arg(metavar="DIR")] = Path("comparison")
    """Folder for result.json, the picture and the page."""
    episodes: int = 50
    """Number of episodes of each run. More give narrower intervals."""
    against_first: bool = False
    """Compare the others with the first run only, and not with one another: fewer differences have narrower
    intervals."""
    seed: int = 0
    """Random seed for the noise of the policies and, on a built-in system, for the initial states."""
    first_seed: int | None = None
    """Seed of the first episode. It is not available on built-in systems, where --seed selects the initial states. Use
    seeds below 100000 to choose among policies, and others to report. Default: 100000, the first test seed."""
    environment: Annotated[str | None, tyro.conf.arg(metavar="NAME")] = None
    """Environment or built-in system in which to run the policies. Default: the one recorded in the training data,
    which must be the same for all."""
    device: str = "cpu"
    """Device on which the networks run: cpu or cuda."""
    overwrite: bool = False
    """Replace existing results in the folder given as --out."""

    def run(self) -> None:
        """Evaluate all runs, show tables, write result.json, a picture and a page."""
        arms = self._arms()
        environment = self._environment(arms)
        check_first_seed(self.first_seed, environment)
        check_apart(self.out, *self.runs)
        with results_folder(self.out, overwrite=self.overwrite, purpose="comparing into") as opened:
            started = time.perf_counter()
            first = FIRST_TEST_SEED if self.first_seed is None else self.first_seed
            scores = [Arm(name, self._scores(name, folders, environment)) for name, folders in arms.items()]
            result = Comparison(
                environment=environment,
                arms=scores,
                folders=list(arms.values()),
                differences=differences(scores, against_first=self.against_first),
                first_seed=None if environment in SYSTEMS else first,
                seed=self.seed,
                seconds=time.perf_counter() - started,
            )
            show(result)
            with opened() as fresh:
                written = write_comparison(fresh, result)
            name_files(*written, prepared=fresh, out=self.out)

    def _arms(self) -> dict[str, list[Path]]:
        """Name in tables → run folders of its trainings.

        Raises:
            RecipeError: Fewer than two arms, the same folder twice, or other numbers of trainings.
            RunError: A folder holds no run.
        """
        places = [place.resolve() for place in self.runs]
        if len(places) < 2 or len(set(places)) < len(places):
            raise RecipeError(f"expected two or more different runs, got {', '.join(map(str, self.runs)) or 'none'}.")
        short = [place.name for place in places]
        names = short if len(set(short)) == len(short) else [str(place) for place in self.runs]
        arms = {name: _trainings(place) for name, place in zip(names, self.runs, strict=True)}
        if len({len(folders) for folders in arms.values()}) > 1:
            counted = ", ".join(f"{name}: {len(folders)}" for name, folders in arms.items())
            raise RecipeError(
                f"trainings are compared in pairs, so all need the same number of seeds, got {counted}. Train more "
                "seeds, or give single runs such as RUN/seed0."
            )
        return arms

    def _environment(self, arms: dict[str, list[Path]]) -> str:
        found = {
            name: environment_of(self.environment, load_recipe(folders[0]), folders[0])
            for name, folders in arms.items()
        }
        if len(set(found.values())) > 1:
            listed = ", ".join(f"{name}: {environment}" for name, environment in found.items())
            raise RecipeError(
                f"the runs belong to different environments ({listed}). Give one in which all can run as --environment."
            )
        return next(iter(found.values()))

    def _scores(self, name: str, folders: Sequence[Path], environment: str) -> torch.Tensor:
        with stages() as stage:
            titles = [name] if len(folders) == 1 else [f"{name}, {folder.name}" for folder in folders]
            rows = [
                self._evaluated(folder, environment, partial(stage, title))
                for folder, title in zip(folders, titles, strict=True)
            ]
        return torch.stack(rows).double()

    def _evaluated(self, folder: Path, environment: str, begin: Callable[[int], Advance]) -> torch.Tensor:
        policy = Policy.from_pretrained(folder, device=usable_device(self.device), seed=self.seed)
        cameras = cameras_of(policy)
        made = make_environment(
            with_pictures(environment) if cameras else environment,
            self.episodes,
            images=bool(cameras),
            cameras=cameras,
        )
        try:
            return evaluate(
                policy,
                made,
                episodes=self.episodes,
                seed=self.seed,
                first_seed=self.first_seed,
                on_step=begin(made.steps),
            ).scores
        finally:
            made.close()


def _trainings(place: Path) -> list[Path]:
    if (place / "recipe.json").is_file():
        return [place]
    if found := seed_folders(place):
        return found
    raise RunError(f"{place} holds no run: expected recipe.json, or folders seed0, seed1, … of runs.")
