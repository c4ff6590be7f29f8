"""Gymnasium's spaces as Minari stores them, and the pictures among observations."""

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
from torch import Tensor

from ....errors import DataError
from ....files import as_object, parse_json, shown
from ....types import Pictures
from ... import hdf5_links
from ...depth import measured_size
from ...mapped import HdfFrames
from ...measured import Measured
from ...pictures import Encoded
from ..by_episode import StoredEpisodes

Space = Mapping[str, Any]
# Minari compresses arrays of bytes of at least this many rows and columns
PICTURE_SIZE = 32
# coordinates of an action
MOST = 1 << 20


def spaces_of(metadata: Mapping[str, Any], name: str) -> dict[str, Space]:
    """The space of each array by its path; empty if the metadata lack it.

    >>> spaces_of({"action_space": '{"type": "Dict", "subspaces": {"arm": {"type": "Box"}}}'}, "action_space")
    {'arm': {'type': 'Box'}}
    """
    source, way_out = f"Minari's metadata: {name}", "Download the data set again."
    if not isinstance(text := metadata.get(name, "null"), str):
        raise DataError(f"{source} is damaged (expected JSON as text, got {shown(text)}). {way_out}")
    space = parse_json(text, source, way_out=way_out)
    return {} if space is None else dict(_leaves(as_object(space, source, way_out=way_out), ""))


def box(
    values: Tensor, *, features: Sequence[int] | None = None, bounds: Mapping[str, Sequence[float | None]] | None = None
) -> dict[str, Any]:
    """The stored form of the space of the given values. Default: without bounds."""
    shape = list(values.shape[1:] if features is None else features)
    dtype = str(values.dtype).removeprefix("torch.")
    low = np.full(shape, 0 if dtype == "uint8" else -np.inf).tolist()
    high = np.full(shape, 255 if dtype == "uint8" else np.inf).tolist()
    if bounds is not None:
        low = [-np.inf if value is None else value for value in bounds["low"]]
        high = [np.inf if value is None else value for value in bounds["high"]]
    return {"type": "Box", "dtype": dtype, "shape": shape, "low": low, "high": high}


def bounds_of(spaces: Mapping[str, Space], keys: Sequence[str], path: Path) -> dict[str, list[float | None]] | None:
    """Lower and upper bound of each coordinate of concatenated arrays, `None` where there is no bound.

    >>> bounds_of({"": {"type": "Box", "shape": [2], "low": [-1, float("-inf")], "high": [1, 3]}}, [""], Path("SET"))
    {'low': [-1.0, None], 'high': [1.0, 3.0]}
    """
    if not all("low" in spaces.get(key, {}) and "high" in spaces[key] for key in keys):
        return None
    found = dict[str, list[float | None]]()
    for side in ("low", "high"):
        try:
            parts = [np.asarray(spaces[key][side], dtype=np.float64) for key in keys]
            shapes = [tuple(spaces[key]["shape"]) for key in keys]
            if sum(map(math.prod, shapes)) > MOST:
                raise ValueError(f"for shapes {shown(shapes)}")
            flat = [np.broadcast_to(part, shape).reshape(-1) for part, shape in zip(parts, shapes, strict=True)]
        except (TypeError, ValueError, KeyError) as error:
            raise DataError(f"{path}: action_space has a damaged bound {side!r} ({error}). Correct it.") from error
        found[side] = [float(value) if np.isfinite(value) else None for value in np.concatenate(flat)]
    return found if any(value is not None for values in found.values() for value in values) else None


def is_picture(key: str, entry: Any, space: Space | None) -> bool:
    """Whether an array holds pictures, as bytes, compressed, or as measurements of more than 8 bits."""
    if measured_size(key, entry.shape[1:], entry.dtype) is not None:
        return True
    if len(entry.shape) == 4:
        return entry.dtype == np.uint8 and entry.shape[-1] in (1, 3, 4)
    return space is not None and _is_picture_space(space) and entry.dtype.kind in "uO"


def pictures_of(stored: StoredEpisodes, key: str, space: Space | None) -> Pictures:
    """The pictures of all steps, without the one after the last action."""
    place, groups, path = f"observations/{key}".rstrip("/"), stored.groups, stored.path
    for group, count in zip(groups, stored.steps, strict=True):
        entry = group.get(place)
        if getattr(entry, "shape", ())[:1] != (count + 1,):
            raise DataError(f"{path}: episode {group.name} lacks {count + 1} pictures {place}. Remove that one.")
    first = groups[0][place]
    if len(first.shape) > 2:
        size = measured_size(key, first.shape[1:], first.dtype)
        dtype = np.dtype(np.uint8) if size is None else first.dtype
        if any(group[place].shape[1:] != first.shape[1:] or group[place].dtype != dtype for group in groups):
            raise DataError(f"{path}: pictures {place} differ in size or type between episodes. Resize them.")
        names = tuple(f"{group.name}/{place}" for group in groups)
        if size is not None:
            return Measured(HdfFrames(path, names, tuple(stored.steps), (*size, 1)))
        return HdfFrames(path, names, tuple(stored.steps), _shape(first.shape[1:]))
    for group in groups:
        hdf5_links.check_storage(group[place].id, f"{path}: {group.name}/{place}")
        hdf5_links.check_bytes(group[place], path, f"{path}: {group.name}/{place}")
    files = (row.tobytes() for group in groups for row in group[place][:-1])
    return Encoded.of(files, _shape(space["shape"] if space else ()))


def _shape(features: Sequence[int]) -> tuple[int, int, int]:
    height, width, channels = (*features, 1) if len(features) == 2 else features
    return height, width, channels


def _leaves(space: Space, path: str) -> Iterator[tuple[str, Space]]:
    below: Any = space.get("subspaces")
    if below is None:
        yield path, space
        return
    # Minari stores the parts of a tuple under these names
    parts: Any = _by_index(cast("list[Any]", below)) if isinstance(below, list) else below
    for name, part in as_object(parts, "Minari's metadata: the parts of a space").items():
        yield from _leaves(as_object(part, f"Minari's metadata: the space {name!r}"), f"{path}/{name}".lstrip("/"))


def _by_index(parts: Sequence[Any]) -> dict[str, Any]:
    return {f"_index_{index}": part for index, part in enumerate(parts)}


def _is_picture_space(space: Space) -> bool:
    shape: Any = space.get("shape", [])
    if not isinstance(shape, list) or not all(isinstance(size, int) for size in cast("list[Any]", shape)):
        raise DataError(f"Minari's metadata: a space has the shape {shown(shape)}. Download the data set again.")
    sizes = cast("list[int]", shape)
    large = len(sizes) in (2, 3) and min(sizes[:2]) >= PICTURE_SIZE
    return space.get("type") == "Box" and space.get("dtype") == "uint8" and large
