"""A training that keeps its run folder: checkpoints, metrics, resuming, and an orderly stop on Ctrl-C."""

import json
import math
import shutil
import signal
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from ..atomic import write_atomically
from ..errors import DivergedError, HoldfastError, OutputError
from ..policy import save_planner
from ..recipe import Recipe
from .checkpoint import fingerprint, load_state, save_recipe, save_state
from .dataset import TrainingSet
from .optimise import learning_rate_at
from .train import TrainState, held_out_loss, initial_state, planner_of, train

__all__ = ["Interrupted", "clear_run", "fit"]

LOG_EVERY = 50


class Interrupted(HoldfastError):
    """Ctrl-C during training; a checkpoint was written first."""


def fit(
    recipe: Recipe,
    data: TrainingSet,
    folder: Path,
    *,
    resume: bool = False,
    overwrite: bool = False,
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
        held_out: Episodes whose loss is noted at every checkpoint.
        on_step: Called after every update.

    Raises:
        DivergedError: The loss or the parameters are no longer finite; the checkpoint before is kept.
        Interrupted: Ctrl-C was pressed; the checkpoint is written.
        OutputError: The folder holds a run and `overwrite` was not given, or something else.
        RunError: There is no state to resume from, or the data changed.
    """
    data_id = fingerprint(data)
    if resume:
        state = load_state(folder, data=data_id, device=data.observations.device)
        # a kill between the two writes of a checkpoint leaves the deployable weights behind the state
        save_planner(folder, planner_of(recipe, data, state))
    else:
        clear_run(folder, overwrite=overwrite)
        state = initial_state(recipe, data)
        save_recipe(folder, recipe)
        _save(folder, recipe, data, state, data_id)
    metrics = _Metrics(folder / "metrics.jsonl", keep=state.step)
    with deferred_interrupt() as interrupted:
        for following in train(recipe, data, state):
            state = following
            on_step(state)
            last = state.step == recipe.training.steps
            save = last or interrupted() or state.step % recipe.training.save_every == 0
            checked = held_out if save else None
            if last or state.step % LOG_EVERY == 0 or checked is not None:
                metrics.note(state, recipe, checked)
            if save:
                _save(folder, recipe, data, state, data_id)
            if interrupted() and not last:
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


def _save(folder: Path, recipe: Recipe, data: TrainingSet, state: TrainState, data_id: str) -> None:
    if broken := [name for name, value in state.parameters.items() if not bool(value.isfinite().all())]:
        # an update whose loss was finite can still have had a gradient that was not
        raise DivergedError(
            f"after update {state.step} the parameters {', '.join(broken[:3])} are no longer finite. The checkpoint "
            "before is kept. Lower the learning rate."
        )
    save_state(folder, state, data=data_id)
    save_planner(folder, planner_of(recipe, data, state))


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


class _Metrics:
    """The lines of `metrics.jsonl`; a resumed training drops those beyond its checkpoint."""

    def __init__(self, path: Path, *, keep: int) -> None:
        self.path = path
        self.started = time.monotonic()
        lines = path.read_text().splitlines() if keep and path.exists() else []
        kept = [line for line in lines if line.endswith("}") and json.loads(line)["step"] <= keep]
        write_atomically(path, "".join(line + "\n" for line in kept).encode())

    def note(self, state: TrainState, recipe: Recipe, held_out: TrainingSet | None) -> None:
        loss = float(state.loss)
        line: dict[str, float | None] = {
            "step": state.step,
            "loss": loss if math.isfinite(loss) else None,
            "learning_rate": learning_rate_at(state.step - 1, recipe.training),
            "seconds": round(time.monotonic() - self.started, 3),
        }
        if held_out is not None:
            line["held_out_loss"] = held_out_loss(recipe, held_out, state)
        with self.path.open("a") as file:
            file.write(json.dumps(line) + "\n")
