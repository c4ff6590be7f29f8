"""Study families as a command."""

from dataclasses import dataclass
from pathlib import Path

from ..engine.options import PooledStudy, Stage
from ..engine.result import StudyResult
from ..engine.trials import run_trials, training_seconds
from .page import families_result
from .plan import ARMS, TASKS, demonstrations_of, plan_families
from .summary import family_rows


@dataclass(frozen=True)
class Families(PooledStudy):
    """All generative families at equal budgets on three tasks: an obstacle with two ways past it, Avoid, and Push-T.

    The task obstacle records its own demonstrations. The others read files in the folder given by the environment
    variable HOLDFAST_DATA, by default ../shared/data from the current folder: avoid needs avoiding/avoiding.npz (D3IL),
    and pusht needs pusht/pusht_cchi_v7_replay.zarr (Diffusion Policy). docs/studies.md describes the files and their
    sources.
    """

    seeds: int | None = None
    """Number of training seeds. Default: 1 in quick; 3 in full."""
    tasks: tuple[str, ...] = TASKS
    """Tasks: obstacle, avoid, pusht. Without data files, give obstacle alone."""
    arms: tuple[str, ...] = ARMS
    """Families to compare. Families of tokens are named by their tokenizer: bins is `tokens` with `binning`,
    bins-autoregressive and fast are `autoregressive` with `binning` and with `fast`."""
    steps: int | None = None
    """Number of parameter updates per training run. Default: the task's own, 2000 to 3000 in quick, 12000 to 16000 in
    full."""

    def run(self, folder: Path, stage: Stage) -> StudyResult:
        seeds = self.seeds or (1 if self.preset == "quick" else 3)
        data = [(task, demonstrations_of(task, folder)) for task in self.tasks]
        trials = plan_families(self.preset, data, seeds=seeds, arms=self.arms, updates=self.steps)
        results = run_trials(trials, folder, workers=self.workers, on_done=stage("training runs", len(trials)))
        return families_result(
            family_rows(results),
            recipes={trial.name: trial.recipe for trial in trials},
            values={"first_seed": trials[0].first_seed, "training_seconds": training_seconds(results)},
        )
