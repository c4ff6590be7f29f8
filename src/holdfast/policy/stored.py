"""The deployable part of a run folder: what is written, and what is compared before any of it is used.

    recipe.json            policy: sizes, model, execution
    scale.json             scales of observations and codes
    interface.json         names, order, units, time step and ranges of what the policy was trained on
    model.safetensors      weights; header: digests of the weights and of the others
    tokenizer.safetensors  for families of tokens

A folder may come from anyone. Nothing in it is imported, called or unpickled; sizes are compared with the header of the
weights before the model is built; everything must be finite, belong together and be what was written. Runs written
before there were digests are read with a `RunWarning` that names what cannot be checked.
"""

import hashlib
import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn, cast

import torch

from ..atomic import put_back, write_atomically
from ..data import MinMax
from ..devices import usable_device
from ..errors import HoldfastError, RunError, RunWarning
from ..files import as_object, read_json
from ..models import ChunkModel, tokenizer_options
from ..nn.vision.self_supervised import FILE as ENCODER
from ..schema import assumed, from_plain, to_plain
from ..sealed import Sealed, digest_of, layouts, read_sealed, sealed
from ..tokens import Tokenizer, load_tokenizer, tokenizer_bytes
from .base import PolicySpec
from .planner import Planner, blank_model, sizes_of
from .sizes import check_layouts, check_numbers
from .stored_interface import interface_from, interface_of_scales, plain_interface, with_prefix_delays
from .versions import upgrade

WEIGHTS, SCALES, TOKENIZER, RECIPE = "model.safetensors", "scale.json", "tokenizer.safetensors", "recipe.json"
INTERFACE = "interface.json"
LIBRARY_FILE = "skills.json"
"""File of a skill library, which is no run folder."""

WAY_OUT = "Train again, or restore it from a copy."

# fields that older runs lack: their defaults are the policy that was stored
_LATER = (
    *("kind", "vision", "language", "execution.on_nonfinite", "execution.sigma_features"),
    *("codec.rotations", "observed_rotations"),
)

_PARTS = {"policy": RECIPE, "scale": SCALES, "interface": INTERFACE, "tokenizer": TOKENIZER}


def save_planner(folder: Path, planner: Planner) -> None:
    """Write `scale.json`, `interface.json`, `model.safetensors` and, for families of tokens, `tokenizer.safetensors`.

    A planner without an interface has no `interface.json`.
    """
    scales = {"observation": planner.observation_scale.to_plain(), "code": planner.code_scale.to_plain()}
    write_atomically(folder / SCALES, json.dumps(scales, indent=1))
    tokenizer = None if planner.model.tokenizer is None else tokenizer_bytes(planner.model.tokenizer)
    interface = plain_interface(planner.interface)
    if interface is not None:
        write_atomically(folder / INTERFACE, json.dumps(interface, indent=1))
    about = _digests(to_plain(planner.spec), scales, tokenizer) | {"interface": digest_of(interface)}
    write_atomically(folder / WEIGHTS, sealed(planner.model.state_dict(), about))
    if tokenizer is not None:
        write_atomically(folder / TOKENIZER, tokenizer)


def read_planner(folder: Path, *, device: torch.device | str = "cpu") -> Planner:
    """The planner of a run folder.

    Raises:
        RunError: The folder is incomplete, damaged, of parts that do not belong together, or of a later version.
        RecipeError: This machine does not have the device.
    """
    device = usable_device(device)
    stored = _stored_recipe(folder)
    plain = _upgraded(folder, stored)["policy"]
    spec = _spec(folder / RECIPE, plain)
    scales = _read_object(folder / SCALES)
    observation_scale, code_scale = _scales(folder / SCALES, scales, spec)
    tokenizer = None if tokenizer_options(spec.model) is None else load_tokenizer(folder / TOKENIZER)
    model, weights = _model(folder, spec, tokenizer)
    content = None if tokenizer is None else (folder / TOKENIZER).read_bytes()
    # a file that the weights do not mention was not written with them
    listed = "interface" in weights.about
    described = _interface(folder) if listed else None
    digests = _digests(stored["policy"], scales, content) | ({"interface": digest_of(described)} if listed else {})
    _check_digests(folder, weights, digests)
    if weights.digest is None:
        _warn(folder, stored["policy"], assumed(plain, to_plain(spec)))
    model.load_state_dict(dict(weights.tensors), assign=True)
    model.to(device).eval()
    if listed:
        interface = interface_from(described, spec, folder / INTERFACE)
    else:
        interface = interface_of_scales(folder, spec, observation_scale, code_scale)
    interface = with_prefix_delays(interface, stored.get("training"), spec)
    return Planner(spec, model, observation_scale=observation_scale, code_scale=code_scale, interface=interface)


def read_recipe(folder: Path) -> dict[str, Any]:
    """The recipe of a run folder as plain values, upgraded to the current version."""
    return _upgraded(folder, _stored_recipe(folder))


def _digests(policy: Any, scales: Mapping[str, Any], tokenizer: bytes | None) -> dict[str, str]:
    found = {"policy": digest_of(policy), "scale": digest_of(scales)}
    return found if tokenizer is None else {**found, "tokenizer": hashlib.sha256(tokenizer).hexdigest()}


def _interface(folder: Path) -> Any:
    """The stored interface; `None` if there is no file, which the digest in the weights confirms or refutes."""
    return _read_object(folder / INTERFACE) if (folder / INTERFACE).exists() else None


def _stored_recipe(folder: Path) -> dict[str, Any]:
    put_back(folder)
    if not folder.exists():
        raise RunError(f"{folder} does not exist. Make a run folder with: holdfast train DATA --out {folder}")
    if not (folder / RECIPE).exists():
        if (folder / ENCODER).exists():
            raise RunError(
                f"{folder} holds an encoder of holdfast pretrain, not a policy. Train a policy that starts from it: "
                f"holdfast train DATA --images CAMERA --encoder-weights {folder} --out RUN"
            )
        if (folder / LIBRARY_FILE).exists():
            raise RunError(
                f"{folder} is a skill library, not the run of one policy: holdfast evaluate runs it, and "
                "holdfast.load_skills loads it. Here, give the run folder of one of its skills, which its "
                f"{LIBRARY_FILE} names."
            )
        if seeds := sorted(path.parent.name for path in folder.glob(f"seed*/{RECIPE}")):
            raise RunError(
                f"{folder} holds the runs of {len(seeds)} seed{'s' * (len(seeds) != 1)}, each in a folder of its own. "
                f"Give one of them, for example {folder / seeds[0]}."
            )
        raise RunError(
            f"{folder} is not a run folder: recipe.json is missing. Make one with: holdfast train DATA --out RUN"
        )
    return _read_object(folder / RECIPE)


def _upgraded(folder: Path, stored: Mapping[str, Any]) -> dict[str, Any]:
    try:
        found = upgrade(stored)
    except RunError as error:
        raise RunError(f"{folder}: {error}") from error
    if "policy" not in found:
        raise RunError(f"{folder / RECIPE} lacks the field policy. Train again with: holdfast train")
    try:
        check_numbers(found["policy"])
    except RunError as error:
        raise RunError(f"{folder / RECIPE} contains no valid policy: {error}.") from error
    return found


def _spec(path: Path, plain: Any) -> PolicySpec:
    try:
        spec = from_plain(PolicySpec, plain)
        # a default in place of these would be another policy; they were stored from the first version on
        if lost := [name for name in assumed(plain, to_plain(spec)) if "." not in name and name not in _LATER]:
            raise RunError(f"it lacks the field {', '.join(lost)}, which decides how the policy acts")
    except HoldfastError as error:
        raise RunError(f"{path} contains no valid policy: {error}") from error
    return spec


def _scales(path: Path, stored: Mapping[str, Any], spec: PolicySpec) -> tuple[MinMax, MinMax]:
    """Scales of observations and codes, of the widths of the policy."""
    widths = {"observation": spec.n_encoded, "code": sizes_of(spec).width}
    if unknown := sorted(stored.keys() - widths.keys()):
        _damaged(path, f"expected the fields {', '.join(widths)}, got {', '.join(unknown)!r:.80} as well")
    try:
        found = {name: MinMax.from_plain(stored[name]) for name in widths}
    except KeyError as error:
        _damaged(path, f"the field {error} is missing")
    except (HoldfastError, TypeError) as error:
        _damaged(path, error)
    for name, width in widths.items():
        if len(found[name].low) != width:
            raise RunError(
                f"{path} does not fit this policy: its {name} scale has {len(found[name].low)} coordinates, the recipe "
                f"{width}. Restore the scale.json that was written with this recipe."
            )
    return found["observation"], found["code"]


def _model(folder: Path, spec: PolicySpec, tokenizer: Tokenizer | None) -> tuple[ChunkModel, Sealed]:
    """A model without weights, and the weights that fit it."""
    path = _existing(folder / WEIGHTS)
    try:
        check_layouts(spec, tokenizer, layouts(path))
        weights = read_sealed(path)
    except (HoldfastError, OSError) as error:
        raise RunError(f"{path} does not fit this policy: {error}.") from error
    if broken := weights.not_finite():
        raise RunError(
            f"{path} holds numbers that are not finite, in {', '.join(broken[:3])}: no action would be finite. Train "
            "again, or restore it from a copy."
        )
    return blank_model(spec, tokenizer=tokenizer), weights


def _check_digests(folder: Path, weights: Sealed, digests: Mapping[str, str]) -> None:
    """Compare the weights with their digest, and the other files with those that they were written with."""
    try:
        weights.check()
    except HoldfastError as error:
        _damaged(folder / WEIGHTS, error)
    if weights.digest is None:
        return
    for part, digest in digests.items():
        if weights.about.get(part) != digest:
            raise RunError(
                f"{folder / _PARTS[part]} is not the one that {folder / WEIGHTS} was written with: it was changed, or "
                "belongs to another run. Restore it from a copy. Other execution settings need no change of a file: "
                "Policy.from_pretrained(RUN, execution=...), or options of holdfast evaluate."
            )


def _warn(folder: Path, policy: Any, lacking: list[str]) -> None:
    """Name what cannot be checked in a run that was written before there were digests."""
    execution = cast("Mapping[str, Any]", policy).get("execution")
    if isinstance(execution, Mapping) and "on_nonfinite" in execution:
        _damaged(folder / WEIGHTS, "its header lacks the digest with which it was written")
    fields = [name for name in lacking if name not in _LATER]
    values = f"; it lacks {', '.join(fields)}, which have their defaults" if fields else ""
    warnings.warn(
        f"{folder} was written before holdfast stored digests: whether its files belong together and hold what was "
        f"written cannot be checked{values}. If you trust it, store them: hf.load(RUN).save_pretrained(NEW).",
        RunWarning,
        stacklevel=5,
    )


def _existing(path: Path) -> Path:
    if not path.exists():
        raise RunError(
            f"{path.parent} is incomplete: {path.name} is missing. "
            f"If its training was stopped, continue with: holdfast train --resume {path.parent}"
        )
    return path


def _read_object(path: Path) -> dict[str, Any]:
    file = _existing(path)
    try:
        found = read_json(file, error=RunError, way_out=WAY_OUT, unique=True)
    except OSError as error:  # a folder, or not readable
        _damaged(path, error)
    return as_object(found, f"{path} is damaged: it", error=RunError, way_out=WAY_OUT)


def _damaged(path: Path, reason: object) -> NoReturn:
    raise RunError(f"{path} is damaged ({reason}). {WAY_OUT}")
