"""Run folder of a training: what is written, and after which updates."""

import json
import math
import time
from dataclasses import dataclass, field
from pathlib import Path

from ..atomic import write_atomically
from ..errors import DivergedError
from ..policy import save_planner, weight_layouts
from ..recipe import Recipe
from .checkpoint import fingerprint, load_state, recipe_digest, save_state
from .dataset import TrainingSet
from .optimise import learning_rate_at
from .training import TrainState, held_out_loss, planner_of

LOG_EVERY = 50
"""Number of updates between two lines of `metrics.jsonl`."""


@dataclass(frozen=True)
class RunFolder:
    """A training and its run folder; `opened` is the start time on the monotonic clock [s]."""

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
        """Run folder of a training; nothing is written yet."""
        return RunFolder(path, recipe, data, held_out, fingerprint(data), compiled)

    @property
    def empty(self) -> bool:
        """Whether the folder has no complete checkpoint."""
        return not any((self.path / name).exists() for name in ("train_state/state.safetensors", "model.safetensors"))

    def begin(self, state: TrainState) -> None:
        """Write the first checkpoint, before the first update, to a folder that has its recipe."""
        self.save(state)
        self._keep_metrics(until=0)

    def resume(self) -> TrainState:
        """Load the training state, and make weights and metrics consistent with it."""
        state = self.load()
        # a kill between the two writes of a checkpoint leaves the deployable weights older than the state
        save_planner(self.path, planner_of(self.recipe, self.data, state))
        self._keep_metrics(until=state.step)
        return state

    def load(self) -> TrainState:
        """Load the training state."""
        return load_state(
            self.path,
            data=self.data_id,
            device=self.data.device,
            recipe=recipe_digest(self.recipe),
            weights=weight_layouts(self.recipe.policy, self.data.tokenizer),
        )

    def due(self, step: int, *, stopping: bool) -> bool:
        """Whether `after` would write anything."""
        return step % LOG_EVERY == 0 or self._saves(step, stopping=stopping)

    def after(self, state: TrainState, *, stopping: bool) -> None:
        """Write what is due after an update."""
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
        """Remove the lines after a checkpoint, and an incomplete line."""
        lines = self._metrics.read_text().splitlines() if until and self._metrics.exists() else []
        kept = [line for line in lines if line.endswith("}") and json.loads(line)["step"] <= until]
        write_atomically(self._metrics, "".join(line + "\n" for line in kept).encode())

    @property
    def _metrics(self) -> Path:
        return self.path / "metrics.jsonl"
