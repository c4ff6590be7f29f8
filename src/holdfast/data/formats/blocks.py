"""Arrays of whole episodes, `[episodes, steps, …]`, as rows: padding is cut off, and no axis is guessed.

The documented order is `[episodes, steps, numbers a step]`. Three things can tell another one:

    mask       one flag a step; within an episode it must be one block, so one order of the axes can be excluded
    lengths    one entry an episode
    values     along time, values change less from one entry to the next than along other axes

Where they show that the first axis is time, the axes are exchanged; where they contradict one another or the documented
order, the arrays are refused.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Bool, Int
from numpy import ndarray
from numpy.typing import NDArray

from ...errors import DataError

MASKS = ("existence_mask", "mask", "masks", "valid", "valid_mask", "is_valid", "attention_mask")
PADS = ("is_pad", "pad_mask", "padding_mask", "padding")
LENGTHS = ("lengths", "episode_lengths", "traj_lengths", "seq_lengths")
SMOOTH = 0.5
"""Mean squared change over twice the variance: 1 for unrelated values, near 0 along time."""
SAMPLE, FEWEST = 4096, 4
WAY_OUT = (
    "Nothing is guessed: save them as [episodes, steps, numbers a step] (np.swapaxes or np.moveaxis) together with "
    "lengths, the number of steps of each episode."
)


@dataclass(frozen=True, kw_only=True)
class Rows:
    """Arrays `[rows, …]` of all episodes end to end.

    Attributes:
        arrays: Every array by name; those that are no blocks as they were.
        lengths: Steps of each episode.
        final: The values after the last step, of arrays with one step more.
        used: Names of masks and lengths.
        notes: Sentences on how the arrays were read.
    """

    arrays: Mapping[str, NDArray[Any]]
    lengths: Int[ndarray, " episodes"]
    final: Mapping[str, NDArray[Any]] = field(default_factory=lambda: dict[str, NDArray[Any]]())
    used: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def rows_of_blocks(found: Mapping[str, NDArray[Any]], name: str, source: str) -> Rows:
    """The rows of arrays of which `name` is `[episodes, steps, numbers]`, or the same with the first axes exchanged.

    Raises:
        DataError: A mask is no mask, or the axes cannot be told.
    """
    shape = found[name].shape[:2]
    mask, used = _mask_of(found, shape, source)
    given = next((key for key in LENGTHS if key in found and found[key].ndim == 1), None)
    time_first = _is_time_first(found, name, mask, given, source)
    count, steps = shape[::-1] if time_first else shape
    arrays = {key: _episodes_first(values, shape, time_first) for key, values in found.items()}
    if mask is None:
        lengths = _lengths(found, given, count, steps, source)
        inside = np.asarray(np.arange(steps) < lengths[:, None], dtype=bool)
    else:
        inside = mask.T if time_first else mask
        lengths = inside.sum(axis=1)
        if given is not None and not np.array_equal(found[given], lengths):
            raise DataError(f"{source}: {given} and {used[0]} disagree on the steps of the episodes. Remove one.")
    if not lengths.any():
        raise DataError(f"{source}: no episode has a step inside {used[0] if used else given}.")
    used = (*used, *((given,) if given else ()))
    rows, final = dict[str, NDArray[Any]](), dict[str, NDArray[Any]]()
    # an episode without steps ends where it begins
    last = np.where(lengths > 0, steps - 1 - np.argmax(inside[:, ::-1], axis=1), -1)
    for key, values in arrays.items():
        block = values.ndim >= 2 and key not in used
        if block and values.shape[:2] == (count, steps):
            rows[key] = values[inside]
        elif block and values.shape[:2] == (count, steps + 1):
            rows[key], final[key] = values[:, :steps][inside], values[np.arange(count), last + 1]
        else:
            rows[key] = values
    notes = _said(name, found[name].shape, time_first, lengths, steps, used)
    return Rows(arrays=rows, lengths=lengths, final=final, used=used, notes=notes)


def _said(
    name: str, shape: tuple[int, ...], time_first: bool, lengths: NDArray[Any], steps: int, used: tuple[str, ...]
) -> tuple[str, ...]:
    order = "[steps, episodes, …], by its mask" if time_first else "[episodes, steps, …]"
    notes = [f"{name} {list(shape)} is read as {order}: {len(lengths)} episodes of up to {steps} steps."]
    if padding := len(lengths) * steps - int(lengths.sum()):
        notes.append(f"{padding} rows of padding outside {used[0]} are left out.")
    return tuple(notes)


def _mask_of(
    found: Mapping[str, NDArray[Any]], shape: tuple[int, ...], source: str
) -> tuple[Bool[ndarray, "a b"] | None, tuple[str, ...]]:
    name = next((name for name in (*MASKS, *PADS) if name in found), None)
    if name is None:
        return None, ()
    values = found[name]
    flat = values[..., 0] if values.ndim == 3 and values.shape[2] == 1 else values
    if flat.shape != shape or flat.dtype.kind not in "fiub" or not np.isin(flat, (0, 1)).all():
        raise DataError(
            f"{source}: {name} is {values.dtype} {list(values.shape)}; expected one flag, 0 or 1, for each of the "
            f"{list(shape)} steps. Write it again so, with the arrays that it belongs to."
        )
    return (flat == 0) if name in PADS else (flat != 0), (name,)


def _is_time_first(
    found: Mapping[str, NDArray[Any]], name: str, mask: NDArray[Any] | None, given: str | None, source: str
) -> bool:
    values = found[name]
    first, second = values.shape[:2]
    if given is not None and first != second:
        if len(found[given]) not in (first, second):
            raise DataError(f"{source}: {given} has {len(found[given])} entries for {name} {list(values.shape)}.")
        return len(found[given]) == second
    fits = {axis: mask is None or _is_block(mask, axis) for axis in (0, 1)}
    starts = {axis: mask is None or _is_block(mask, axis, from_first=True) for axis in (0, 1)}
    usual = [axis for axis in (0, 1) if starts[axis]] or [axis for axis in (0, 1) if fits[axis]]
    if not usual:
        raise DataError(
            f"{source}: the mask has holes: in no order of the axes are the steps of each episode one block. Cut the "
            "episodes at the holes and save each piece as an episode of its own."
        )
    if len(usual) == 1:
        return usual == [0]
    return _by_values(values, mask, source, name, told=given is not None)


def _is_block(mask: NDArray[Any], axis: int, *, from_first: bool = False) -> bool:
    """Whether the flags along an axis are one block, from the first entry on if asked for."""
    lines = mask.T if axis == 0 else mask
    begins = np.diff(lines.astype(np.int8), axis=1, prepend=0) == 1
    one = bool((begins.sum(axis=1) <= 1).all())
    return one and (not from_first or bool(lines[:, 0].all()))


def _by_values(values: NDArray[Any], mask: NDArray[Any] | None, source: str, name: str, *, told: bool) -> bool:
    """Whether the first axis is time, where shapes and mask leave it open: never, but it is refused if it seems so.

    Args:
        values: The array.
        mask: Its mask, if it has one.
        source: Path, for messages.
        name: Name of the array.
        told: Whether lengths with as many entries as both axes exist.
    """
    rough = [_roughness(values, axis) for axis in range(values.ndim)]
    shape = list(values.shape)
    other = min((axis for axis in range(len(rough)) if axis != 1), key=lambda axis: rough[axis])
    if rough[other] < SMOOTH * min(rough[1], 1.0):
        which = ("first", "second", "last")[min(other, 2)]
        raise DataError(
            f"{source}: {name} {shape} would be {shape[0]} episodes of {shape[1]} steps with {shape[2]} numbers each, "
            f"but its values change least along the {which} axis, which therefore seems to be time. {WAY_OUT}"
        )
    if shape[1] < FEWEST and shape[2] > FEWEST * shape[1]:
        raise DataError(
            f"{source}: {name} {shape} would be {shape[0]} episodes of {shape[1]} steps with {shape[2]} numbers each, "
            f"which is unlikely: the last axis may be time. {WAY_OUT}"
        )
    clear = rough[1] < SMOOTH * min(rough[0], 1.0)
    if (mask is not None or shape[0] == shape[1]) and not clear and not told:
        raise DataError(
            f"{source}: {name} {shape} can be [episodes, steps, …] or [steps, episodes, …]: shape, mask and values do "
            f"not tell. {WAY_OUT}"
        )
    return False


def _roughness(values: NDArray[Any], axis: int) -> float:
    """Mean squared change along an axis over twice the variance along it (von Neumann's ratio), the median of lines."""
    lines = np.moveaxis(values, axis, -1).reshape(-1, values.shape[axis])
    if lines.shape[1] < FEWEST:
        return np.inf
    lines = lines[:: max(1, len(lines) // SAMPLE)].astype(np.float64)
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        ratio = (np.diff(lines, axis=1) ** 2).mean(axis=1) / (2 * lines.var(axis=1))
    ratio = ratio[np.isfinite(ratio)]
    return float(np.median(ratio)) if ratio.size else np.inf


def _lengths(
    found: Mapping[str, NDArray[Any]], given: str | None, count: int, steps: int, source: str
) -> NDArray[np.int64]:
    if given is None:
        return np.full(count, steps)
    values = found[given]
    if len(values) != count or not np.isin(values, np.arange(steps + 1)).all():
        raise DataError(f"{source}: {given} must hold the steps of {count} episodes, whole numbers up to {steps}.")
    return values.astype(np.int64)


def _episodes_first(values: NDArray[Any], shape: tuple[int, ...], time_first: bool) -> NDArray[Any]:
    """An array of blocks with the episodes along the first axis; states may have one step more."""
    first, second = shape
    exchanged = time_first and values.ndim >= 2 and values.shape[1] == second and values.shape[0] in (first, first + 1)
    return values.swapaxes(0, 1) if exchanged else values
