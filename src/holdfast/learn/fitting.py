"""Training with a run folder: checkpoints, metrics, resuming, and an orderly stop on Ctrl-C."""

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
        Interrupted: Ctrl-C was pressed; a checkpoint was written.
        OutputError: The folder contains a run and `overwrite` was not given, or is not a run folder.
        RunError: There is no state to resume from, or the data have changed.
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
        OutputError: The folder contains a run and `overwrite` was not given, or is not a run folder.
    """
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    if not (folder / "recipe.json").is_file():
        raise OutputError(f"{folder} exists already and is not a run folder. Choose another folder.")
    if not overwrite:
        raise OutputError(
            f"{folder} exists already. Choose another folder, or replace the run with --overwrite (overwrite=True)."
        )
    # the training state first: without it, the remains of an interrupted deletion cannot be resumed
    for name in ("train_state", "evaluation"):
        shutil.rmtree(folder / name, ignore_errors=True)
    for name in ("model.safetensors", "scale.json", "tokenizer.safetensors", "metrics.jsonl", "recipe.json"):
        (folder / name).unlink(missing_ok=True)


def _way_on(folder: Path, recipe: Recipe, state: TrainState) -> str:
    command = f"holdfast train --resume {folder}" if recipe.data else "fit(recipe, data, folder, resume=True)"
    return f"stopped at step {state.step}; continue with: {command}"


@contextmanager
def deferred_interrupt() -> Generator[Callable[[], bool], None, None]:
    """Ctrl-C sets a flag instead of raising an exception, because an incomplete update must not be saved."""
    pressed: list[int] = []

    def note(signum: int, frame: FrameType | None) -> None:
        pressed.append(signum)

    try:
        before = signal.signal(signal.SIGINT, note)
    except ValueError:  # only the main thread may set handlers
        yield lambda: False
        return
    try:
        yield lambda: bool(pressed)
    finally:
        signal.signal(signal.SIGINT, before)
