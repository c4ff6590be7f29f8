"""Study fig5 as a command."""

import itertools
from dataclasses import dataclass
from pathlib import Path

from ...control import Quadrotor2D
from ..engine.options import PooledStudy, Stage
from ..engine.result import StudyResult
from ..quadrotor.arms import Arm, Gains, Setting, recipe_of
from ..quadrotor.run_arms import run_arms
from ..quadrotor.world import make_world
from .page import fig5_result
from .plan import FULL_SIGMAS, comparisons_of, references, rows_of


@dataclass(frozen=True)
class Fig5(PooledStudy):
    """Cloning gains against cloning raw actions on the 2-D quadrotor (Block et al. 2023, Figure 5).

    Measures the score and the distance to the expert, for raw actions and for gains of two methods of synthesis, over
    the number of demonstrations and the noise, for several training seeds, from common held-out starts.
    """

    setting: Setting = "holdfast"
    """Our best settings (holdfast), or those of the authors' code, for a comparison with the paper (published)."""
    seeds: int = 5
    """Number of training seeds; each seed also selects its demonstrations."""
    demos: tuple[int, ...] | None = None
    """Numbers of demonstrations. Default: 1 3 10 in quick; 1 2 3 4 5 10 20 30 in full."""
    sigmas: tuple[float, ...] | None = None
    """Standard deviations of the noise on observations, which are scaled to [-1, 1]. Each is measured twice: with noise
    in training alone, and with noise in training and at deployment. Default: 0 0.1 0.3 in quick; 0 0.005 0.01 0.02 0.03
    0.05 0.075 0.1 0.3 0.5 in full."""
    film_defect: bool = False
    """Reproduce a defect of the authors' code: one FiLM bias for a whole layer instead of one
    for each unit. Refused without --setting published."""
    range_defect: bool = False
    """Reproduce a defect of the authors' code: gains are scaled back by the range of the Jacobian of the expert's
    control law instead of their own. Refused without --setting published."""
    device: str = "cpu"
    """Device for training and evaluation: cpu, or cuda, where all training runs with equal tensor
    shapes are batched."""

    def arms(self) -> list[Arm]:
        """All training runs."""
        quick = self.preset == "quick"
        counts = self.demos or ((1, 3, 10) if quick else (1, 2, 3, 4, 5, 10, 20, 30))
        levels = self.sigmas or ((0.0, 0.1, 0.3) if quick else FULL_SIGMAS)
        kinds: tuple[Gains, ...] = ("none", "tvlqr", "receding") if self.setting == "holdfast" else ("none", "dare")
        defects = {"film_defect": self.film_defect, "range_defect": self.range_defect}
        return [
            Arm(self.setting, n, kind, sigma, seed, **defects)
            for seed, n, kind, sigma in itertools.product(range(self.seeds), counts, kinds, levels)
        ]

    def run(self, folder: Path, stage: Stage) -> StudyResult:
        arms = self.arms()
        world = make_world(folder / "world", on_step=stage("expert demonstrations", 2 * Quadrotor2D().steps))
        results = run_arms(
            arms, folder, workers=self.workers, device=self.device, on_done=stage("training runs", len(arms))
        )
        return fig5_result(
            rows_of(results),
            comparisons_of(results),
            references(world, self.setting, self.seeds),
            setting=self.setting,
            recipes={arm.gains: recipe_of(arm) for arm in reversed(arms)},
            training_seconds=sum({result.arm: result.train_seconds for result in results}.values()),
        )
