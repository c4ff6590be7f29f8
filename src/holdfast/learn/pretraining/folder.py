"""Folder of a pre-training: what is written, and after which updates.

pretraining.json               everything that it depends on
encoder.safetensors            the encoder, with averaged weights: all that a policy needs
metrics.jsonl                  one line per logged step
train_state/state.safetensors  what a resumed training continues from
result.json, pictures.png      at the end: losses, and pictures by which people judge the model
"""

import json
import re
import time
from dataclasses import dataclass, field
from pathlib import Path

import torch

from ... import __version__
from ...atomic import check_movable, check_space, clear_unfinished, leaves, refuse_links, replacing, write_atomically
from ...errors import DivergedError, HoldfastError, OutputError, RunError
from ...files import as_object, read_json
from ...nn import SelfSupervised
from ...nn.vision.pretraining import PretrainingModel
from ...nn.vision.self_supervised import FILE, encoder_bytes
from ...schema import from_plain, to_plain
from ...seeding import stream
from ..checkpoint import load_state_of, save_state
from ..fingerprint import Fingerprint
from ..metrics import add_line, keep_lines
from ..optimise import learning_rate_at
from ..run_folder import LOG_EVERY
from ..training import TrainState
from .frames import PictureSet
from .recipe import Pretraining
from .updates import first_state, held_out_loss, pretraining_model

RECIPE, STATE = "pretraining.json", "train_state/state.safetensors"
VERSION = 1
FITTED = 1024
"""Number of pictures to which a part of an encoder is fitted that its method does not train."""

_PARTS = re.compile(
    r"(pretraining|result)\.json|encoder\.safetensors|metrics(\.damaged-\d+)?\.jsonl|pictures\.png"
    r"|train_state(/state\.safetensors)?"
)


def is_of_pretraining(relative: str) -> bool:
    """Whether a path in the folder of a pre-training belongs to it.

    >>> [is_of_pretraining(path) for path in ("encoder.safetensors", "notes.txt")]
    [True, False]
    """
    return _PARTS.fullmatch(relative) is not None


def check_pretraining(folder: Path, *, overwrite: bool) -> None:
    """Refuse a folder that a new pre-training may not replace.

    Raises:
        OutputError: It contains one and `overwrite` was not given, or is no such folder.
    """
    if not folder.exists() or (folder.is_dir() and not any(leaves(folder))):
        return
    if not (folder / RECIPE).is_file():
        raise OutputError(f"{folder} exists already and is not a folder of holdfast pretrain. Choose another folder.")
    if (folder / STATE).exists():
        if not overwrite:
            raise OutputError(f"{folder} exists already. Choose another folder, or replace it with --overwrite.")
        check_movable(folder)


def load_pretraining(folder: Path) -> Pretraining:
    """Recipe of the folder of a pre-training.

    Raises:
        RunError: There is none, it is damaged or invalid, or it was written by a later version.
    """
    path = folder / RECIPE
    if not path.is_file():
        raise RunError(f"{folder} holds no pre-training: {RECIPE} is missing. Make one with: holdfast pretrain DATA")
    stored = as_object(read_json(path, error=RunError), str(path))
    if stored.get("version") != VERSION:
        raise RunError(f"{path} has the version {stored.get('version')!r:.40}, expected {VERSION}. Upgrade holdfast.")
    try:
        return from_plain(Pretraining, {key: one for key, one in stored.items() if key not in ("version", "holdfast")})
    except HoldfastError as error:
        raise RunError(f"{path} contains no valid recipe: {error}") from error


@dataclass(frozen=True)
class PretrainingFolder:
    """A pre-training and its folder; `opened` is the start time on the monotonic clock [s]."""

    path: Path
    recipe: Pretraining
    pictures: PictureSet
    device: torch.device
    data_id: Fingerprint
    opened: float = field(default_factory=time.monotonic)

    def open(self, *, resume: bool) -> TrainState:
        """State from which the training starts: the stored one, or a new one."""
        if resume and (self.path / STATE).exists():
            return self._resume()
        state = first_state(self.recipe, self.device)
        check_space(self.path, sum(10 * value.nbytes for value in state.parameters.values()))
        with replacing(self.path, ours=is_of_pretraining, purpose="training in") as fresh:
            stored = {"version": VERSION, "holdfast": __version__, **to_plain(self.recipe)}
            write_atomically(fresh / RECIPE, json.dumps(stored, indent=1).encode())
            self._save(state, fresh)
            keep_lines(fresh / "metrics.jsonl", until=0)
        return state

    def _resume(self) -> TrainState:
        refuse_links(self.path, (part for part in leaves(self.path) if is_of_pretraining(part)))
        for folder in (self.path, self.path / "train_state"):
            clear_unfinished(folder)
        state = load_state_of(
            self.path,
            parameters=first_state(self.recipe).parameters,
            data=self.data_id,
            recipe=self.recipe.digest,
            recipe_file=self.path / RECIPE,
            device=self.device,
        )
        # a kill between the two writes of a checkpoint leaves the encoder older than the state
        self._save_encoder(state, self.path)
        keep_lines(self.path / "metrics.jsonl", until=state.step)
        return state

    def after(self, state: TrainState, *, stopping: bool) -> None:
        """Write what is due after an update.

        Raises:
            OutputError: The folder is no longer there.
        """
        options = self.recipe.training
        save = stopping or state.step == options.steps or state.step % options.save_every == 0
        if not save and state.step % LOG_EVERY:
            return
        if not (self.path / RECIPE).is_file():
            raise OutputError(
                f"the folder {self.path} was moved or removed during training, so nothing was written at step "
                f"{state.step}. Continue at its new place: holdfast pretrain --resume DIR"
            )
        self._note(state, checked=save)
        if save:
            self._save(state, self.path)

    def model(self, state: TrainState) -> PretrainingModel:
        """The model with averaged weights."""
        return pretraining_model(self.recipe, state.average).to(self.device)

    def _note(self, state: TrainState, *, checked: bool) -> None:
        line: dict[str, int | float | None] = {
            "step": state.step,
            "loss": float(state.loss),
            "learning_rate": learning_rate_at(state.step - 1, self.recipe.training),
            "seconds": round(time.monotonic() - self.opened, 3),
            "waited": round(state.waited, 3),
        }
        found = held_out_loss(self.recipe, self.pictures, state) if checked else None
        add_line(self.path / "metrics.jsonl", line if found is None else {**line, "held_out_loss": found})

    def _save(self, state: TrainState, place: Path) -> None:
        if broken := [name for name, value in state.parameters.items() if not bool(value.isfinite().all())]:
            # a finite loss can have a gradient that is not finite
            raise DivergedError(
                f"after update {state.step} the parameters {', '.join(broken[:3])} are no longer finite. The previous "
                "checkpoint is kept. Lower the learning rate."
            )
        save_state(place, state, data=self.data_id, recipe=self.recipe.digest)
        self._save_encoder(state, place)

    def _save_encoder(self, state: TrainState, place: Path) -> None:
        view, rng = self.recipe.vision.views[0], stream(self.recipe.seed, "fitted")
        fitted_to = self.pictures.sample(FITTED, held_out=False, rng=rng).to(self.device)
        method, size = type(self.recipe.method).__name__, view.encoded
        options = SelfSupervised.of(self.recipe.vision.encoder, method, channels=view.channels, size=size)
        encoder = self.model(state).ready_encoder(fitted_to).cpu()
        write_atomically(place / FILE, encoder_bytes(options, encoder))
