"""Run folder of a fine-tuning: a run like any other, and what a stopped fine-tuning continues from.

recipe.json, scale.json, interface.json, model.safetensors    the fine-tuned policy, as of the last checkpoint
finetune.json                                                 options, environment, and the run that it came from
metrics.jsonl                                                 one line per iteration
finetune_state/state.safetensors                              weights, moments and counts; header: digests
"""

import itertools
import json
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from ... import __version__
from ...atomic import check_space, clear_unfinished, replacing, write_atomically
from ...errors import DivergedError, HoldfastError, OutputError, RunError
from ...files import as_object, read_json
from ...models import Tuned, TunedModel
from ...policy import Planner, Policy, save_planner
from ...recipe import Recipe
from ...schema import from_plain, to_plain
from ...sealed import digest_of, header_of, layouts, read_sealed, sealed
from ..checkpoint import MOST_THREADS, load_recipe, save_recipe
from ..metrics import add_line, keep_lines
from ..run_place import FINETUNED, check_parts, is_of_run, may_be_lost
from .critic import critic_size
from .options import FineTuning
from .tuner import Iteration, Tuner

STATE = "finetune_state/state.safetensors"
VERSION = 1


@dataclass(frozen=True, kw_only=True)
class Origin:
    """What a fine-tuning is made of, besides the weights with which it begins.

    Attributes:
        run: Run folder of the pre-trained policy, as it was given.
        environment: Name of the environment.
        options: Options of the fine-tuning.
    """

    run: str
    environment: str
    options: FineTuning

    def digest(self, planner: Planner) -> str:
        """Digest of all that the fine-tuning of a policy depends on."""
        return digest_of([to_plain(planner.spec), self.environment, to_plain(self.options)])


def read_origin(folder: Path) -> Origin:
    """What a stored fine-tuning is made of.

    Raises:
        RunError: The folder holds none, or it is damaged or of a later version.
    """
    path = folder / FINETUNED
    if not path.is_file():
        raise RunError(
            f"{folder} holds no fine-tuning: {FINETUNED} is missing. Begin one with: holdfast finetune RUN "
            "--environment NAME --out RUN2"
        )
    stored = as_object(read_json(path, error=RunError), str(path))
    if stored.get("version") != VERSION:
        raise RunError(f"{path} has the version {stored.get('version')!r:.40}, expected {VERSION}. Upgrade holdfast.")
    try:
        options = from_plain(FineTuning, stored["options"])
        return Origin(run=str(stored["run"]), environment=str(stored["environment"]), options=options)
    except (HoldfastError, KeyError, TypeError) as error:
        raise RunError(f"{path} contains no valid fine-tuning: {error}. Restore it from a copy.") from error


def threads_of(folder: Path) -> int:
    """Number of threads of a stopped fine-tuning, with which it must continue to give the same bits.

    Raises:
        RunError: The state is missing or damaged.
    """
    threads = _header(folder).get("threads")
    if type(threads) is not int or not 1 <= threads <= MOST_THREADS:
        raise _damaged(folder, f"it was made with {threads!r:.40} threads")
    return threads


@dataclass(frozen=True)
class FineTuningFolder:
    """A fine-tuning and its run folder; `opened` is the start time on the monotonic clock [s]."""

    path: Path
    origin: Origin
    recipe: Recipe
    opened: float = field(default_factory=time.monotonic)

    def begin(self, tuner: Tuner) -> None:
        """Replace the folder by one with the first checkpoint, from before the first update; other files stay.

        Raises:
            OutputError: The disk has too little room for checkpoints.
        """
        _, tensors = tuner.stored()
        # with moments a state holds up to three times the weights; a new checkpoint is written beside the old one
        check_space(self.path, 8 * sum(value.nbytes for value in tensors.values()))
        anyway = may_be_lost(self.path)
        with replacing(self.path, ours=is_of_run, purpose="training in", one_by_one=anyway) as fresh:
            stored = {"version": VERSION, "holdfast": __version__, **_plain(self.origin)}
            write_atomically(fresh / FINETUNED, json.dumps(stored, indent=1).encode())
            self.save(tuner, fresh)
            keep_lines(fresh / "metrics.jsonl", until=0)

    def resume(self, tuner: Tuner) -> None:
        """Restore the last checkpoint, and make weights and metrics consistent with it.

        Raises:
            RunError: The state is missing or damaged, or of another fine-tuning.
        """
        check_parts(self.path)
        for folder in (self.path, self.path / "finetune_state"):
            clear_unfinished(folder)
        restore(self.path, tuner, self.origin)
        # a kill between the two writes of a checkpoint leaves the deployable weights older than the state
        self._save_policy(tuner, self.path)
        keep_lines(self.path / "metrics.jsonl", until=tuner.iteration)

    def after(self, tuner: Tuner, done: Iteration, *, stopping: bool) -> None:
        """Write what is due after an iteration.

        Raises:
            OutputError: The folder is no longer there.
        """
        if not (self.path / FINETUNED).is_file():
            raise OutputError(
                f"the run folder {self.path} was moved or removed during fine-tuning, so nothing was written after "
                f"iteration {tuner.iteration}. Continue at its new place: holdfast finetune --resume RUN"
            )
        line: dict[str, int | float | None] = {
            "step": tuner.iteration,
            "control_steps": tuner.control_steps,
            "return": done.mean_return,
            "success": done.success,
            "kl": done.kl,
            "clipped": done.clipped,
            "critic_loss": done.critic_loss,
            "explained": done.explained,
            "updates": done.updates,
            "seconds": round(time.monotonic() - self.opened, 3),
        }
        add_line(self.path / "metrics.jsonl", line)
        if stopping or tuner.done or tuner.iteration % tuner.options.save_every == 0:
            self.save(tuner, self.path)

    def save(self, tuner: Tuner, place: Path) -> None:
        """Write a checkpoint.

        Raises:
            DivergedError: A weight is not finite.
        """
        numbers, tensors = tuner.stored()
        if broken := [name for name, value in tensors.items() if not bool(value.isfinite().all())]:
            raise DivergedError(
                f"after iteration {tuner.iteration} {', '.join(broken[:3])} are no longer finite. The previous "
                "checkpoint is kept. Lower the learning rate."
            )
        origin = self.origin.digest(tuner.tuned_planner())
        about = {**numbers, "origin": origin, "threads": torch.get_num_threads(), "version": VERSION}
        state = place / STATE
        state.parent.mkdir(exist_ok=True)
        write_atomically(state, sealed(tensors, about))
        self._save_policy(tuner, place)

    def _save_policy(self, tuner: Tuner, place: Path) -> None:
        planner = tuner.tuned_planner()
        save_recipe(place, tuned_recipe(self.recipe, planner, self.origin.environment))
        save_planner(place, planner)


def tuned_recipe(recipe: Recipe, planner: Planner, environment: str) -> Recipe:
    """Recipe of the fine-tuned policy: that of the pre-trained one, with its model and the environment."""
    return replace(recipe, policy=planner.spec, environment=environment)


def stored_planner(folder: Path) -> tuple[Planner, Recipe]:
    """A policy to continue a stored fine-tuning with: its sampling steps are those of the pre-trained one.

    Raises:
        RunError: The folder is incomplete or damaged.
    """
    planner = Policy.from_pretrained(folder).planner
    model, family = planner.model, planner.spec.model
    if isinstance(family, Tuned) and isinstance(model, TunedModel):
        planner = replace(planner, spec=replace(planner.spec, model=family.base), model=model.pretrained)
    return planner, load_recipe(folder)


def check_critic(folder: Path, origin: Origin, planner: Planner) -> None:
    """Compare the sizes of the stored critic with the options, before one of any size is built.

    Raises:
        RunError: The state is missing or damaged, or its critic has other layers.
    """
    _header(folder)
    found = layouts(folder / STATE)
    sizes = (critic_size(planner.spec), *origin.options.critic_widths, 1)
    # a linear layer, an activation, a linear layer and so on
    for index, (before, after) in enumerate(itertools.pairwise(sizes)):
        layer = found.get(f"critic/layers.{2 * index}.weight")
        if layer is None or layer.shape != (after, before):
            raise _damaged(folder, f"its critic has other layers than the {len(sizes) - 2} of {FINETUNED}")


def restore(folder: Path, tuner: Tuner, origin: Origin) -> None:
    """Restore a tuner from the stored state of a fine-tuning.

    Raises:
        RunError: The state is missing or damaged, or of another fine-tuning.
    """
    path = folder / STATE
    if _header(folder).get("origin") != origin.digest(tuner.tuned_planner()):
        raise RunError(
            f"{folder / FINETUNED} was changed since {path} was written. Restore it from a copy, or begin a new "
            "fine-tuning in another folder."
        )
    try:
        _compare(path, tuner)
        stored = read_sealed(path)
        if stored.digest is None:
            raise RunError("its header lacks the digest with which it was written")
        if broken := stored.not_finite():
            raise RunError(f"it holds numbers that are not finite, in {', '.join(broken[:3])}")
        stored.check()
        tuner.restore(stored.about, stored.tensors)
    except (HoldfastError, KeyError, TypeError, ValueError, RuntimeError, OSError) as error:
        raise _damaged(folder, error) from error


def _compare(path: Path, tuner: Tuner) -> None:
    """Compare the shapes of stored weights with those of the policy and the critic."""
    _, expected = tuner.stored()
    found = layouts(path)
    for name, value in expected.items():
        if name not in found or found[name].shape != tuple(value.shape):
            raise RunError(f"it is of another model: {name} is {found.get(name, 'absent')}")


def _header(folder: Path) -> dict[str, Any]:
    path = folder / STATE
    if not path.exists():
        raise RunError(f"{folder} contains no state to continue from ({path} is missing). Fine-tune again.")
    try:
        return header_of(path)
    except (HoldfastError, OSError) as error:
        raise _damaged(folder, error) from error


def _damaged(folder: Path, reason: object) -> RunError:
    return RunError(f"{folder / STATE} is damaged ({reason}). Fine-tune again, or restore it from a copy.")


def _plain(origin: Origin) -> dict[str, Any]:
    return {"run": origin.run, "environment": origin.environment, "options": to_plain(origin.options)}
