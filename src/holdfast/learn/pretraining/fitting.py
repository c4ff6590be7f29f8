"""Pre-training with a folder: checkpoints, metrics, resuming, and an orderly stop on signals."""

from collections.abc import Callable
from pathlib import Path

import torch

from ...atomic import claimed, followed
from ...devices import usable_device
from ...errors import Interrupted
from ...interrupts import deferred_interrupt
from ..training import TrainState
from .folder import PretrainingFolder, check_pretraining, is_of_pretraining
from .frames import PictureSet
from .recipe import Pretraining
from .updates import states


def pretrain(
    recipe: Pretraining,
    pictures: PictureSet,
    folder: str | Path,
    *,
    resume: bool = False,
    overwrite: bool = False,
    device: torch.device | str = "cpu",
    on_step: Callable[[TrainState], None] = lambda state: None,
) -> TrainState:
    """Pre-train to the end of the recipe, with checkpoints in a folder.

    A training that was stopped is continued bit for bit with `resume`.

    Args:
        recipe: Recipe of the pre-training.
        pictures: Its pictures, as from `picture_set`.
        folder: Folder to create.
        resume: Continue from the training state in the folder.
        overwrite: Replace a pre-training in the folder.
        device: Device of the training.
        on_step: Called after every update.

    Raises:
        DivergedError: The loss or the parameters are not finite; the previous checkpoint is kept.
        Interrupted: Ctrl-C was pressed, or SIGTERM or SIGHUP came; a checkpoint was written.
        OutputError: The folder contains a pre-training and `overwrite` was not given, or another process trains in it.
        RunError: The stored training cannot be continued, or the pictures have changed.
    """
    place, found = followed(Path(folder)), torch.device(usable_device(device))
    run = PretrainingFolder(place, recipe, pictures, found, pictures.fingerprint)
    with claimed(place, ours=is_of_pretraining, purpose="training in"), deferred_interrupt() as interrupted:
        if not resume:
            check_pretraining(place, overwrite=overwrite)
        state = run.open(resume=resume)
        for following in states(recipe, pictures, state):
            state = following
            on_step(state)
            signum = interrupted()
            run.after(state, stopping=signum > 0)
            if signum and state.step < recipe.training.steps:
                raise Interrupted(_way_on(place, recipe, state), signum)
    return state


def _way_on(folder: Path, recipe: Pretraining, state: TrainState) -> str:
    command = f"holdfast pretrain --resume {folder}" if recipe.data else "pretrain(…, resume=True)"
    return f"stopped at step {state.step}; continue with: {command}"
