"""Training with a run folder: checkpoints, metrics, resuming, and an orderly stop on signals."""

from collections.abc import Callable
from pathlib import Path

from ..atomic import claimed, refuse_others
from ..errors import Interrupted
from ..interrupts import deferred_interrupt
from ..recipe import Recipe
from .dataset import TrainingSet
from .run_folder import RunFolder
from .run_place import check_run, is_of_run, seed_folder
from .training import TrainState, train


def fit(
    recipe: Recipe,
    data: TrainingSet,
    folder: str | Path,
    *,
    resume: bool = False,
    overwrite: bool = False,
    compiled: bool = False,
    held_out: TrainingSet | None = None,
    on_step: Callable[[TrainState], None] = lambda state: None,
) -> TrainState:
    """Train to the end of the recipe, with checkpoints in a run folder.

    Args:
        recipe: Recipe of the training.
        data: Training set.
        folder: Run folder.
        resume: Continue from the training state in the folder.
        overwrite: Replace a run in the folder.
        compiled: Compile the loss; see `train`.
        held_out: Held-out episodes whose loss is logged at every checkpoint.
        on_step: Called after every update.

    Raises:
        DivergedError: The loss or the parameters are not finite; the previous checkpoint is kept.
        Interrupted: Ctrl-C was pressed, or SIGTERM or SIGHUP came; a checkpoint was written.
        OutputError: The folder contains a run and `overwrite` was not given, or is not a run folder, or another process
            trains in it.
        RunError: There is no state to resume from, or the data have changed.
    """
    run = RunFolder.of(Path(folder), recipe, data, held_out, compiled=compiled)
    with claimed(run.path, ours=is_of_run, purpose="training in"), deferred_interrupt() as interrupted:
        if run.path.name == seed_folder(Path(), recipe.seed).name:
            refuse_others(run.path.parent)  # where all seeds may be training as one program
        if not resume:
            check_run(run.path, overwrite=overwrite)
        return _trained(run, run.open(resume=resume), interrupted, on_step)


def _trained(
    run: RunFolder, state: TrainState, interrupted: Callable[[], int], on_step: Callable[[TrainState], None]
) -> TrainState:
    for following in train(run.recipe, run.data, state, compiled=run.compiled):
        state = following
        on_step(state)
        signum = interrupted()
        run.after(state, stopping=signum > 0)
        if signum and state.step < run.recipe.training.steps:
            raise Interrupted(_way_on(run.path, run.recipe, state), signum)
    return state


def _way_on(folder: Path, recipe: Recipe, state: TrainState) -> str:
    command = f"holdfast train --resume {folder}" if recipe.data else "fit(recipe, data, folder, resume=True)"
    return f"stopped at step {state.step}; continue with: {command}"
