"""Study skills as a command."""

from dataclasses import dataclass
from pathlib import Path

from ...errors import at_least
from ..engine.jobs import each, run_jobs
from ..engine.options import PooledStudy, Stage
from ..engine.result import StudyResult
from .job import LEVELS, Cell, Level, SkillsJob, recipes_of, work
from .page import skills_result
from .plan import comparisons_of, confusion_rows, groups_of, rows_of


@dataclass(frozen=True)
class Skills(PooledStudy):
    """Forces, way-points or skills: at which level a policy should act, on a task of three skills.

    In the environment courier, a point mass fetches a parcel, delivers it and rings a bell, at places that differ
    between episodes. Policies of the same family and network clone the same demonstrations with the same number of
    updates: by forces (low), by way-points of a PD cascade (middle), or by three skills, each trained on the segments
    with its label, of which a selector that is cloned from the labels chooses one every five steps (high). The arm high
    is also run with a perfect selector, with perfect skills, and with naive switches. All run from the same starts,
    which played no part in any choice.
    """

    levels: tuple[Level, ...] = LEVELS
    """Levels of the actions: low, middle, high."""
    seeds: int | None = None
    """Number of seeds, each with demonstrations of its own. Default: 3 in quick; 5 in full."""
    demos: int = 200
    """Number of demonstrations of each training."""
    steps: int | None = None
    """Number of parameter updates of each level; those of the level high are divided among the skills and the selector.
    Default: 6000 in quick; 30000 in full."""
    starts: int | None = None
    """Number of episodes of each policy. Default: 100 in quick; 200 in full."""

    def jobs(self) -> list[SkillsJob]:
        """One job for each seed and level.

        Raises:
            RecipeError: A number is below 1.
        """
        quick = self.preset == "quick"
        seeds = (3 if quick else 5) if self.seeds is None else self.seeds
        updates = (6000 if quick else 30_000) if self.steps is None else self.steps
        starts = (100 if quick else 200) if self.starts is None else self.starts
        at_least(1, seeds=seeds, demos=self.demos, steps=updates, starts=starts)
        levels = dict.fromkeys(self.levels)
        return [SkillsJob(level, seed, self.demos, updates, starts) for seed in range(seeds) for level in levels]

    def run(self, folder: Path, stage: Stage) -> StudyResult:
        jobs = self.jobs()
        recipes = {name: recipe for job in jobs for name, recipe in recipes_of(job).items()}
        done = stage("levels and seeds", len(jobs))
        found = run_jobs(jobs, each(work), folder, Cell, workers=self.workers, on_done=done)
        groups = groups_of(jobs, found)
        return skills_result(rows_of(groups), comparisons_of(groups), confusion_rows(groups), recipes=recipes)
