"""A training that keeps its run folder: checkpoints, metrics, resuming, and an orderly stop on Ctrl-C."""

import shutil
import signal
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from ..errors import Interrupted, OutputError
from ..recipe import Recipe
from .checkpoint import save_recipe
from .dataset import TrainingSet
from .run_folder import RunFolder
from .training import TrainState, initial_state, train

__all__ = ["clear_run", "fit"]


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
    """Train to the recipe's end, keeping the run folder up to date.

    Args:
        recipe: What to train.
        data: On what.
        folder: The run folder.
        resume: Go on from the folder's training state.
        overwrite: Replace a run that lies in the folder.
        compiled: Compile the loss, as `train` does.
        held_out: Episodes whose loss is noted at every checkpoint.
        on_step: Called after every update.

    Raises:
        DivergedError: The loss or the parameters are no longer finite; the checkpoint before is kept.
        Interrupted: Ctrl-C was pressed; the checkpoint is written.
        OutputError: The folder holds a run and `overwrite` was not given, or something else.
        RunError: There is no state to resume from, or the data changed.
    """
    folder = Path(folder)
    run = RunFolder.of(folder, recipe, data, held_out, compiled=compiled)
    if resume:
        state = run.resume()
    else:
        clear_run(folder, overwrite=overwrite)
        state = initial_state(recipe, data)
        save_recipe(folder, recipe)
        run.begin(state)
    with deferred_interrupt() as interrupted:
        for following in train(recipe, data, state, compiled=compiled):
            state = following
            on_step(state)
            stopping = interrupted()
            run.after(state, stopping=stopping)
            if stopping and state.step < recipe.training.steps:
                raise Interrupted(_way_on(folder, recipe, state))
    return state


def clear_run(folder: Path, *, overwrite: bool) -> None:
    """Make room for a new run.

    Raises:
        OutputError: The folder holds a run and `overwrite` was not given, or something that is no run.
    """
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    if not (folder / "recipe.json").is_file():
        raise OutputError(f"{folder} exists already and is no run folder. Choose another folder.")
    if not overwrite:
        raise OutputError(f"{folder} exists already. Choose another --out, or give --overwrite to replace the run.")
    # the training state first: without it, whatever a kill leaves here is not taken for a run to resume
    for name in ("train_state", "evaluation"):
        shutil.rmtree(folder / name, ignore_errors=True)
    for name in ("model.safetensors", "scale.json", "tokenizer.safetensors", "metrics.jsonl", "recipe.json"):
        (folder / name).unlink(missing_ok=True)


def _way_on(folder: Path, recipe: Recipe, state: TrainState) -> str:
    command = f"holdfast train --resume {folder}" if recipe.data else "fit(recipe, data, folder, resume=True)"
    return f"stopped at step {state.step}; go on with: {command}"


@contextmanager
def deferred_interrupt() -> Generator[Callable[[], bool], None, None]:
    """Ctrl-C raises a flag instead of an exception: an update that is half done must not be saved."""
    pressed: list[int] = []

    def note(signum: int, frame: FrameType | None) -> None:
        pressed.append(signum)

    try:
        before = signal.signal(signal.SIGINT, note)
    except ValueError:  # only the main thread may set handlers; elsewhere Ctrl-C is its owner's business
        yield lambda: False
        return
    try:
        yield lambda: bool(pressed)
    finally:
        signal.signal(signal.SIGINT, before)
