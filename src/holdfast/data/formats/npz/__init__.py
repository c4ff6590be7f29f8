"""NumPy's `.npz`: named arrays of all steps concatenated, and where each episode ends.

The names that are read, and the flags or masks that end episodes, are those of `named_arrays`. Pickled arrays are
refused. Two kinds of published files are recognised by their arrays: `published`.
"""

import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from io import BufferedIOBase
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ....errors import DataError
from ....files import parse_json
from ....memory import check_memory
from ....types import Episodes, Pictures
from ... import archive, npy
from ...arrays import COLUMN, EPISODE_COLUMN
from ...mapped import blocks
from ...pictures import Frames
from ...selection import Selection
from .. import stored
from ..ends import ends_of
from ..format import Format, names_in, whole
from ..named_arrays import episodes_of_arrays, has_usual_names
from ..sealed import sealed
from . import published

__all__ = ["FORMAT", "LABEL", "load", "write"]

LABEL, CAMERA = "holdfast", "observation.images."
PICKLED = (
    "holds a pickled array ({name}), and reading a pickle runs code. If you trust the file, load it and save plain "
    "arrays: np.savez(out, actions=..., states=..., episode_ends=...), rows of all episodes end to end."
)


def read_selected(path: Path, selection: Selection) -> tuple[Episodes, Selection]:
    """Read a file of arrays, the chosen ones as state and action.

    Returns:
        The episodes, and the part of the selection that remains to be applied.
    """
    found = load(path)
    if LABEL in found:
        return _read_own(found, path), selection
    if not selection.maps_keys and (made := published.read_published(found, path)) is not None:
        return made, selection
    made = episodes_of_arrays(found, str(path), selection)
    return made, replace(selection, state=None, action=None)


def write(episodes: Episodes, path: Path) -> None:
    """Write a file that preserves every bit; its pictures are uncompressed and are read into memory."""
    description = stored.description_of(episodes)
    stored.to_json(description)
    label = stored.to_json(sealed(description, episodes))
    with zipfile.ZipFile(path, "w", allowZip64=True) as archive:
        for name, values in stored.tensors_of(episodes).items():
            _write_array(archive, name, [stored.as_numpy(name, values)])
        _write_array(archive, "episode_ends", [episodes.lengths.cumsum(0).numpy()])
        _write_array(archive, LABEL, [np.frombuffer(label.encode(), dtype=np.uint8)])
        for camera, pictures in episodes.cameras.items():
            _write_array(archive, CAMERA + camera, blocks(pictures), shape=(len(pictures), *pictures.shape))


def _write_array(
    archive: zipfile.ZipFile,
    name: str,
    parts: Iterator[NDArray[Any]] | Sequence[NDArray[Any]],
    shape: tuple[int, ...] | None = None,
) -> None:
    # a fixed date: the same episodes give the same bytes
    entry = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
    with archive.open(entry, "w", force_zip64=True) as file:
        for index, part in enumerate(parts):
            if not index:
                header = {"descr": part.dtype.str, "fortran_order": False, "shape": shape or part.shape}
                np.lib.format.write_array_header_2_0(file, header)
            file.write(np.ascontiguousarray(part).tobytes())


def load(path: Path) -> dict[str, NDArray[Any]]:
    """All arrays of a file by name."""
    with archive.opened(path) as opened:
        entries = [entry for entry in opened.infolist() if entry.filename.endswith(".npy")]
        check_memory(sum(entry.file_size for entry in entries), str(path))
        return {entry.filename.removesuffix(".npy"): _array(opened, entry, path) for entry in entries}


def _array(opened: zipfile.ZipFile, entry: zipfile.ZipInfo, path: Path) -> NDArray[Any]:
    with opened.open(entry) as file:
        try:
            return npy.read_array(cast("BufferedIOBase", file), entry.file_size, f"{path}: {entry.filename}")
        except npy.Pickled as error:
            name = entry.filename.removesuffix(".npy")
            raise DataError(f"{path} {PICKLED.format(name=name)}") from error


def _read_own(found: Mapping[str, NDArray[Any]], path: Path) -> Episodes:
    label = parse_json(found[LABEL].tobytes(), f"{path}: its description", way_out="Write the data set again.")
    cameras: dict[str, Pictures] = {
        name.removeprefix(CAMERA): _frames(values, name, path) for name, values in found.items() if CAMERA in name
    }
    others = {"episode_ends", LABEL} | {CAMERA + camera for camera in cameras}
    tensors = {name: _tensor(values, name, path) for name, values in found.items() if name not in others}
    lengths = torch.as_tensor(ends_of(found, len(tensors.get("actions", [])), str(path)).lengths)
    return stored.assemble(tensors, lengths, label, str(path), cameras=cameras, label=label)


def _tensor(values: NDArray[Any], name: str, path: Path) -> Tensor:
    if name.startswith((COLUMN, EPISODE_COLUMN)) and values.dtype.kind in "fiub":
        return stored.exact(values)
    rows = stored.to_rows(values, name, str(path))
    return rows.flatten() if values.ndim == 1 else rows


def _frames(values: NDArray[Any], name: str, path: Path) -> Frames:
    if values.ndim != 4 or values.dtype != np.uint8:
        raise DataError(f"{path}: {name} must be bytes [rows, height, width, channels], got {values.shape}.")
    return Frames(torch.as_tensor(values))


def _recognises(path: Path) -> bool:
    """Whether a file is a zip archive of arrays with actions, or one of the published kinds."""
    names = {name.removesuffix(".npy") for name in names_in(path) if name.endswith(".npy")}
    return has_usual_names(list(names)) or names >= published.AVOIDING


FORMAT = Format(
    name="npz",
    example=".npz",
    recognises=_recognises,
    read=whole(read_selected),
    write=write,
    read_selected=read_selected,
    suffixes=(".npz",),
)
