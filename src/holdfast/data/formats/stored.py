"""Stored form of episodes, common to all formats: named arrays, and a JSON description of the rest."""

import json
import math
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...errors import DataError
from ...files import as_object, read_json, shown
from ...types import Episodes, Pictures
from ..arrays import COLUMN, EPISODE_COLUMN, Values, arrays_of, by_episode, episodes_of
from .sealed import check_seal

LISTS = ("rewards", "timestamps")
"""Quantities with one number a row, stored without a second axis."""
NOTHING: dict[str, Any] = {"system": None, "dt": None, "tasks": None, "names": {}, "meta": {}}
"""The description of a data set of which only the arrays are known."""
PLAIN = (int, np.int64)


def tensors_of(episodes: Episodes) -> dict[str, Tensor]:
    """Every array of a data set by its name, without the cameras."""
    return {name: values for name, values in arrays_of(episodes).items() if isinstance(values, Tensor)}


def description_of(episodes: Episodes) -> dict[str, Any]:
    """Everything in a data set that is not an array, as JSON values."""
    texts = {name: list(v) for name, v in episodes.episode_columns.items() if not isinstance(v, Tensor)}
    return {
        "system": episodes.system,
        "dt": episodes.dt,
        "tasks": None if episodes.tasks is None else list(episodes.tasks),
        "names": {quantity: list(names) for quantity, names in episodes.names.items()},
        "meta": dict(episodes.meta),
        **({"episode_columns": texts} if texts else {}),
    }


def to_json(content: Mapping[str, Any]) -> str:
    """A description as text; `meta` may hold something that JSON cannot."""
    try:
        text = json.dumps(content, indent=1, allow_nan=False, ensure_ascii=False)
        text.encode()
    except (TypeError, ValueError) as error:
        raise DataError(
            f"meta cannot be stored as JSON: {error}. Use numbers, strings, lists and dictionaries."
        ) from error
    return text


def read_object(folder: Path, name: str, missing: str) -> dict[str, Any]:
    """The JSON object in a file of a data set; `missing` completes the message if there is no such file."""
    try:
        content = read_json(folder / name)
    except FileNotFoundError as error:
        raise DataError(f"{folder} {missing}. Was it copied whole?") from error
    except OSError as error:
        raise DataError(f"{folder / name} is damaged ({error}). Copy or download it again.") from error
    return as_object(content, str(folder / name))


def assemble(
    found: Mapping[str, Values],
    lengths: Tensor,
    description: Any,
    source: str,
    *,
    cameras: Mapping[str, Pictures] | None = None,
    described_in: str | None = None,
    label: Mapping[str, Any] | None = None,
) -> Episodes:
    """Episodes from named arrays and a description as `description_of` makes it, which must belong together.

    They are compared with the checksums in Holdfast's own `label`, if it has any.
    """
    if missing := {"actions", "states"} - found.keys():
        raise DataError(f"{source} lacks {', '.join(sorted(missing))}. Copy or write the data set again.")
    place = described_in or source
    fields = checked(description, NOTHING, place)
    texts = checked({"episode_columns": {}, **fields}, ("episode_columns",), place)["episode_columns"]
    named = {"tasks": fields["tasks"]} | {EPISODE_COLUMN + name: values for name, values in texts.items()}
    found = dict(found) | {name: tuple(values) for name, values in named.items() if values is not None}
    for name, values in found.items():
        _check_values(name, values, len(lengths), int(lengths.sum()), source)
    episodes = episodes_of(
        found,
        lengths,
        cameras=cameras or {},
        names={quantity: tuple(names) for quantity, names in fields["names"].items()},
        dt=None if fields["dt"] is None else float(fields["dt"]),
        system=fields["system"],
        meta=fields["meta"],
    )
    check_seal(label or {}, episodes, source)
    return episodes


def checked(description: Any, names: Iterable[str], source: str) -> dict[str, Any]:
    """A stored description whose named fields are present and valid."""
    if not isinstance(description, dict):
        raise DataError(f"{source}: expected a JSON object, got {shown(description)}. Write the data set again.")
    fields = cast("dict[str, Any]", description)
    for name in names:
        if name not in fields:
            raise DataError(f"{source} lacks {name!r}. Copy or write the data set again.")
        if not VALID[name](fields[name]):
            raise DataError(f"{source}: {name} cannot be {shown(fields[name])}. Copy or write the data set again.")
    return fields


def as_numpy(name: str, values: Tensor) -> NDArray[Any]:
    """A tensor as a NumPy array, for libraries that use NumPy."""
    try:
        return values.detach().cpu().contiguous().numpy()
    except TypeError as error:
        raise DataError(f"{name} is {values.dtype}, which this format cannot hold. Give float32 or float64.") from error


def exact(values: NDArray[Any]) -> Tensor:
    """An array as a tensor of the same dtype and shape, copied and in this machine's byte order."""
    return torch.as_tensor(np.array(values, dtype=values.dtype.newbyteorder("="), order="C"))


def no_numbers(values: NDArray[Any], name: str) -> str:
    """A sentence on an array that holds no rows of real numbers of at most 8 bytes."""
    return (
        f"{name} holds no rows of numbers (shape {list(values.shape)}, {values.dtype}); expected real numbers, such as "
        "float64."
    )


def to_rows(values: NDArray[Any], name: str, source: str) -> Tensor:
    """Rows of floating-point numbers in their stored dtype; integers become a dtype that holds them exactly."""
    if not values.ndim or values.dtype.kind not in "fiub" or values.dtype.itemsize > 8:
        way_out = f" Save it again so: {name}.astype(float)." if values.dtype.kind in "US" else ""
        raise DataError(f"{source}: {no_numbers(values, name)}{way_out}")
    kind = values.dtype if values.dtype.kind == "f" else np.dtype("f4" if values.dtype.itemsize <= 2 else "f8")
    flat = values.reshape(len(values), math.prod(values.shape[1:]))
    return exact(flat.astype(kind))


def is_column(name: str, values: Any, count: int) -> bool:
    """Whether an array that a file holds besides the known ones can be a column with `count` rows.

    >>> is_column("force", np.zeros((5, 3)), 5), is_column("depth", np.zeros((5, 8, 8)), 5)
    (True, False)
    """
    free = bool(name) and name not in Episodes.RESERVED and not name.startswith("observation.images.")
    shape: tuple[int, ...] = getattr(values, "shape", (0, 0, 0))
    dtype = getattr(values, "dtype", np.dtype(object))
    numbers = dtype.kind in "fiub" and dtype.itemsize <= 8
    return free and numbers and len(shape) in (1, 2) and shape[0] == count and 0 not in shape[1:]


def as_columns(found: Mapping[str, Any], count: int) -> tuple[dict[str, Tensor], list[str]]:
    """The arrays that can be columns of `count` rows, and the names of those that cannot, sorted."""
    fitting = {name: values for name, values in sorted(found.items()) if is_column(name, values, count)}
    return {COLUMN + name: exact(np.asarray(v)) for name, v in fitting.items()}, sorted(found.keys() - fitting)


def as_episode_columns(found: Mapping[str, Any], count: int) -> tuple[dict[str, Values], list[str]]:
    """Values listed by episode as episode columns, and the names of those that cannot be one, sorted.

    >>> as_episode_columns({"operator": ["ann", "bob"], "notes": [[1], []]}, 2)
    ({'episode_columns/operator': ('ann', 'bob')}, ['notes'])
    """
    columns = dict[str, Values]()
    for name, values in found.items():
        if getattr(values, "ndim", 1) != 1 or not is_column(name, np.zeros(len(values)), count):
            continue
        if all(isinstance(value, str) and "\0" not in value for value in values):
            columns[EPISODE_COLUMN + name] = tuple(map(str, values))
        elif all(isinstance(value, bool | int | float | np.number | np.bool_) for value in values):
            array = np.asarray(values)
            columns |= {EPISODE_COLUMN + name: exact(array)} if is_column(name, array, count) else {}
    return columns, sorted(name for name in found if EPISODE_COLUMN + name not in columns)


def _check_values(name: str, values: Values, episodes: int, rows: int, source: str) -> None:
    expected = episodes if by_episode(name) else rows
    if not isinstance(values, Tensor):
        if len(values) != expected:
            raise DataError(f"{source}: {len(values)} {name} for {expected} episodes. Write the data set again.")
        return
    if name.startswith((COLUMN, EPISODE_COLUMN)):
        fits = is_column(name.split("/", 1)[1], np.broadcast_to(np.False_, values.shape), expected)
    else:
        fits = values.ndim == (1 if name in LISTS else 2) and len(values) == expected and values.is_floating_point()
    if not fits:
        raise DataError(
            f"{source}: {name} is {values.dtype} of shape {list(values.shape)}, expected {expected} rows of numbers. "
            "Its parts do not belong together: copy or write the data set again."
        )


def check_whole(value: Any, what: str, *, most: int = 1 << 53) -> int:
    """A count or an index from a file: a whole number from 0 to `most`, not a flag, a text or a missing value."""
    # numbers of most files, without the checks of the others: there is one for each episode
    if type(value) in PLAIN and 0 <= (whole := int(value)) <= most:
        return whole
    whole = int(cast("int", value)) if isinstance(value, int | np.integer) and not isinstance(value, bool) else -1
    if not 0 <= whole <= most:
        raise DataError(f"{what} must be a whole number of at least 0, got {shown(value)}. Copy or download it again.")
    return whole


def is_texts(value: Any) -> bool:
    """Whether a value is a list of strings."""
    return isinstance(value, list) and all(isinstance(item, str) for item in cast("list[Any]", value))


def _is_names(value: Any) -> bool:
    return isinstance(value, dict) and all(is_texts(names) for names in cast("dict[str, Any]", value).values())


def _is_texts_by_name(value: Any) -> bool:
    return isinstance(value, dict) and is_texts(list(cast("dict[str, Any]", value).values()))


def _is_time_step(value: Any) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return value is None or (number and math.isfinite(value) and value > 0)


VALID: dict[str, Callable[[Any], bool]] = {
    "system": lambda value: value is None or isinstance(value, str),
    "dt": _is_time_step,
    "tasks": lambda value: value is None or is_texts(value),
    "names": _is_names,
    "episode_columns": _is_names,
    "layout": lambda value: _is_names(value) and "state" in value and all(value.values()),
    "cameras": _is_texts_by_name,
    "sums": _is_texts_by_name,
    "files": lambda value: isinstance(value, dict),
    "columns": _is_texts_by_name,
    "attributes": _is_texts_by_name,
    "scalars": is_texts,
    "filled_in": is_texts,
    "arrays": is_texts,
    "meta": lambda value: isinstance(value, dict),
}
