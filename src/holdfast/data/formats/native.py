"""Holdfast's own format: a folder of two files.

    DATA/
      episodes.json          format, version, lengths, dt, system, a description of the arrays, and free `meta`
      episodes.safetensors   actions, states, and, where there are any, final_states, observation.state,
                             observation.environment_state, observation.images.<camera>

Numbers keep their dtype and every bit; nothing in it is a pickle. A folder appears whole or not at all: it is written
under another name beside its place and then renamed.
"""

import json
import os
import secrets
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file  # pyright: ignore[reportUnknownVariableType]
from torch import Tensor

from ...errors import DataError, OutputError
from ...types import Episodes, Observation
from ..validity import validate

__all__ = ["HEADER", "check_target", "read", "read_meta", "write"]

FORMAT, VERSION = "holdfast-episodes", 1
HEADER, TENSORS = "episodes.json", "episodes.safetensors"
CAMERA = "observation.images."


def write(
    episodes: Episodes, path: Path | str, *, meta: Mapping[str, Any] | None = None, overwrite: bool = False
) -> None:
    """Write episodes to a new folder.

    Args:
        episodes: What to store.
        path: The folder to make; its parents are made as needed.
        meta: Anything else to keep, as JSON values: seeds, experts, names of coordinates.
        overwrite: Replace a data set that is already there.

    Raises:
        DataError: Episodes that `validate` refuses, or `meta` that JSON cannot hold.
        OutputError: The folder exists and `overwrite` is not set, or what exists is no data set of this format.

    >>> import tempfile
    >>> short = Episodes(actions=torch.zeros(3, 1), states=torch.ones(3, 2), lengths=torch.tensor([1, 2]))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write(short, f"{folder}/demos", meta={"seed": 0})
    ...     read(f"{folder}/demos").lengths.tolist(), read_meta(f"{folder}/demos")
    ([1, 2], {'seed': 0})
    """
    target = Path(path).resolve()
    validate(episodes, source="the episodes to write")
    tensors = _tensors(episodes)
    header = _header(episodes, tensors, meta or {})
    check_target(target, overwrite=overwrite)
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.{secrets.token_hex(4)}.partial")
    try:
        partial.mkdir()
        (partial / HEADER).write_text(header, encoding="utf-8")
        save_file(tensors, partial / TENSORS)
        _move(partial, target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def read(path: Path | str) -> Episodes:
    """Read a folder that `write` made.

    Raises:
        DataError: A file is missing, damaged or cut short, or was written by a newer version.
    """
    folder = Path(path)
    header = _read_header(folder)
    lengths = _lengths(header, folder)
    tensors = _read_tensors(folder)
    _check_rows(tensors, lengths, folder)
    return Episodes(
        actions=tensors["actions"],
        states=tensors["states"],
        lengths=lengths,
        final_states=tensors.get("final_states"),
        observations=_observation(tensors),
        dt=_field(header, "dt", folder),
        system=_field(header, "system", folder),
    )


def read_meta(path: Path | str) -> dict[str, Any]:
    """The free `meta` that was written with a set of episodes; the arrays are not read.

    Raises:
        DataError: The header is missing, damaged, or of a newer version.
    """
    return _field(_read_header(Path(path)), "meta", Path(path))


def _tensors(episodes: Episodes) -> dict[str, Tensor]:
    found: dict[str, Tensor | None] = {
        "actions": episodes.actions,
        "states": episodes.states,
        "final_states": episodes.final_states,
    }
    if (seen := episodes.observations) is not None:
        found |= {"observation.state": seen.state, "observation.environment_state": seen.environment_state}
        found |= {CAMERA + camera: pictures for camera, pictures in seen.images.items()}
    # Cloned, because safetensors refuses arrays that share memory, and an observation often is the state.
    return {
        name: t.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, t in found.items()
        if t is not None
    }


def _header(episodes: Episodes, tensors: Mapping[str, Tensor], meta: Mapping[str, Any]) -> str:
    content = {
        "format": FORMAT,
        "version": VERSION,
        "system": episodes.system,
        "dt": episodes.dt,
        "lengths": [int(length) for length in episodes.lengths],
        "arrays": {name: {"shape": list(t.shape), "dtype": str(t.dtype)} for name, t in tensors.items()},
        "meta": dict(meta),
    }
    try:
        return json.dumps(content, indent=1, allow_nan=False, ensure_ascii=False)
    except (TypeError, ValueError) as error:
        raise DataError(
            f"meta cannot be stored as JSON: {error}. Use numbers, strings, lists and dictionaries."
        ) from error


def check_target(path: Path | str, *, overwrite: bool) -> None:
    """Refuse a folder that `write` would refuse, before the work that fills it.

    Raises:
        OutputError: It exists and `overwrite` is not given, or it is no data set of Holdfast.
    """
    target = Path(path)
    if not target.exists():
        return
    if not overwrite:
        raise OutputError(f"{target} exists already. Choose another folder, or replace it with `--overwrite`.")
    # Replacing deletes what was there, so it must be ours: a mistyped path must not cost a home folder.
    if not (target / HEADER).is_file():
        raise OutputError(
            f"{target} is not a data set of Holdfast (it has no {HEADER}), so `--overwrite` does not replace it. "
            "Choose another folder, or remove it yourself."
        )


def _move(partial: Path, target: Path) -> None:
    """Put the finished folder in its place; an older one is set aside first: a full folder cannot be replaced."""
    if not target.exists():
        os.rename(partial, target)
        return
    aside = partial.with_suffix(".old")
    os.rename(target, aside)
    try:
        os.rename(partial, target)
    except OSError:
        os.rename(aside, target)
        raise
    shutil.rmtree(aside)


def _read_header(folder: Path) -> dict[str, Any]:
    try:
        header = json.loads((folder / HEADER).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DataError(f"{folder} has no {HEADER}, so it is no data set of Holdfast. Was it copied whole?") from error
    except ValueError as error:
        raise DataError(f"{folder / HEADER} is damaged ({error}). Copy or write the data set again.") from error
    if not isinstance(header, dict) or cast("dict[str, Any]", header).get("format") != FORMAT:
        raise DataError(f"{folder / HEADER} does not say format {FORMAT!r}. Was it written by another program?")
    header = cast("dict[str, Any]", header)
    version = _field(header, "version", folder)
    if not isinstance(version, int) or version > VERSION:
        raise DataError(
            f"{folder} has version {version} of the format, but this Holdfast reads up to {VERSION}. Upgrade it: "
            "pip install -U holdfast"
        )
    return header


def _field(header: Mapping[str, Any], name: str, folder: Path) -> Any:
    if name not in header:
        raise DataError(f"{folder / HEADER} lacks {name!r}. Copy or write the data set again.")
    return header[name]


def _lengths(header: Mapping[str, Any], folder: Path) -> Tensor:
    lengths = _field(header, "lengths", folder)
    if not isinstance(lengths, list) or not all(isinstance(length, int) for length in cast("list[Any]", lengths)):
        raise DataError(f"{folder / HEADER}: lengths must be a list of whole numbers. Write the data set again.")
    return torch.tensor(lengths, dtype=torch.int64)


def _read_tensors(folder: Path) -> dict[str, Tensor]:
    try:
        return load_file(folder / TENSORS)
    except FileNotFoundError as error:
        raise DataError(f"{folder} has no {TENSORS}. Was it copied whole? Copy or write the data set again.") from error
    except SafetensorError as error:
        raise DataError(
            f"{folder / TENSORS} is damaged or cut short ({error}). Copy or write the data set again."
        ) from error


def _check_rows(tensors: Mapping[str, Tensor], lengths: Tensor, folder: Path) -> None:
    """Header and arrays must belong together."""
    if missing := {"actions", "states"} - tensors.keys():
        raise DataError(f"{folder / TENSORS} lacks {', '.join(sorted(missing))}. Copy or write the data set again.")
    for name, values in tensors.items():
        expected = len(lengths) if name == "final_states" else int(lengths.sum())
        axes = 4 if name.startswith(CAMERA) else 2
        if values.ndim != axes or len(values) != expected:
            raise DataError(
                f"{folder}: {name} has shape {list(values.shape)}, but {HEADER} says {expected} rows. The two files do "
                "not belong together: copy or write the data set again."
            )


def _observation(tensors: Mapping[str, Tensor]) -> Observation | None:
    if "observation.state" not in tensors:
        return None
    return Observation(
        state=tensors["observation.state"],
        environment_state=tensors.get("observation.environment_state"),
        images={name.removeprefix(CAMERA): values for name, values in tensors.items() if name.startswith(CAMERA)},
    )
