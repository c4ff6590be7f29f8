"""Study toy as a command."""

from dataclasses import dataclass
from pathlib import Path

from ..engine.options import Stage, StudyCommand
from ..engine.result import StudyResult
from .page import toy_result
from .plan import ToyPlan, run_toy


@dataclass(frozen=True)
class Toy(StudyCommand):
    """Two learners with the same mean error on a scalar system: one diverges, one does not.

    The example is from Max Simchowitz's talk "Continuous-Token Behavior Cloning: Pitfalls and Promises" (slides without
    date or place) on Block et al. 2023 (arXiv 2307.14619): the next state is 0.9 x + u, and the expert always applies
    the action 0.
    """

    epsilons: tuple[float, ...] | None = None
    """Mean errors of the action on the data, each below 0.1. Default: 0.0001 0.0003 0.001 0.003 0.01 in quick; in full
    also 0.00001, 0.00003 and 0.03."""
    runs: int | None = None
    """Number of runs of each learner and error. Default: 10000 in quick; 400000 in full."""
    seed: int = 0
    """Random seed."""

    def plan(self) -> ToyPlan:
        """The preset's plan with the given options."""
        usual, full = ToyPlan(), (0.00001, 0.00003, *ToyPlan().epsilons, 0.03)
        quick = self.preset == "quick"
        return ToyPlan(
            epsilons=self.epsilons or (usual.epsilons if quick else full),
            runs=self.runs or (usual.runs if quick else 400_000),
            seed=self.seed,
        )

    def run(self, folder: Path, stage: Stage) -> StudyResult:
        advance = stage("runs", 1)
        found = run_toy(self.plan())
        advance(1)
        return toy_result(found)
