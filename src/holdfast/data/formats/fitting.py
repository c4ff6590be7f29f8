"""Whether named arrays fit the steps of the episodes: as many rows as actions, axes in the right order, numbers.

Nothing is guessed: an array that does not fit is refused, with what it seems to be and how to write it.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import DataError
from ..pictures import has_channels
from .annotations import is_positive
from .ends import Ends, ends_of

RATES = ("fps", "control_freq", "control_frequency", "frequency", "hz")
"""Arrays of one number that are steps per second."""


def ends_in(found: Mapping[str, NDArray[Any]], action: str, source: str) -> Ends:
    """The episodes by the number of actions.

    Raises:
        DataError: Nothing tells them, or it contradicts the actions; or the rows and columns of these are exchanged.
    """
    values = found[action]
    try:
        return ends_of(found, len(values), source)
    except DataError:
        if values.ndim == 2 and len(values) < values.shape[1] and _fits(found, values.shape[1], source):
            raise DataError(_exchanged(action, values, source)) from None
        raise


def _fits(found: Mapping[str, NDArray[Any]], rows: int, source: str) -> bool:
    try:
        return bool(len(ends_of(found, rows, source).lengths))
    except DataError:
        return False


def _exchanged(name: str, values: NDArray[Any], source: str) -> str:
    return (
        f"{source}: {name} is {list(values.shape)}, so its rows and columns seem to be exchanged. Expected a row for "
        f"each step: save its transpose ({name}.T)."
    )


def check_rows(values: NDArray[Any], name: str, rows: int, episodes: int, source: str) -> None:
    """Refuse an array that has no row for each action.

    Raises:
        DataError: Says what the array seems to be, and the way out.
    """
    if values.ndim and len(values) == rows:
        return
    shape = list(values.shape)
    if values.ndim == 2 and values.shape[1] == rows:
        raise DataError(_exchanged(name, values, source))
    if values.ndim and episodes and len(values) == rows + episodes:
        raise DataError(
            f"{source}: {name} has {len(values)} rows for {rows} actions, one more for each of the {episodes} "
            "episodes. If these are the states after the last actions, take them out and save them apart, as "
            f"final_states [{episodes}, numbers of a state]."
        )
    raise DataError(
        f"{source}: {name} has shape {shape}, but there are {rows} actions. Expected one row for each: write both "
        "again from one recording."
    )


def said_of(values: NDArray[Any], name: str) -> list[str]:
    """Sentences on rows of a state or an action that are flattened, or of another kind than real numbers."""
    found = list[str]()
    if values.ndim > 2:
        pictures = values.ndim == 4 and values.dtype == np.uint8 and has_channels(values.shape)
        seem = ", although they seem to be pictures" if pictures else ""
        numbers = int(np.prod(values.shape[1:]))
        found.append(f"{name} has rows of shape {list(values.shape[1:])}: read as {numbers} numbers{seem}.")
    if values.dtype.kind in "iub":
        found.append(f"{name} is {values.dtype}: read as real numbers.")
    return found


def no_pictures(found: Mapping[str, Any], names: Sequence[str]) -> list[str]:
    """Sentences on arrays, by name with their shape and dtype, that seem to be pictures of another kind than bytes."""
    return [
        f"{name} is {found[name].dtype} {list(found[name].shape)}, so it is not read as a camera: save pictures as "
        "bytes (uint8, from 0 to 255)."
        for name in names
        if len(found[name].shape) == 4 and found[name].dtype.kind in "fiu" and _is_picture(found[name])
    ]


def _is_picture(array: Any) -> bool:
    return bool(array.dtype != np.uint8 and has_channels(array.shape))


def step_by_rate(found: Mapping[str, NDArray[Any]]) -> tuple[float | None, tuple[str, ...], list[str]]:
    """Seconds per step by an array that holds the rate, its name, and a sentence on it.

    >>> step_by_rate({"fps": np.array(20)})
    (0.05, ('fps',), ['fps is 20: read as 20 steps per second.'])
    """
    name = next((name for name in RATES if name in found and found[name].size == 1), None)
    if name is None:
        return None, (), []
    rate = found[name].item()
    if is_positive(rate):
        return 1 / float(rate), (name,), [f"{name} is {rate:g}: read as {rate:g} steps per second."]
    return None, (name,), [f"{name} is {rate!r:.40}, no positive number, so the time step is not known from it."]
