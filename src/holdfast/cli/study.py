"""`holdfast study`: a figure or table of the seeds, measured again."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from ..errors import DataError, OutputError, RecipeError, UnknownNameError
from ..studies.families.plan import ARMS, TASKS, plan_families
from ..studies.fig5.plan import plan
from ..studies.fig6_pusht.plan import plan_fig6
from ..studies.tokens.plan import plan_tokens, rate_jobs
from .console import console
from .machine import usable_device
from .study_families import record_obstacle, run_families
from .study_fig5 import run_fig5
from .study_fig6 import run_fig6
from .study_instruments import INSTRUMENT_STUDIES, PARTS, StudyOptions, run_instrument_study
from .study_tokens import run_tokens

__all__ = ["STUDIES", "Study"]

STUDIES = tuple(sorted(("families", "fig5", "fig6-pusht", "tokens", *INSTRUMENT_STUDIES)))
PUSHT = "pusht/pusht_cchi_v7_replay.zarr"
AVOID = "avoiding/avoiding.npz"
RATES = (
    ("Push-T", PUSHT),
    ("Avoid", AVOID),
    ("HalfCheetah", "mujoco_experts/HalfCheetah_v4_demos.npz"),
    ("Unitree G1", "lerobot_v21_g1"),
)
"""Sets of which study tokens measures FAST; the last one at lower rates too."""


@dataclass(frozen=True)
class Study:
    """Measure a figure of the literature again, over training seeds, on common held-out starts.

    fig5: cloning gains against cloning raw actions on the 2-D quadrotor (Block et al. 2023, Figure 5).

    fig6-pusht: noise in training, when run, or both, for human demonstrations of Push-T (the same, Figure 6), for the
    paper's law of noise and for that of its code.

    families: every generative family at equal budgets on a fork, on D3IL's Avoid and on Push-T.

    tokens: how many tokens a second of action takes at each control rate, and cloning with every tokenizer.

    toy: the scalar example in which two learners of equal mean explode and stay bounded.

    theorems: the bounds of the theory beside what was measured.

    noise-grid: noise in training against noise at deployment. long-horizon: a thousand steps and more.
    imperfect-oracle: gains from wrong, learned, scaled, delayed dynamics, or none.

    pitfalls: regression, generation and chunks on a pair of systems that data cannot tell apart.

    butterfly: what the noise of stochastic gradients does to behavior, and how much averaging weights removes.
    """

    name: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="NAME")]
    """Name of the study: butterfly, families, fig5, fig6-pusht, imperfect-oracle, long-horizon, noise-grid, pitfalls,
    theorems, tokens or toy."""
    out: Path | None = None
    """Folder for result.json, the figure and the page, called after the study if nothing is said; a stopped study goes
    on where it was."""
    preset: Literal["quick", "full"] = "quick"
    """quick: less than an hour; full: the paper's whole grid, hours."""
    setting: Literal["published", "holdfast"] = "holdfast"
    """fig5: the authors' choices, or our best."""
    film_defect: bool = False
    """fig5: with the published defect of the FiLM bias (one number a layer)."""
    range_defect: bool = False
    """fig5: with the published defect of the gains' range (un-normalised by another quantity's)."""
    data: Path | None = None
    """fig6-pusht: the demonstrations; if nothing is said, those of Diffusion Policy in the folder that the variable
    HOLDFAST_DATA names, or in ../shared/data."""
    seeds: int | None = None
    """Training seeds; 5 for fig5, 1 for families and tokens (families: 3 in full), 3 or more elsewhere if nothing is
    said."""
    demos: tuple[int, ...] | None = None
    """Numbers of demonstrations, in place of the preset's."""
    sigmas: tuple[float, ...] | None = None
    """Noise levels, in place of the preset's."""
    steps: int | None = None
    """Updates of each training, in place of the preset's (not fig5)."""
    tasks: tuple[str, ...] = TASKS
    """families, tokens: obstacle, avoid, pusht (tokens: not avoid); their data lie in the folder that HOLDFAST_DATA
    names, or in ../shared/data."""
    arms: tuple[str, ...] = ARMS
    """families: which of them."""
    workers: int | None = None
    """Processes; all cores if nothing is said."""
    device: str = "cpu"
    """fig5: cpu, or cuda: all trainings of a shape as one program."""
    overwrite: bool = False
    """Replace result.json, the figure and the page of a finished study; finished trainings are kept."""

    def run(self) -> None:
        """Run the study and write its figure, page and result.json."""
        if self.seeds is not None and self.seeds < 1:
            raise RecipeError(f"expected at least 1 seed, got {self.seeds}.")
        match self.name:
            case "families":
                self._families()
            case "tokens":
                self._tokens()
            case "fig5":
                self._fig5()
            case "fig6-pusht":
                self._fig6()
            case name if name in INSTRUMENT_STUDIES:
                options = StudyOptions(self.preset, self.seeds, self.demos, self.sigmas, self.steps, self.workers)
                run_instrument_study(name, self._claim(*PARTS), options)
            case _:
                raise UnknownNameError("study", self.name, STUDIES)

    def _fig5(self) -> None:
        device, out = usable_device(self.device), self._claim("world", "arms")
        arms = plan(
            self.preset,
            self.setting,
            seeds=self.seeds or 5,
            demos=self.demos,
            sigmas=self.sigmas,
            film_defect=self.film_defect,
            range_defect=self.range_defect,
        )
        console.print(f"{len(arms)} trainings; finished ones are kept in {out / 'arms'}", soft_wrap=True)
        run_fig5(out, arms, preset=self.preset, workers=self.workers, device=device)

    def _fig6(self) -> None:
        trials = plan_fig6(
            self.preset,
            self.data or _pusht_data(),
            seeds=self.seeds or 3,
            demos=self.demos,
            sigmas=self.sigmas,
            steps=self.steps,
        )
        out = self._claim("trials")
        console.print(f"{len(trials)} trainings; finished ones are kept in {out / 'trials'}", soft_wrap=True)
        run_fig6(out, trials, preset=self.preset, workers=self.workers)

    def _families(self) -> None:
        out = self._claim("trials", "data")
        data = [(task, _demonstrations(task, out)) for task in self.tasks]
        seeds = self.seeds or (1 if self.preset == "quick" else 3)
        trials = plan_families(self.preset, data, seeds=seeds, arms=self.arms, updates=self.steps)
        console.print(f"{len(trials)} trainings; finished ones are kept in {out / 'trials'}", soft_wrap=True)
        run_families(out, trials, preset=self.preset, workers=self.workers)

    def _tokens(self) -> None:
        jobs = rate_jobs([(name, _stored(place, f"demonstrations of {name}")) for name, place in RATES])
        out = self._claim("trials", "data")
        data = [(task, _demonstrations(task, out)) for task in self.tasks if task != "avoid"]
        trials = plan_tokens(self.preset, data, seeds=self.seeds or 1, updates=self.steps)
        console.print(f"{len(trials)} trainings; finished ones are kept in {out / 'trials'}", soft_wrap=True)
        run_tokens(out, jobs, trials, preset=self.preset, workers=self.workers)

    def _claim(self, *parts: str) -> Path:
        """The study's folder: unfinished ones are gone on with, finished ones are replaced only when asked for."""
        out = self.out or Path(self.name)
        if out.is_file():
            raise OutputError(f"{out} is a file. Choose another --out.")
        if (out / "result.json").exists() and not self.overwrite:
            raise OutputError(f"{out} holds a finished study. Choose another --out, or give --overwrite.")
        if out.is_dir() and any(out.iterdir()) and not any((out / part).is_dir() for part in parts):
            raise OutputError(f"{out} holds something that is not this study. Choose another --out.")
        out.mkdir(parents=True, exist_ok=True)
        return out


def _demonstrations(task: str, out: Path) -> Path:
    match task:
        case "obstacle":
            return record_obstacle(out)
        case "avoid":
            return _stored(AVOID, "D3IL's demonstrations of Avoid")
        case "pusht":
            return _pusht_data()
        case _:
            raise UnknownNameError("task", task, TASKS)


def _pusht_data() -> Path:
    return _stored(PUSHT, "Diffusion Policy's Push-T demonstrations")


def _stored(place: str, what: str) -> Path:
    folder = Path(os.environ.get("HOLDFAST_DATA", "../shared/data"))
    if not (folder / place).exists():
        raise DataError(
            f"{folder / place} does not exist. It should hold {what}. Name the folder that holds them with the "
            "variable HOLDFAST_DATA, or give another file where the study takes --data."
        )
    return folder / place
