"""Episodes as named arrays and a description in JSON, and back: what Holdfast adds to formats that know less."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...errors import DataError
from ...types import Episodes, Observation, Pictures

__all__ = ["AXES", "arrays", "as_numpy", "assemble", "checked", "describe", "labelled", "rows_of", "to_json"]

AXES = {"rewards": 1, "timestamps": 1}


def arrays(episodes: Episodes) -> dict[str, Tensor]:
    """Every array of a set by its name; pictures are not among them."""
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
    return {name: values for name, values in found.items() if values is not None}


def describe(episodes: Episodes) -> dict[str, Any]:
    """What a set says of itself beside its numbers, as JSON values."""
    return {
        "system": episodes.system,
        "dt": episodes.dt,
        "tasks": None if episodes.tasks is None else list(episodes.tasks),
        "names": {quantity: list(names) for quantity, names in episodes.names.items()},
        "meta": dict(episodes.meta),
    }


def to_json(content: Mapping[str, Any]) -> str:
    """The text of a description.

    Raises:
        DataError: `meta` holds something that JSON cannot hold.
    """
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
    """Episodes of named arrays, which must belong together.

    Raises:
        DataError: States or actions are missing, or an array has a wrong number of rows or axes.
    """
    if missing := {"actions", "states"} - found.keys():
        raise DataError(f"{source} lacks {', '.join(sorted(missing))}. Copy or write the data set again.")
    for name, values in found.items():
        expected = len(lengths) if name == "final_states" else int(lengths.sum())
        if values.ndim != AXES.get(name, 2) or len(values) != expected or not values.is_floating_point():
            raise DataError(
                f"{source}: {name} is {values.dtype} of shape {list(values.shape)}, expected {expected} rows of "
                "floating numbers. Its parts do not belong together: copy or write the data set again."
            )
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
    )


def labelled(bare: Episodes, description: Any, source: str) -> Episodes:
    """Episodes with what `describe` said of them.

    Raises:
        DataError: The description is not of that kind, or does not fit the episodes.
    """
    fields = checked(description, ("system", "dt", "tasks", "names", "meta"), source)
    tasks = fields["tasks"]
    if tasks is not None and len(tasks) != len(bare):
        raise DataError(f"{source}: {len(tasks)} tasks for {len(bare)} episodes. Write the data set again.")
    return replace(
        bare,
        system=fields["system"],
        dt=None if fields["dt"] is None else float(fields["dt"]),
        tasks=None if tasks is None else tuple(tasks),
        names={quantity: tuple(names) for quantity, names in fields["names"].items()},
        meta=fields["meta"],
    )


def checked(description: Any, names: Sequence[str], source: str) -> dict[str, Any]:
    """A stored description whose named fields are there and of their kind.

    Raises:
        DataError: One is not.
    """
    if not isinstance(description, dict):
        raise DataError(f"{source}: expected an object of JSON, got {description!r}. Write the data set again.")
    fields = cast("dict[str, Any]", description)
    for name in names:
        if name not in fields:
            raise DataError(f"{source} lacks {name!r}. Copy or write the data set again.")
        if not FITS[name](fields[name]):
            raise DataError(f"{source}: {name} cannot be {fields[name]!r}. Copy or write the data set again.")
    return fields


def as_numpy(name: str, values: Tensor) -> NDArray[Any]:
    """An array for a library that knows NumPy alone.

    Raises:
        DataError: A dtype that NumPy lacks.
    """
    try:
        return values.detach().cpu().contiguous().numpy()
    except TypeError as error:
        raise DataError(f"{name} is {values.dtype}, which this format cannot hold. Give float32 or float64.") from error


def rows_of(values: NDArray[Any], name: str, source: str) -> Tensor:
    """Rows of floating numbers, in the dtype that was stored; whole numbers become a dtype that holds them exactly.

    Raises:
        DataError: Not numbers, or a single one.
    """
    if not values.ndim or values.dtype.kind not in "fiub" or values.dtype.itemsize > 8:
        raise DataError(f"{source}: {name} holds no rows of numbers (shape {list(values.shape)}, {values.dtype}).")
    kind = values.dtype if values.dtype.kind == "f" else np.dtype("f4" if values.dtype.itemsize <= 2 else "f8")
    # a copy in this machine's order of bytes: files may be written in another, or read-only
    flat = values.reshape(len(values), math.prod(values.shape[1:])).astype(kind.newbyteorder("="))
    return torch.as_tensor(flat)


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in cast("list[Any]", value))


def _is_names(value: Any) -> bool:
    return isinstance(value, dict) and all(_is_texts(names) for names in cast("dict[str, Any]", value).values())


def _is_step(value: Any) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return value is None or (number and math.isfinite(value) and value > 0)


FITS: dict[str, Callable[[Any], bool]] = {
    "system": lambda value: value is None or isinstance(value, str),
    "dt": _is_step,
    "tasks": lambda value: value is None or _is_texts(value),
    "names": _is_names,
    "layout": lambda value: _is_names(value) and "state" in value and all(value.values()),
    "cameras": lambda value: isinstance(value, dict) and _is_texts(list(cast("dict[str, Any]", value).values())),
    "filled_in": _is_texts,
    "arrays": _is_texts,
    "meta": lambda value: isinstance(value, dict),
}
