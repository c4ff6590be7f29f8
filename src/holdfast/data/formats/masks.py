"""Masks of rows that are no data, in arrays with a row a step: rows outside them at the ends of episodes are cut off.

A mask of `blocks.MASKS` marks rows that are data, one of `blocks.PADS` the others. It has one flag, 0 or 1, for each
step; any other length is refused, because rows that it was to leave out would be taken for data.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Int
from numpy import ndarray
from numpy.typing import NDArray

from ...errors import DataError
from .blocks import MASKS, PADS


@dataclass(frozen=True, kw_only=True)
class Cut:
    """What a mask leaves.

    Attributes:
        kept: Whether each row is data.
        lengths: Steps of each episode without the others.
        name: Name of the mask.
        note: Sentence on what was cut off; empty if nothing was.
    """

    kept: Bool[ndarray, " rows"]
    lengths: Int[ndarray, " episodes"]
    name: str
    note: str


def mask_in(names: Iterable[str]) -> str | None:
    """The name of the mask among those of arrays, if there is one."""
    known = set(names)
    return next((name for name in (*MASKS, *PADS) if name in known), None)


def check_rows_of_mask(name: str, shape: tuple[int, ...], rows: int, episodes: int, source: str) -> bool:
    """Whether a mask has a flag a row; one with a flag an episode is a quantity of episodes.

    Raises:
        DataError: It has another length; the message names both.
    """
    length = shape[0] if shape else 0
    if shape in ((rows,), (rows, 1)):
        return True
    if shape == (episodes,):
        return False
    raise DataError(
        f"{source}: {name} has {length} entries (shape {list(shape)}), but there are {rows} steps in {episodes} "
        f"episode{'s' if episodes > 1 else ''}. Expected one flag for each step. Write the mask again with the arrays "
        "that it belongs to, or rename it if it is no mask."
    )


def cut_by_mask(values: NDArray[Any], name: str, lengths: Int[ndarray, " episodes"]) -> tuple[Cut | None, str]:
    """What a mask with one flag a row leaves, and a sentence if it is left aside.

    Masks with holes within episodes are left aside: without these rows, steps would follow one another that did not.
    """
    flags = values.reshape(-1)
    if flags.dtype.kind not in "fiub" or not np.isin(flags, (0, 1)).all():
        return None, f"{name} holds other values than 0 and 1, so it is read as a column, not as a mask."
    kept = (flags == 0) if name in PADS else (flags != 0)
    owner = np.repeat(np.arange(len(lengths)), lengths)
    inside = np.diff(owner, prepend=-1) == 0
    begins = kept & ~np.concatenate([[False], kept[:-1] & inside[1:]]) if len(kept) else kept
    if len(kept) and (np.bincount(owner[begins], minlength=len(lengths)) > 1).any():
        number = int(np.flatnonzero(np.bincount(owner[begins], minlength=len(lengths)) > 1)[0])
        return None, (
            f"{name} has holes within episodes, first in episode {number}: all rows are read as data, and {name} is a "
            "column. Cut the episodes at the holes to leave these rows out."
        )
    left = np.bincount(owner[kept], minlength=len(lengths)).astype(np.int64)
    gone = int((~kept).sum())
    return Cut(kept=kept, lengths=left, name=name, note=_said(name, gone, left, lengths)), ""


def _said(name: str, gone: int, left: NDArray[np.int64], lengths: NDArray[np.int64]) -> str:
    if not gone:
        return ""
    return f"{gone} rows outside {name} are left out, in {int((left < lengths).sum())} of {len(lengths)} episodes."
