"""Checkpoints: interrupted runs lose little, and readers never see a partial file.

    recipe.json                    everything that the run depends on, with a version (`policy.versions`)
    scale.json, model.safetensors  with recipe.json: the deployable policy (EMA weights)
    metrics.jsonl                  one line per logged step
    train_state/state.safetensors  parameters, average and moments; header: step and fingerprint of the data

Each file is written under a temporary name, flushed to disk, then renamed over the old one.
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from .. import __version__
from ..atomic import write_atomically
from ..errors import RunError
from ..policy import RUN_VERSION, read_recipe
from ..recipe import Recipe
from ..schema import from_plain, to_plain
from .dataset import TrainingSet
from .optimise import Moments
from .training import TrainState

T = TypeVar("T")

_PARTS = ("parameters", "average", "first", "second", "count")


def fingerprint(data: TrainingSet) -> str:
    """Digest of the rows, which identifies the data of a resumed training."""
    digest = hashlib.sha256()
    for rows in (data.observations.vector, data.codes, data.windows.lengths):
        # a view: `bytes` would copy all the data
        digest.update(memoryview(cast(Any, rows.cpu().contiguous().numpy())).cast("B"))
    return digest.hexdigest()[:16]


def save_recipe(folder: Path, recipe: Recipe) -> None:
    """Write `recipe.json`."""
    stored = {"version": RUN_VERSION, "holdfast": __version__, **to_plain(recipe)}
    write_atomically(folder / "recipe.json", json.dumps(stored, indent=1).encode())


def load_recipe(folder: Path | str) -> Recipe:
    """Recipe of a run folder.

    Raises:
        RunError: There is none, it is damaged, or it was written by a later version.
    """
    stored = read_recipe(Path(folder))
    return from_plain(Recipe, {key: value for key, value in stored.items() if key not in ("version", "holdfast")})


@dataclass(frozen=True)
class Conditions:
    """Conditions, besides recipe and data, on which the last bits of a training depend."""

    device: str
    threads: int
    compiled: bool


def save_state(folder: Path, state: TrainState, *, data: str, compiled: bool = False) -> None:
    """Write `train_state/state.safetensors`; `data` is the fingerprint of the training set."""
    parts = (state.parameters, state.average, state.moments.first, state.moments.second, state.moments.count)
    tensors = {
        f"{part}/{name}": value.contiguous()
        for part, values in zip(_PARTS, parts, strict=True)
        for name, value in values.items()
    }
    header = {
        "step": state.step,
        "data": data,
        "version": RUN_VERSION,
        "device": state.loss.device.type,
        "threads": torch.get_num_threads(),
        "compiled": compiled,
    }
    # a single entry: safetensors writes several in an order that differs from run to run
    content = save(tensors | {"loss": state.loss}, {"holdfast": json.dumps(header)})
    write_atomically(_state_path(folder), content)


def trained_on(folder: Path) -> Conditions:
    """Conditions of a stopped training, under which it must continue to give the same bits.

    Raises:
        RunError: The training state is missing or damaged.
    """
    header = _guarded(folder, lambda path: _header(path, "cpu"))
    compiled = bool(header.get("compiled", False))
    return Conditions(str(header["device"]), int(header["threads"]), compiled)


def load_state(folder: Path, *, data: str, device: torch.device | str = "cpu") -> TrainState:
    """Training state of a run folder whose data have this fingerprint."""
    known, state = _guarded(folder, lambda path: _read(path, device))
    if known != data:
        raise RunError(
            f"the demonstrations differ from those that {folder} was trained on (fingerprint {data}, expected "
            f"{known}). Restore the data, or start a new training in another folder."
        )
    return state


def _state_path(folder: Path) -> Path:
    return folder / "train_state" / "state.safetensors"


def _guarded(folder: Path, read: Callable[[Path], T]) -> T:
    path = _state_path(folder)
    if not path.exists():
        raise RunError(f"{folder} contains no training state to resume from ({path} is missing). Train again.")
    try:
        return read(path)
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise RunError(f"{path} is damaged ({error}). Train again, or restore it from a copy.") from error


def _header(path: Path, device: torch.device | str) -> dict[str, Any]:
    # safetensors ships no complete types
    opened: Any = safe_open(str(path), framework="pt", device=str(device))
    with opened as file:
        return cast("dict[str, Any]", json.loads(file.metadata()["holdfast"]))


def _read(path: Path, device: torch.device | str) -> tuple[str, TrainState]:
    """Fingerprint of the data, and the training state."""
    header = _header(path, device)
    opened: Any = safe_open(str(path), framework="pt", device=str(device))
    with opened as file:
        tensors = {str(name): cast(torch.Tensor, file.get_tensor(name)) for name in file.keys()}  # noqa: SIM118
    parts = {part: {n[len(part) + 1 :]: v for n, v in tensors.items() if n.startswith(part + "/")} for part in _PARTS}
    state = TrainState(
        step=int(header["step"]),
        parameters=parts["parameters"],
        average=parts["average"],
        moments=Moments(first=parts["first"], second=parts["second"], count=parts["count"]),
        loss=tensors["loss"],
    )
    return str(header["data"]), state
