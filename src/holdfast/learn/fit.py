"""A training that keeps its run folder: checkpoints, metrics, resuming, and an orderly stop on Ctrl-C."""

import json
import math
import signal
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from ..atomic import write_atomically
from ..errors import HoldfastError
from ..policy import save_planner
from ..recipe import Recipe
from .checkpoint import fingerprint, load_state, save_recipe, save_state
from .dataset import TrainingSet
from .optimise import learning_rate_at
from .train import TrainState, initial_state, planner_of, train

__all__ = ["Interrupted", "fit"]

LOG_EVERY = 50


class Interrupted(HoldfastError):
    """Ctrl-C during training; a checkpoint was written first."""


def fit(
    recipe: Recipe,
    data: TrainingSet,
    folder: Path,
    *,
    resume: bool = False,
    on_step: Callable[[TrainState], None] = lambda state: None,
) -> TrainState:
    """Train to the recipe's end, keeping the run folder up to date.

    Args:
        recipe: What to train.
        data: On what.
        folder: The run folder.
        resume: Go on from the folder's training state.
        on_step: Called after every update.

    Raises:
        Interrupted: Ctrl-C was pressed; the checkpoint is written.
        RunError: There is no state to resume from, or the data changed.
    """
    data_id = fingerprint(data)
    state = (
        load_state(folder, data=data_id, device=data.observations.device)
        if resume
        else initial_state(recipe, device=data.observations.device)
    )
    save_recipe(folder, recipe)
    if not resume:
        _save(folder, recipe, data, state, data_id)
    metrics = _Metrics(folder / "metrics.jsonl", keep=state.step)
    with deferred_interrupt() as interrupted:
        for following in train(recipe, data, state):
            state = following
            on_step(state)
            last = state.step == recipe.training.steps
            metrics.note(state, recipe, force=last)
            if last or interrupted() or state.step % recipe.training.save_every == 0:
                _save(folder, recipe, data, state, data_id)
            if interrupted() and not last:
                raise Interrupted(f"stopped at step {state.step}; go on with: holdfast train --resume {folder}")
    return state


def _save(folder: Path, recipe: Recipe, data: TrainingSet, state: TrainState, data_id: str) -> None:
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

    def note(self, state: TrainState, recipe: Recipe, *, force: bool) -> None:
        if state.step % LOG_EVERY and not force:
            return
        loss = float(state.loss)
        line = {
            "step": state.step,
            "loss": loss if math.isfinite(loss) else None,
            "learning_rate": learning_rate_at(state.step - 1, recipe.training),
            "seconds": round(time.monotonic() - self.started, 3),
        }
        with self.path.open("a") as file:
            file.write(json.dumps(line) + "\n")
