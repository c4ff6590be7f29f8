"""Study inputs as a command."""

from dataclasses import dataclass
from pathlib import Path

from ..engine.jobs import each, run_jobs
from ..engine.options import PooledStudy, Stage
from ..engine.result import StudyResult
from ..families.plan import pusht_data
from .changes import CHANGES
from .job import INPUTS, Cell, Input, InputsJob, recipes_of, work
from .page import inputs_result
from .plan import comparisons_of, groups_of, rows_of


@dataclass(frozen=True)
class Inputs(PooledStudy):
    """Raw pixels, an estimator of states, or the states themselves: what a policy of Push-T should see.

    Policies of the same family and network are trained with the same number of updates. They see pictures (raw), the
    block's keypoints that an estimator finds in the pictures (explicit), or the keypoints that the simulator knows
    (state). Policies of estimated keypoints are trained without noise, with isotropic noise, and with noise of the law
    of the estimator's errors. All are run from the same starts, which played no part in any choice, on pictures as they
    are and on changed ones.
    """

    data: Path | None = None
    """Demonstrations of Push-T with pictures. Default: pusht/pusht_cchi_v7_replay.zarr, those of Diffusion Policy, in
    the folder given by the environment variable HOLDFAST_DATA, or else in ../shared/data. For other data choose another
    --out, because the measurements stored in it would be used again."""
    inputs: tuple[Input, ...] = INPUTS
    """Kinds of input."""
    seeds: int | None = None
    """Number of training seeds. Default: 2 in quick; 5 in full."""
    steps: int | None = None
    """Number of parameter updates of each training. Default: 6000 in quick; 40000 in full."""
    starts: int | None = None
    """Number of episodes of each policy and change. Default: 20 in quick; 100 in full."""
    changes: tuple[str, ...] = ()
    """Changes of the pictures at deployment: brightness, shift, occlusion, blur; the pictures as they are (none) always
    come first, and none alone changes nothing. Default: brightness shift in quick; all in full."""

    def jobs(self) -> list[InputsJob]:
        """One job for each seed and kind of input."""
        quick = self.preset == "quick"
        changes = ("brightness", "shift") if quick else tuple(CHANGES)
        chosen = tuple(dict.fromkeys(("none", *(self.changes or changes))))
        data = str((self.data or pusht_data("give a file with --data")).resolve())
        updates, starts = self.steps or (6000 if quick else 40_000), self.starts or (20 if quick else 100)
        return [
            InputsJob(seen, seed, updates, starts, chosen, data)
            for seed in range(self.seeds or (2 if quick else 5))
            for seen in dict.fromkeys(self.inputs)
        ]

    def run(self, folder: Path, stage: Stage) -> StudyResult:
        jobs = self.jobs()
        recipes = {name: recipe for job in jobs for name, recipe in recipes_of(job).items()}
        done = stage("trainings", len(jobs))
        found = run_jobs(jobs, each(work), folder, Cell, workers=self.workers, on_done=done)
        groups = groups_of(jobs, found)
        return inputs_result(rows_of(groups), comparisons_of(groups), recipes=recipes)
