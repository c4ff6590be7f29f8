"""Episodes as named arrays and a JSON description, and back; the common ground of all formats.

Columns are among the arrays, as `columns/<name>` and `episode_columns/<name>`; episode columns of strings are part of
the description.
"""

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...errors import DataError
from ...types import Episodes, Observation, Pictures

__all__ = [
    "AXES",
    "COLUMN",
    "DESCRIPTION",
    "EPISODE_COLUMN",
    "arrays_of",
    "as_columns",
    "as_episode_columns",
    "as_numpy",
    "assemble",
    "checked",
    "described",
    "description_of",
    "exact",
    "is_column",
    "to_json",
    "to_rows",
]

AXES = {"rewards": 1, "timestamps": 1}
COLUMN, EPISODE_COLUMN = "columns/", "episode_columns/"
DESCRIPTION = ("system", "dt", "tasks", "names", "meta")


def arrays_of(episodes: Episodes) -> dict[str, Tensor]:
    """Every array of a data set by its name, without the cameras."""
    seen = episodes.observations
    found = {
        "actions": episodes.actions,
        "states": episodes.states,
        "final_states": episodes.final_states,
        "observation.state": None if seen is None else seen.state,
        "observation.environment_state": None if seen is None else seen.environment_state,
        "rewards": episodes.rewards,
        "timestamps": episodes.timestamps,
    }
    found |= {COLUMN + name: values for name, values in episodes.columns.items()}
    found |= {EPISODE_COLUMN + name: v for name, v in episodes.episode_columns.items() if isinstance(v, Tensor)}
    return {name: values for name, values in found.items() if values is not None}


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
    """A description as text."""
    try:
        text = json.dumps(content, indent=1, allow_nan=False, ensure_ascii=False)
        text.encode()
    except (TypeError, ValueError) as error:
        raise DataError(
            f"meta cannot be stored as JSON: {error}. Use numbers, strings, lists and dictionaries."
        ) from error
    return text


def assemble(
    found: Mapping[str, Tensor], lengths: Tensor, source: str, cameras: Mapping[str, Pictures] | None = None
) -> Episodes:
    """Episodes from named arrays, which must belong together."""
    if missing := {"actions", "states"} - found.keys():
        raise DataError(f"{source} lacks {', '.join(sorted(missing))}. Copy or write the data set again.")
    for name, values in found.items():
        _check_array(name, values, len(lengths), int(lengths.sum()), source)
    state, rest = found.get("observation.state"), found.get("observation.environment_state")
    return Episodes(
        actions=found["actions"],
        states=found["states"],
        lengths=lengths,
        final_states=found.get("final_states"),
        observations=None if state is None else Observation(state=state, environment_state=rest),
        cameras=cameras or {},
        rewards=found.get("rewards"),
        timestamps=found.get("timestamps"),
        columns=_below(found, COLUMN),
        episode_columns=_below(found, EPISODE_COLUMN),
    )


def described(bare: Episodes, description: Any, source: str) -> Episodes:
    """Episodes with a description as `description_of` makes it."""
    fields = checked(description, DESCRIPTION, source)
    texts = checked({"episode_columns": {}, **fields}, ("episode_columns",), source)["episode_columns"]
    for name, values in {"tasks": fields["tasks"], **texts}.items():
        if values is not None and len(values) != len(bare):
            raise DataError(f"{source}: {len(values)} {name} for {len(bare)} episodes. Write the data set again.")
    return replace(
        bare,
        system=fields["system"],
        dt=None if fields["dt"] is None else float(fields["dt"]),
        tasks=None if fields["tasks"] is None else tuple(fields["tasks"]),
        names={quantity: tuple(names) for quantity, names in fields["names"].items()},
        episode_columns={**bare.episode_columns, **{name: tuple(values) for name, values in texts.items()}},
        meta=fields["meta"],
    )


def checked(description: Any, names: Sequence[str], source: str) -> dict[str, Any]:
    """A stored description whose named fields are present and valid."""
    if not isinstance(description, dict):
        raise DataError(f"{source}: expected a JSON object, got {description!r}. Write the data set again.")
    fields = cast("dict[str, Any]", description)
    for name in names:
        if name not in fields:
            raise DataError(f"{source} lacks {name!r}. Copy or write the data set again.")
        if not VALID[name](fields[name]):
            raise DataError(f"{source}: {name} cannot be {fields[name]!r}. Copy or write the data set again.")
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


def to_rows(values: NDArray[Any], name: str, source: str) -> Tensor:
    """Rows of floating-point numbers in their stored dtype; integers become a dtype that holds them exactly."""
    if not values.ndim or values.dtype.kind not in "fiub" or values.dtype.itemsize > 8:
        raise DataError(f"{source}: {name} holds no rows of numbers (shape {list(values.shape)}, {values.dtype}).")
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


def as_columns(found: Mapping[str, Any], names: Iterable[str], count: int) -> tuple[dict[str, Tensor], list[str]]:
    """The named arrays that can be columns of `count` rows, and the names of those that cannot, sorted."""
    fitting = [name for name in sorted(names) if is_column(name, found[name], count)]
    return {name: exact(np.asarray(found[name][:])) for name in fitting}, sorted(set(names) - set(fitting))


def as_episode_columns(found: Mapping[str, Any], count: int) -> tuple[dict[str, Tensor | tuple[str, ...]], list[str]]:
    """Values listed by episode as episode columns, and the names of those that cannot be one, sorted.

    >>> as_episode_columns({"operator": ["ann", "bob"], "notes": [[1], []]}, 2)
    ({'operator': ('ann', 'bob')}, ['notes'])
    """
    columns = dict[str, Tensor | tuple[str, ...]]()
    for name, values in found.items():
        if getattr(values, "ndim", 1) != 1 or not is_column(name, np.zeros(len(values)), count):
            continue
        if all(isinstance(value, str) and "\0" not in value for value in values):
            columns[name] = tuple(map(str, values))
        elif all(isinstance(value, bool | int | float | np.number | np.bool_) for value in values):
            columns |= {name: exact(array)} if is_column(name, array := np.asarray(values), count) else {}
    return columns, sorted(found.keys() - columns.keys())


def _below(found: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): values for name, values in found.items() if name.startswith(prefix)}


def _check_array(name: str, values: Tensor, episodes: int, rows: int, source: str) -> None:
    expected = episodes if name == "final_states" or name.startswith(EPISODE_COLUMN) else rows
    if name.startswith((COLUMN, EPISODE_COLUMN)):
        fits = is_column(name.split("/", 1)[1], np.empty(values.shape, np.bool_), expected)
    else:
        fits = values.ndim == AXES.get(name, 2) and len(values) == expected and values.is_floating_point()
    if not fits:
        raise DataError(
            f"{source}: {name} is {values.dtype} of shape {list(values.shape)}, expected {expected} rows of numbers. "
            "Its parts do not belong together: copy or write the data set again."
        )


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in cast("list[Any]", value))


def _is_names(value: Any) -> bool:
    return isinstance(value, dict) and all(_is_texts(names) for names in cast("dict[str, Any]", value).values())


def _is_texts_by_name(value: Any) -> bool:
    return isinstance(value, dict) and _is_texts(list(cast("dict[str, Any]", value).values()))


def _is_time_step(value: Any) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return value is None or (number and math.isfinite(value) and value > 0)


VALID: dict[str, Callable[[Any], bool]] = {
    "system": lambda value: value is None or isinstance(value, str),
    "dt": _is_time_step,
    "tasks": lambda value: value is None or _is_texts(value),
    "names": _is_names,
    "episode_columns": _is_names,
    "layout": lambda value: _is_names(value) and "state" in value and all(value.values()),
    "cameras": _is_texts_by_name,
    "columns": _is_texts_by_name,
    "attributes": _is_texts_by_name,
    "scalars": _is_texts,
    "filled_in": _is_texts,
    "arrays": _is_texts,
    "meta": lambda value: isinstance(value, dict),
}
