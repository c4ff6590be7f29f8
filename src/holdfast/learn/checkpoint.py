"""Checkpoints: interrupted runs lose little, and readers never see a partial file.

    recipe.json                    everything that the run depends on, with a version (`policy.versions`)
    scale.json, model.safetensors  with recipe.json: the deployable policy (EMA weights)
    metrics.jsonl                  one line per logged step
    train_state/state.safetensors  parameters, average, moments, constants; header: step, digests

Each file is written under a temporary name, flushed to disk, then renamed over the old one.
"""

import json
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

from .. import __version__
from ..atomic import write_atomically
from ..data import Preparation, Selection
from ..devices import usable_device
from ..errors import HoldfastError, RunError, RunWarning
from ..files import shown
from ..nn import Cameras, FromFile
from ..nn.vision.cameras import blank_cameras
from ..policy import RUN_VERSION, constant_names, read_recipe, weight_layouts
from ..recipe import Recipe
from ..schema import from_plain, to_plain
from ..sealed import Layout, Sealed, digest_of, header_of, layouts, read_sealed, sealed
from ..tokens import Tokenizer
from .fingerprint import Fingerprint, check_same_data
from .optimise import Moments
from .run_place import FINETUNED
from .training import TrainState

T = TypeVar("T")

MOST_THREADS = 1024
"""Largest number of threads that a training state may ask for."""

FIXED = "fixed"
_PARTS = ("parameters", "average", "first", "second", "count")


def save_recipe(folder: Path, recipe: Recipe) -> None:
    """Write `recipe.json`."""
    stored = {"version": RUN_VERSION, "holdfast": __version__, **to_plain(recipe)}
    write_atomically(folder / "recipe.json", json.dumps(stored, indent=1).encode())


def load_recipe(folder: Path | str) -> Recipe:
    """Recipe of a run folder.

    Raises:
        RunError: There is none, it is damaged or invalid, or it was written by a later version.
    """
    stored = read_recipe(Path(folder))
    try:
        return from_plain(Recipe, {key: value for key, value in stored.items() if key not in ("version", "holdfast")})
    except HoldfastError as error:
        raise RunError(f"{Path(folder) / 'recipe.json'} contains no valid recipe: {error}") from error


def recipe_digest(recipe: Recipe) -> str:
    """Digest of all that a training depends on, thus without the place of its data, which may move."""
    plain = to_plain(replace(recipe, data="", environment=None))
    plain["dynamics"].pop("exploration", None)
    # recipes that were written before these fields existed have the same digest
    for name, usual in (("preparation", Preparation()), ("selection", Selection())):
        if getattr(recipe, name) == usual:
            del plain[name]
    policy, empty = plain["policy"], list[Any]()
    selection, preparation = (
        plain.get("selection", {"estimate": None, "depth_range": None}),
        plain.get("preparation", {"segments": "", "absolute_actions": False}),
    )
    turned = [(policy["codec"], "rotations", empty)] if "rotations" in policy["codec"] else []
    added = (
        (policy, "vision", None),
        (policy, "language", None),
        (policy["execution"], "sigma_features", 0.0),
        (policy["execution"], "filter", None),
        (policy, "observed_rotations", empty),
        *turned,
        (selection, "estimate", None),
        (selection, "depth_range", None),
        *((view, "depth", None) for view in (policy["vision"] or {"views": ()})["views"]),
        (preparation, "segments", ""),
        (preparation, "absolute_actions", False),
    )
    for part, name, usual in added:
        if part[name] == usual:
            del part[name]
    if recipe.training.encoder_learning_rate is None:
        del plain["training"]["encoder_learning_rate"]
    return digest_of(plain)


@dataclass(frozen=True)
class Conditions:
    """Conditions, besides recipe and data, on which the last bits of a training depend."""

    device: str
    threads: int
    compiled: bool


def save_state(
    folder: Path, state: TrainState, *, data: Fingerprint, compiled: bool = False, recipe: str | None = None
) -> None:
    """Write `train_state/state.safetensors`; `data` is the fingerprint of the training set, `recipe` a digest."""
    parts = (state.parameters, state.average, state.moments.first, state.moments.second, state.moments.count)
    tensors = {
        f"{part}/{name}": value for part, values in zip(_PARTS, parts, strict=True) for name, value in values.items()
    }
    header = {
        "step": state.step,
        "data": data.stored(),
        "version": RUN_VERSION,
        "device": state.loss.device.type,
        "threads": torch.get_num_threads(),
        "compiled": compiled,
    }
    constants = {f"{FIXED}/{name}": value for name, value in state.fixed.items()}
    about = header if recipe is None else {**header, "recipe": recipe}
    write_atomically(_state_path(folder), sealed(tensors | constants | {"loss": state.loss}, about))


def trained_on(folder: Path) -> Conditions:
    """Conditions of a stopped training, under which it must continue to give the same bits.

    Raises:
        RunError: The training state is missing or damaged.
    """
    header = _guarded(folder, header_of)
    device, threads = header.get("device"), header.get("threads")
    if not isinstance(device, str) or type(threads) is not int or not 1 <= threads <= MOST_THREADS:
        raise _damaged(_state_path(folder), f"it was trained on {shown(device)} with {shown(threads)} threads")
    return Conditions(device, threads, header.get("compiled") is True)


def load_state(
    folder: Path,
    *,
    data: Fingerprint,
    device: torch.device | str = "cpu",
    recipe: Recipe | None = None,
    tokenizer: Tokenizer | None = None,
) -> TrainState:
    """Training state of a run folder.

    Args:
        folder: Run folder.
        data: Fingerprint of the training set.
        device: Device of the tensors.
        recipe: Recipe of the training. Default: not compared.
        tokenizer: Fitted tokenizer, for families of tokens.

    Raises:
        RunError: It is missing or damaged, or belongs to other data, another recipe or another model.
        RecipeError: This machine does not have the device.
    """
    found = usable_device(device)

    def compare(path: Path) -> None:
        if recipe is not None:
            _compare_policy(path, recipe, tokenizer)

    stored = _guarded(folder, lambda path: _read(path, found, compare))
    check_same_data(data, stored.about.get("data"), folder)
    if recipe is not None and stored.about.get("recipe") not in (None, recipe_digest(recipe)):
        raise _changed(folder / "recipe.json", folder)
    if stored.digest is None:
        warnings.warn(
            f"the training state of {folder} was written before holdfast stored digests: whether it holds what was "
            "written cannot be checked.",
            RunWarning,
            stacklevel=3,
        )
    return _guarded(folder, lambda path: _state(stored))


def load_state_of(
    folder: Path,
    *,
    parameters: Mapping[str, Tensor],
    data: Fingerprint,
    recipe: str,
    recipe_file: Path,
    device: torch.device | str = "cpu",
) -> TrainState:
    """Training state of a model without constants.

    Args:
        folder: Run folder.
        parameters: Parameters of the model, whose names and shapes are compared.
        data: Fingerprint of the data.
        recipe: Digest of the recipe.
        recipe_file: Its file, for messages.
        device: Device of the tensors.

    Raises:
        RunError: It is missing or damaged, or belongs to other data, another recipe or another model.
    """
    weights = {name: Layout(tuple(value.shape), value.dtype) for name, value in parameters.items()}
    stored = _guarded(folder, lambda path: _read(path, device, lambda path: _compare(layouts(path), weights, {})))
    check_same_data(data, stored.about.get("data"), folder)
    if stored.about.get("recipe") != recipe:
        raise _changed(recipe_file, folder)
    if stored.digest is None:
        raise _damaged(_state_path(folder), "its header lacks the digest with which it was written")
    return _guarded(folder, lambda path: _state(stored))


def _changed(recipe: Path, folder: Path) -> RunError:
    return RunError(
        f"{recipe} was changed since {folder} was trained on it. Restore it from a copy, or start a new training in "
        "another folder."
    )


def _state_path(folder: Path) -> Path:
    return folder / "train_state" / "state.safetensors"


def _guarded(folder: Path, read: Callable[[Path], T]) -> T:
    path = _state_path(folder)
    if not path.exists() and (folder / FINETUNED).exists():
        raise RunError(f"{folder} was fine-tuned, not trained. Continue with: holdfast finetune --resume {folder}")
    if not path.exists():
        raise RunError(f"{folder} contains no training state to resume from ({path} is missing). Train again.")
    try:
        return read(path)
    except (HoldfastError, KeyError, TypeError, ValueError, OSError) as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, reason: object) -> RunError:
    return RunError(f"{path} is damaged ({reason}). Train again, or restore it from a copy.")


def _compare_policy(path: Path, recipe: Recipe, tokenizer: Tokenizer | None) -> None:
    found = layouts(path)
    weights = {name: layout for name, layout in found.items() if name.startswith((f"{_PARTS[0]}/", f"{FIXED}/"))}
    layouts_of = weight_layouts(recipe.policy, tokenizer, stored=weights)
    constant = constant_names(recipe.policy, tokenizer, stored=weights)
    fixed = {name: one for name, one in layouts_of.items() if name in constant}
    _compare(found, {name: one for name, one in layouts_of.items() if name not in constant}, fixed)


def _read(path: Path, device: torch.device | str, compare: Callable[[Path], None]) -> Sealed:
    """The stored state, whose sizes fit and whose numbers are those that were written."""
    compare(path)
    stored = read_sealed(path, device)
    if broken := [name for name in stored.not_finite() if name != "loss"]:
        raise RunError(f"it holds numbers that are not finite, in {', '.join(broken[:3])}")
    stored.check()
    return stored


def _compare(found: Mapping[str, Layout], weights: Mapping[str, Layout], fixed: Mapping[str, Layout]) -> None:
    count = Layout((), torch.float32)
    expected = {f"{part}/{name}": count if part == "count" else one for part in _PARTS for name, one in weights.items()}
    expected["loss"] = count
    expected |= {f"{FIXED}/{name}": one for name, one in fixed.items()}
    if differing := [name for name in {**expected, **found} if expected.get(name) != found.get(name)]:
        here, there = found.get(differing[0], "absent"), expected.get(differing[0], "absent")
        raise RunError(f"it is of another model: {differing[0]} is {here} instead of {there}")


def _state(stored: Sealed) -> TrainState:
    step = stored.about.get("step")
    if type(step) is not int or step < 0:
        raise RunError(f"expected a step of 0 or above, got {shown(step)}")
    tensors = stored.tensors
    parts = {part: {n[len(part) + 1 :]: v for n, v in tensors.items() if n.startswith(part + "/")} for part in _PARTS}
    return TrainState(
        step=step,
        parameters=parts["parameters"],
        average=parts["average"],
        moments=Moments(first=parts["first"], second=parts["second"], count=parts["count"]),
        loss=tensors["loss"],
        fixed={name.removeprefix(f"{FIXED}/"): one for name, one in tensors.items() if name.startswith(f"{FIXED}/")},
    )


def stored_encoders(recipe: Recipe, folder: Path) -> Cameras | None:
    """The pre-trained encoders of a run, to continue its training without the file of their weights.

    Raises:
        RunError: The training state is missing or damaged.
    """
    vision = recipe.policy.vision
    if vision is None or not isinstance(vision.encoder, FromFile):
        return None
    stored = _guarded(folder, lambda path: read_sealed(path).tensors)
    places = (f"{FIXED}/cameras.", f"{_PARTS[0]}/cameras.")
    found = {name.partition("cameras.")[2]: value for name, value in stored.items() if name.startswith(places)}
    cameras = blank_cameras(vision)
    try:
        cameras.load_state_dict(found)
    except RuntimeError as error:
        raise _damaged(_state_path(folder), error) from error
    return cameras
