"""Run folder of a training: what is written, and after which updates."""

import time
from dataclasses import dataclass, field, replace
from pathlib import Path

from ..atomic import check_space, clear_unfinished, followed, replacing
from ..errors import DivergedError, OutputError
from ..policy import save_planner
from ..recipe import Recipe
from .checkpoint import load_state, recipe_digest, save_recipe, save_state
from .dataset import TrainingSet
from .fingerprint import Fingerprint
from .metrics import add_line, keep_lines
from .optimise import learning_rate_at
from .run_place import check_parts, has_begun, is_of_run, may_be_lost
from .training import TrainState, held_out_loss, initial_state, planner_of

LOG_EVERY = 50
"""Number of updates between two lines of `metrics.jsonl`."""


@dataclass(frozen=True)
class RunFolder:
    """A training and its run folder; `opened` is the start time on the monotonic clock [s]."""

    path: Path
    recipe: Recipe
    data: TrainingSet
    held_out: TrainingSet | None
    data_id: Fingerprint
    compiled: bool = False
    opened: float = field(default_factory=time.monotonic)

    @staticmethod
    def of(
        path: Path, recipe: Recipe, data: TrainingSet, held_out: TrainingSet | None, *, compiled: bool = False
    ) -> "RunFolder":
        """Run folder of a training; nothing is written yet."""
        return RunFolder(followed(path), recipe, data, held_out, Fingerprint.of(data), compiled)

    def open(self, *, resume: bool) -> TrainState:
        """State from which the training starts: the stored one, or a new one in a folder without a checkpoint.

        Raises:
            OutputError: A part of the stored run is a symbolic link.
            RunError: There is no run to resume, or the data have changed.
        """
        if resume and (has_begun(self.path) or not (self.path / "recipe.json").is_file()):
            return self.resume()
        state = initial_state(self.recipe, self.data)
        self.begin(state)
        return state

    def begin(self, state: TrainState) -> None:
        """Replace the folder by one with the first checkpoint, from before the first update; other files stay."""
        anyway = may_be_lost(self.path)
        with replacing(self.path, ours=is_of_run, purpose="training in", one_by_one=anyway) as fresh:
            self.begin_at(fresh, state)

    def begin_at(self, place: Path, state: TrainState) -> None:
        """Write the first checkpoint to another place, from which the folder is moved to its own.

        Raises:
            OutputError: The disk has too little room for checkpoints.
        """
        # the state holds four tensors per parameter, the weights one; a new checkpoint is written beside the old one
        sizes = [10 * value.nbytes for value in state.parameters.values()]
        check_space(self.path, sum(sizes) + sum(4 * value.nbytes for value in state.fixed.values()))
        save_recipe(place, self.recipe)
        there = replace(self, path=place)
        there.save(state)
        keep_lines(there.metrics, until=0)

    def resume(self) -> TrainState:
        """Load the training state, and make weights and metrics consistent with it."""
        check_parts(self.path)
        for folder in (self.path, self.path / "train_state"):
            clear_unfinished(folder)
        state = self.load()
        # a kill between the two writes of a checkpoint leaves the deployable weights older than the state
        save_planner(self.path, planner_of(self.recipe, self.data, state))
        keep_lines(self.metrics, until=state.step)
        return state

    def load(self) -> TrainState:
        """Load the training state."""
        return load_state(
            self.path,
            data=self.data_id,
            device=self.data.device,
            recipe=self.recipe,
            tokenizer=self.data.tokenizer,
        )

    def due(self, step: int, *, stopping: bool) -> bool:
        """Whether `after` would write anything."""
        return step % LOG_EVERY == 0 or self._saves(step, stopping=stopping)

    def after(self, state: TrainState, *, stopping: bool) -> None:
        """Write what is due after an update.

        Raises:
            OutputError: The run folder is no longer there.
        """
        if self.due(state.step, stopping=stopping):
            self._check_still_there(state.step)
        save = self._saves(state.step, stopping=stopping)
        checked = self.held_out if save else None
        if state.step == self.recipe.training.steps or state.step % LOG_EVERY == 0 or checked is not None:
            self._note(state, checked)
        if save:
            self.save(state)

    def save(self, state: TrainState) -> None:
        """Write a checkpoint."""
        if broken := [name for name, value in state.parameters.items() if not bool(value.isfinite().all())]:
            # a finite loss can have a gradient that is not finite
            raise DivergedError(
                f"after update {state.step} the parameters {', '.join(broken[:3])} are no longer finite. The "
                "previous checkpoint is kept. Lower the learning rate."
            )
        digest = recipe_digest(self.recipe)
        save_state(self.path, state, data=self.data_id, compiled=self.compiled, recipe=digest)
        save_planner(self.path, planner_of(self.recipe, self.data, state))

    def _check_still_there(self, step: int) -> None:
        # a checkpoint makes missing folders, and would leave half a run at the old place
        if not (self.path / "recipe.json").is_file():
            raise OutputError(
                f"the run folder {self.path} was moved or removed during training, so nothing was written at step "
                f"{step}. Continue from its last checkpoint at its new place: holdfast train --resume RUN"
            )

    def _saves(self, step: int, *, stopping: bool) -> bool:
        options = self.recipe.training
        return stopping or step == options.steps or step % options.save_every == 0

    def _note(self, state: TrainState, held_out: TrainingSet | None) -> None:
        line: dict[str, int | float | None] = {
            "step": state.step,
            "loss": float(state.loss),
            "learning_rate": learning_rate_at(state.step - 1, self.recipe.training),
            "seconds": round(time.monotonic() - self.opened, 3),
        }
        if self.data.cameras:
            line["waited"] = round(state.waited, 3)
        if held_out is not None:
            line["held_out_loss"] = held_out_loss(self.recipe, held_out, state)
        add_line(self.metrics, line)

    @property
    def metrics(self) -> Path:
        """File of the log."""
        return self.path / "metrics.jsonl"
