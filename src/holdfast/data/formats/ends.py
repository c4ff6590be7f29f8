"""Where episodes end in arrays of all steps: lists of ends or lengths, flags a row, or the number of the episode.

list of ends or lengths      episode_ends, lengths, episode_lengths
first rows, or a flag        episode_starts, is_first
number of the episode        episode_index, episode_id, …
flags of last rows           dones, terminals, timeouts, terminations, truncations, is_last, …: all of them together
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from jaxtyping import Bool, Int
from numpy import ndarray
from numpy.typing import NDArray

from ...errors import DataError
from .keys import listing

LISTS = ("episode_ends", "lengths", "episode_lengths", "traj_lengths", "seq_lengths")
STARTS = ("episode_starts", "is_first")
NUMBERS = ("episode_index", "episode_id", "episode_ids", "episode", "traj_id", "trajectory_id", "traj_index", "demo_id")
LASTS = (
    *("dones", "done", "next.done", "is_last", "terminals", "terminal", "is_terminal", "terminated", "terminations"),
    *("timeouts", "timeout", "truncated", "truncations", "truncateds", "terminateds"),
)
ENDS = (*LISTS, *STARTS, *NUMBERS, *LASTS)
LARGEST = 2.0**53
"""Whole numbers below it are exact in float64."""


@dataclass(frozen=True)
class Ends:
    """Lengths of the episodes, the arrays that gave them, and sentences on what they left open."""

    lengths: Int[ndarray, " episodes"]
    used: tuple[str, ...]
    notes: tuple[str, ...] = ()


def ends_of(found: Mapping[str, NDArray[Any]], rows: int, source: str) -> Ends:
    """The lengths of the episodes of arrays with `rows` rows.

    Raises:
        DataError: No array tells them, or one contradicts the rows.

    >>> ends_of({"timeouts": np.array([0.0, 1.0, 0.0])}, 3, "log").lengths.tolist()
    [2, 1]
    """
    for names, read in ((LISTS, _of_list), (STARTS, _of_starts), (NUMBERS, _of_numbers)):
        name = next((name for name in names if name in found), None)
        if name is not None:
            lengths = read(found[name], name, rows, source)
            _check(lengths, name, rows, source, list_hint(found[name], name, rows) if name in LISTS else "")
            return Ends(lengths, (name,), _said(found[name], name, rows))
    flags = tuple(name for name in LASTS if name in found and found[name].shape in ((rows,), (rows, 1)))
    if not flags:
        raise DataError(
            f"{source}: expected the episodes' ends under one of {', '.join(ENDS)}; found "
            f"{listing(found) if found else 'no arrays'}. Rename the array, add episode_ends (the row after the last "
            "of each episode), or make episodes of it yourself with `episodes_from_arrays`."
        )
    return _of_flags({name: flag_rows(found[name], name, source) for name in flags}, rows, source)


def flag_rows(values: NDArray[Any], name: str, source: str) -> Bool[ndarray, " rows"]:
    """Flags of any numerical type, one a row, as booleans.

    Raises:
        DataError: Values other than 0 and 1.
    """
    flat = values.reshape(len(values), -1)
    if flat.shape[1:] != (1,) or values.dtype.kind not in "fiub" or not np.isin(flat, (0, 1)).all():
        raise DataError(
            f"{source}: {name} must hold one flag per row, 0 or 1, got {values.dtype} {list(values.shape)}."
        )
    return flat[:, 0] != 0


def _of_flags(flags: Mapping[str, Bool[ndarray, " rows"]], rows: int, source: str) -> Ends:
    last = np.logical_or.reduce(list(flags.values()))
    names, notes = ", ".join(flags), list[str]()
    if rows > 1 and last[0] and not last[-1] and last.sum() > 1:
        raise DataError(
            f"{source}: {names} mark row 0 and not the last row, so they seem to mark the first rows of episodes. "
            "Rename the array to episode_starts if they do; otherwise remove row 0."
        )
    if not last.any():
        notes.append(f"no row is marked by {names}: the {rows} rows are read as one episode.")
    elif not last[-1]:
        rest = rows - 1 - int(np.flatnonzero(last)[-1])
        notes.append(f"the last {rest} rows are not ended by {names}: they are read as an episode that was cut short.")
    ends = np.union1d(np.flatnonzero(last) + 1, [rows])
    return Ends(np.diff(ends, prepend=0), tuple(flags), tuple(notes))


def _of_list(values: NDArray[Any], name: str, rows: int, source: str) -> NDArray[np.int64]:
    whole = whole_numbers(values, name, source)
    return np.diff(whole, prepend=0) if name == "episode_ends" else whole


def _of_starts(values: NDArray[Any], name: str, rows: int, source: str) -> NDArray[np.int64]:
    """Lengths by a flag a row, as Stable-Baselines3 writes, or by the first rows themselves."""
    a_flag_a_row = len(values) == rows and values.dtype.kind in "fiub" and bool(np.isin(values, (0, 1)).all())
    if values.dtype == bool or (a_flag_a_row and rows > 1):
        starts = np.flatnonzero(flag_rows(values, name, source))
    else:
        starts = whole_numbers(values, name, source)
    if not len(starts) or starts[0] != 0:
        raise DataError(f"{source}: {name} must begin with row 0. Remove the rows before.")
    return np.diff(starts, append=rows)


def _of_numbers(values: NDArray[Any], name: str, rows: int, source: str) -> NDArray[np.int64]:
    numbers = values.reshape(-1)
    if len(numbers) != rows or values.size != rows or values.dtype.kind not in "fiub":
        raise DataError(f"{source}: {name} must hold one number per row, got {values.dtype} {list(values.shape)}.")
    if not np.isfinite(numbers).all():
        raise DataError(f"{source}: {name} holds numbers that are not finite. Give each episode a number of its own.")
    starts = np.flatnonzero(np.concatenate([[True], numbers[1:] != numbers[:-1]])) if rows else np.empty(0, np.int64)
    if len(np.unique(numbers[starts])) < len(starts):
        raise DataError(f"{source}: the rows of an episode are not together: {name} returns to an earlier number.")
    return np.diff(starts, append=rows)


def whole_numbers(values: NDArray[Any], name: str, source: str) -> NDArray[np.int64]:
    """A list of whole numbers, of any numerical type."""
    flat = values.reshape(-1) if values.ndim == 2 and 1 in values.shape else values
    if flat.ndim != 1 or flat.dtype.kind not in "fiub":
        raise DataError(f"{source}: {name} must be a list of whole numbers, got {values.dtype} {list(values.shape)}.")
    if flat.dtype.kind == "f" and (odd := np.flatnonzero((flat != np.floor(flat)) | ~(np.abs(flat) < LARGEST))).size:
        raise DataError(
            f"{source}: {name} must be a list of whole numbers, but entry {odd[0]} is {flat[odd[0]]:g}. Write it again "
            "as integers; seconds must be multiplied by the rate."
        )
    return flat.astype(np.int64)


def _said(values: NDArray[Any], name: str, rows: int) -> tuple[str, ...]:
    a_list = name in LISTS or (name in STARTS and len(values) != rows)
    if not a_list or values.dtype.kind != "f":
        return ()
    return (f"{name} is {values.dtype} and holds whole numbers: read as whole numbers.",)


def list_hint(values: NDArray[Any], name: str, rows: int) -> str:
    """What a list of ends or lengths that does not fit the rows seems to be instead, with the way out; else nothing.

    >>> list_hint(np.array([29, 54]), "episode_ends", 55)
    ' Its entries seem to be the last rows: add 1 to each, because an end is the row after the last.'
    >>> list_hint(np.array([30, 25]), "episode_ends", 55)
    ' Its entries sum to 55, so they seem to be lengths: store their cumulative sum (np.cumsum).'
    """
    found = [int(value) for value in values.ravel()] if values.dtype.kind in "iuf" and np.isfinite(values).all() else []
    if not found:
        return ""
    rise = all(one < other for one, other in pairwise(found))
    if name != "episode_ends":
        if rise and found[-1] == rows:
            return " Its entries seem to be ends, the row after the last of each episode: name them episode_ends."
        return ""
    if len(found) > 1 and sum(found) == rows:
        return f" Its entries sum to {rows}, so they seem to be lengths: store their cumulative sum (np.cumsum)."
    if rise and found[-1] == rows - 1:
        return " Its entries seem to be the last rows: add 1 to each, because an end is the row after the last."
    if rise and found[0] == 0 and found[-1] < rows:
        return f" Its entries begin with 0, so they seem to be the first rows: leave out the 0 and append {rows}."
    return ""


def _check(lengths: NDArray[np.int64], name: str, rows: int, source: str, hint: str) -> None:
    """Refuse lengths below 0; an episode without steps is named by the inspection and refused by the training."""
    if (falling := np.flatnonzero(lengths < 0)).size:
        raise DataError(
            f"{source}: {name}: episode {falling[0]} would have {lengths[falling[0]]} steps. Expected "
            f"{'rows that rise' if name == 'episode_ends' else 'numbers of at least 0'}.{hint}"
        )
    # as Python's numbers: a sum of lengths that a file gives can exceed 64 bits
    if (total := sum(map(int, lengths))) != rows:
        more = hint or _expected(name, rows)
        raise DataError(f"{source}: {name} gives {total} steps, but there are {rows} actions.{more}")


def _expected(name: str, rows: int) -> str:
    if name not in LISTS:
        return ""
    what = "the last entry to be" if name == "episode_ends" else "entries that sum to"
    return f" Expected {what} {rows}: write it again with the arrays that it belongs to."
