"""Study fig6-pusht as a command."""

import itertools
from dataclasses import dataclass
from pathlib import Path

from ..engine.options import PooledStudy, Stage
from ..engine.result import StudyResult
from ..engine.trials import Trial, run_trials, training_seconds
from ..families.plan import pusht_data
from .page import fig6_result
from .plan import LAWS, Law, base_recipe, comparisons_of, groups_of, rows_of, trial_of


@dataclass(frozen=True)
class Fig6Pusht(PooledStudy):
    """Noise in training alone, or also at deployment: human demonstrations of Push-T (Block et al. 2023, Figure 6).

    Measures both the noise distribution of the paper's text and that of the code behind its figure.
    """

    data: Path | None = None
    """Demonstrations of Push-T. Default: pusht/pusht_cchi_v7_replay.zarr, those of Diffusion Policy, in the folder
    given by the environment variable HOLDFAST_DATA, or else in ../shared/data. For other data choose another --out,
    because the measurements stored in it would be used again."""
    seeds: int = 3
    """Number of training seeds; each seed also selects its demonstrations."""
    demos: tuple[int, ...] | None = None
    """Numbers of demonstrations. Default: 20 90 in quick; 10 20 40 90 in full."""
    sigmas: tuple[float, ...] | None = None
    """Noise levels on observations, which are scaled to [-1, 1]: the standard deviation of the Gaussian noise, and the
    width of the uniform noise on [0, sigma). Each level above 0 is deployed without noise and with the noise of
    training; with uniform noise, also with its mean sigma/2 alone. Default: 0 0.05 0.2 in quick; 0 0.03 0.05 0.07 0.1
    0.3 0.5 1 in full."""
    steps: int | None = None
    """Number of parameter updates per training run. Default: 3000 in quick; 20000 in full."""
    episodes: int = 50
    """Number of test episodes of each deployment."""

    def trials(self) -> list[Trial]:
        """All training runs."""
        quick = self.preset == "quick"
        counts = self.demos or ((20, 90) if quick else (10, 20, 40, 90))
        levels = self.sigmas or ((0.0, 0.05, 0.2) if quick else (0.0, 0.03, 0.05, 0.07, 0.1, 0.3, 0.5, 1.0))
        base = base_recipe(
            self.data or pusht_data("give a file with --data"), self.steps or (3000 if quick else 20_000)
        )
        noises: list[tuple[Law, float]] = [(law, sigma) for sigma in levels for law in (LAWS if sigma else LAWS[:1])]
        return [
            trial_of(base, seed, count, law, sigma, self.episodes)
            for seed, count, (law, sigma) in itertools.product(range(self.seeds), counts, noises)
        ]

    def run(self, folder: Path, stage: Stage) -> StudyResult:
        trials = self.trials()
        results = run_trials(trials, folder, workers=self.workers, on_done=stage("training runs", len(trials)))
        groups = groups_of(results)
        return fig6_result(
            rows_of(groups),
            comparisons_of(groups),
            recipes={"diffusion": trials[0].recipe},
            values={"first_seed": trials[0].first_seed, "training_seconds": training_seconds(results)},
        )
