"""Study tokens as a command."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..engine.options import PooledStudy, Stage
from ..engine.result import StudyResult
from ..engine.trials import run_trials, training_seconds
from ..families.plan import TOKEN_ARMS, demonstrations_of, plan_families
from ..families.summary import family_rows
from .page import tokens_result
from .plan import compression_rows, rate_jobs, rate_sets


@dataclass(frozen=True)
class Tokens(PooledStudy):
    """Tokens needed for one second of actions at various control rates, and cloning with every tokenizer.

    Compression follows table I of Pertsch et al. 2025 (arXiv 2501.09747). It is measured on four data sets, all of
    which are needed whatever the --tasks are, in the folder given by the environment variable HOLDFAST_DATA, by default
    ../shared/data from the current folder: pusht/pusht_cchi_v7_replay.zarr (Diffusion Policy's Push-T),
    avoiding/avoiding.npz (D3IL's Avoid), mujoco_experts/HalfCheetah_v4_demos.npz (an expert of MuJoCo's HalfCheetah)
    and lerobot_v21_g1 (a Unitree G1). The tasks avoid and pusht of the cloning part read the same files; obstacle
    records its own demonstrations. docs/studies.md describes the files and their sources.
    """

    seeds: int = 1
    """Number of training seeds."""
    tasks: tuple[str, ...] = ("obstacle", "pusht")
    """Tasks of the cloning part: obstacle, avoid or pusht."""
    arms: tuple[str, ...] = TOKEN_ARMS
    """Pairs of family and tokenizer of the cloning part: bins is `tokens` with `binning`; bins-, kmeans-, vq- and
    fsq-autoregressive are `autoregressive` with `binning`, `kmeans`, `residual-vq` and `fsq`; fast is `autoregressive`
    with `fast`; bet and vq-bet are the families of these names with their default tokenizers."""
    steps: int | None = None
    """Number of parameter updates per training run. Default: the task's own, 3000 in quick, 12000 to 16000 in full."""

    def run(self, folder: Path, stage: Stage) -> StudyResult:
        jobs = rate_jobs(rate_sets())
        data = [(task, demonstrations_of(task, folder)) for task in self.tasks]
        trials = plan_families(self.preset, data, seeds=self.seeds, arms=self.arms, updates=self.steps)
        compression, advance = list[dict[str, Any]](), stage("rates", len(jobs))
        for done, job in enumerate(jobs, start=1):
            compression += compression_rows(job)
            advance(done)
        results = (
            run_trials(trials, folder, workers=self.workers, on_done=stage("training runs", len(trials)))
            if trials
            else []
        )
        return tokens_result(
            compression,
            family_rows(results),
            recipes={trial.name: trial.recipe for trial in trials},
            values={"training_seconds": training_seconds(results)},
        )
