"""A training's run folder, kept up to date: what is written of it, and after which updates."""

import json
import math
import time
from dataclasses import dataclass, field
from pathlib import Path

from ..atomic import write_atomically
from ..errors import DivergedError
from ..policy import save_planner
from ..recipe import Recipe
from .checkpoint import fingerprint, load_state, save_state
from .dataset import TrainingSet
from .optimise import learning_rate_at
from .training import TrainState, held_out_loss, planner_of

__all__ = ["LOG_EVERY", "RunFolder"]

LOG_EVERY = 50
"""Updates between two lines of `metrics.jsonl`."""


@dataclass(frozen=True)
class RunFolder:
    """A training and where it is kept.

    Attributes:
        path: The folder.
        recipe: What is trained.
        data: On what.
        held_out: Episodes whose loss is noted at every checkpoint, if there are any.
        data_id: The training set's fingerprint.
        compiled: Whether the loss is compiled; a resumed training goes on as it was.
        opened: When, by the monotonic clock [s].
    """

    path: Path
    recipe: Recipe
    data: TrainingSet
    held_out: TrainingSet | None
    data_id: str
    compiled: bool = False
    opened: float = field(default_factory=time.monotonic)

    @staticmethod
    def of(
        path: Path, recipe: Recipe, data: TrainingSet, held_out: TrainingSet | None, *, compiled: bool = False
    ) -> "RunFolder":
        """The folder of a training, as yet untouched."""
        return RunFolder(path, recipe, data, held_out, fingerprint(data), compiled)

    @property
    def empty(self) -> bool:
        """Whether no checkpoint was ever finished here."""
        return not any((self.path / name).exists() for name in ("train_state/state.safetensors", "model.safetensors"))

    def begin(self, state: TrainState) -> None:
        """Complete the folder, which holds its recipe, before the first update."""
        self.save(state)
        self._keep_metrics(until=0)

    def resume(self) -> TrainState:
        """The stored training state; weights and metrics are brought in line with it.

        Raises:
            RunError: There is none, it is damaged, or the data changed.
        """
        state = self.load()
        # a kill between the two writes of a checkpoint leaves the deployable weights behind the state
        save_planner(self.path, planner_of(self.recipe, self.data, state))
        self._keep_metrics(until=state.step)
        return state

    def load(self) -> TrainState:
        """The stored training state.

        Raises:
            RunError: There is none, it is damaged, or the data changed.
        """
        return load_state(self.path, data=self.data_id, device=self.data.device)

    def due(self, step: int, *, stopping: bool) -> bool:
        """Whether `after` would write anything."""
        return step % LOG_EVERY == 0 or self._saves(step, stopping=stopping)

    def after(self, state: TrainState, *, stopping: bool) -> None:
        """Note and keep what is due after an update.

        Args:
            state: What it led to.
            stopping: The training is broken off here.

        Raises:
            DivergedError: Parameters are no longer finite; the checkpoint before is kept.
        """
        save = self._saves(state.step, stopping=stopping)
        checked = self.held_out if save else None
        if state.step == self.recipe.training.steps or state.step % LOG_EVERY == 0 or checked is not None:
            self._note(state, checked)
        if save:
            self.save(state)

    def save(self, state: TrainState) -> None:
        """Write a checkpoint.

        Raises:
            DivergedError: Parameters are no longer finite; the checkpoint before is kept.
        """
        if broken := [name for name, value in state.parameters.items() if not bool(value.isfinite().all())]:
            # an update whose loss was finite can still have had a gradient that was not
            raise DivergedError(
                f"after update {state.step} the parameters {', '.join(broken[:3])} are no longer finite. The "
                "checkpoint before is kept. Lower the learning rate."
            )
        save_state(self.path, state, data=self.data_id, compiled=self.compiled)
        save_planner(self.path, planner_of(self.recipe, self.data, state))

    def _saves(self, step: int, *, stopping: bool) -> bool:
        options = self.recipe.training
        return stopping or step == options.steps or step % options.save_every == 0

    def _note(self, state: TrainState, held_out: TrainingSet | None) -> None:
        loss = float(state.loss)
        line: dict[str, float | None] = {
            "step": state.step,
            "loss": loss if math.isfinite(loss) else None,
            "learning_rate": learning_rate_at(state.step - 1, self.recipe.training),
            "seconds": round(time.monotonic() - self.opened, 3),
        }
        if held_out is not None:
            line["held_out_loss"] = held_out_loss(self.recipe, held_out, state)
        with self._metrics.open("a") as file:
            file.write(json.dumps(line) + "\n")

    def _keep_metrics(self, *, until: int) -> None:
        """Drop the lines beyond a checkpoint, and one that a kill left unfinished."""
        lines = self._metrics.read_text().splitlines() if until and self._metrics.exists() else []
        kept = [line for line in lines if line.endswith("}") and json.loads(line)["step"] <= until]
        write_atomically(self._metrics, "".join(line + "\n" for line in kept).encode())

    @property
    def _metrics(self) -> Path:
        return self.path / "metrics.jsonl"
