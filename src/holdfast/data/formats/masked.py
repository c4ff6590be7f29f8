"""Data sets by key without the rows that a mask among their arrays marks as no data."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch

from ..pictures import Chosen
from .keyed import Keyed, Loaded
from .masks import Cut, cut_by_mask, mask_in


def without_masked(keyed: Keyed) -> Keyed:
    """The data set without the rows outside its mask, if it has one with a flag a row."""
    single = [key for key, entry in keyed.entries.items() if entry.width == 1 and not entry.ahead]
    name = mask_in([key for key in single if key not in (*keyed.faults, *keyed.used)])
    if name is None:
        return keyed
    cut, aside = cut_by_mask(keyed.load([name])[name].rows, name, keyed.lengths)
    if cut is None or cut.kept.all():
        notes = [aside] if cut is None else []
        return replace(keyed, notes=[*keyed.notes, *notes], used=[*keyed.used, *([name] if cut else [])])
    rows = torch.as_tensor(np.flatnonzero(cut.kept))
    return replace(
        keyed,
        lengths=cut.lengths,
        load=_cut(keyed.load, cut, keyed.lengths),
        used=[*keyed.used, name],
        cameras={camera: Chosen(pictures, rows) for camera, pictures in keyed.cameras.items()},
        measured={key: Chosen(pictures, rows) for key, pictures in keyed.measured.items()},
        notes=[*keyed.notes, cut.note],
    )


def _cut(
    load: Callable[[Sequence[str]], Mapping[str, Loaded]], cut: Cut, lengths: np.ndarray
) -> Callable[[Sequence[str]], Mapping[str, Loaded]]:
    """The loader of the rows that are left; the state after the last of them is that of the next row."""
    owner = np.repeat(np.arange(len(lengths)), lengths)
    last = np.full(len(lengths), -1)
    last[owner[cut.kept]] = np.flatnonzero(cut.kept)
    whole = (last >= 0) & (last + 1 == np.cumsum(lengths))

    def left(found: Loaded) -> Loaded:
        if found.final is None:
            return Loaded(found.rows[cut.kept])
        after = found.rows[np.minimum(last + 1, len(found.rows) - 1)]
        return Loaded(found.rows[cut.kept], np.where(whole.reshape(-1, *[1] * (after.ndim - 1)), found.final, after))

    return lambda keys: {key: left(found) for key, found in load(keys).items()}
