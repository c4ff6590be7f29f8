"""Ranges of the measurements of a data set: those that its cameras get when it is read, and stored ones.

    meta["depth_ranges"] = {camera: [near, far]}

The entry stays when the bytes are written in another format.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..errors import DataError, RecipeError
from ..types import Episodes, Pictures
from .depth import Depth, is_measurement, usual_range
from .measured import is_measured, measurements, with_range

RANGES = "depth_ranges"
"""Entry of `meta`: the range of each camera of measurements."""
SAMPLE, NUMBERS = 64, 1 << 20
"""Pictures, and numbers of them, from which the usual range is taken at most."""


def ranges_of(episodes: Episodes) -> dict[str, Depth]:
    """The range of each camera whose pictures are measurements.

    Raises:
        DataError: A stored range is none.
    """
    stored: Any = episodes.meta.get(RANGES) or {}
    try:
        return {name: Depth.of(ends) for name, ends in dict(stored).items() if name in episodes.cameras}
    except (RecipeError, TypeError, ValueError) as error:
        raise DataError(
            f"the stored ranges of depth cannot be {stored!r:.200} ({error}). Write the data again."
        ) from error


def ranged(episodes: Episodes, wanted: Sequence[float] | None, source: str) -> Episodes:
    """Episodes whose cameras of measurements have a range, which `meta` names.

    Args:
        episodes: Episodes as they were read.
        wanted: Nearest and farthest measurement. Default: `usual_range` of evenly spaced pictures of each camera.
        source: The data set, for messages.

    Raises:
        DataError: A range for data without measurements, or another one than that with which bytes were stored.
    """
    asked, known = None if wanted is None else Depth.of(wanted), ranges_of(episodes)
    new = [name for name, pictures in episodes.cameras.items() if is_measured(pictures)]
    if asked is not None:
        _check_asked(asked, known, new, source)
    if not new:
        return _described(episodes, known, [], []) if known else episodes
    cameras, notes, lost = dict(episodes.cameras), list[str](), list[str]()
    for name in new:
        try:
            sample = _sample(cameras[name])
            depth = asked or usual_range(sample)
            if depth is None:
                raise DataError(f"no measurement in {min(SAMPLE, len(cameras[name]))} pictures")
        except DataError as error:
            # pictures are no reason to refuse the numbers
            lost.append(f"{name} ({str(error).removesuffix('.')})")
            del cameras[name]
            continue
        cameras[name], known[name] = with_range(cameras[name], depth), depth
        notes.append(_note(name, depth, sample, chosen=asked is not None))
    return _described(replace(episodes, cameras=cameras), known, notes, lost)


def check_ranges_agree(parts: Sequence[Episodes]) -> None:
    """Refuse to join sets whose measurements have different ranges.

    Raises:
        DataError: They differ.
    """
    kinds = [ranges_of(part) for part in parts]
    if odd := next((kind for kind in kinds if kind != kinds[0]), None):
        raise DataError(
            f"the ranges of depth differ between the sets: {_listed(kinds[0])} and {_listed(odd)}. Read all of them "
            "with one range: --depth-range NEAR FAR (in Python: Selection(depth_range=...))."
        )


def _check_asked(asked: Depth, known: Mapping[str, Depth], new: Sequence[str], source: str) -> None:
    if not known and not new:
        raise DataError(
            f"{source} has no camera of measurements, such as a depth camera, to which --depth-range could apply. "
            "Remove --depth-range."
        )
    if other := [name for name, depth in known.items() if depth != asked]:
        depth = known[other[0]]
        raise DataError(
            f"{source}: the measurements of camera {other[0]} are stored as bytes with the range {depth.near:g} to "
            f"{depth.far:g}, which cannot be changed. Remove --depth-range, or read the original data."
        )


def _described(episodes: Episodes, known: Mapping[str, Depth], notes: Sequence[str], lost: Sequence[str]) -> Episodes:
    meta = {**episodes.meta, RANGES: {name: [depth.near, depth.far] for name, depth in known.items()}}
    for entry, more in (("reading_notes", notes), ("features_left_out", lost)):
        if more:
            meta[entry] = [*(meta.get(entry) or ()), *more]
    return replace(episodes, meta={name: value for name, value in meta.items() if name != RANGES or value})


def _sample(pictures: Pictures) -> NDArray[Any]:
    """Numbers of evenly spaced pictures, every n-th row and column of large ones."""
    rows = torch.linspace(0, len(pictures) - 1, min(SAMPLE, len(pictures))).long()
    height, width, _ = pictures.shape
    step = max(1, round((len(rows) * height * width / NUMBERS) ** 0.5))
    parts = [measurements(pictures, row[None])[:, ::step, ::step] for row in rows]
    return np.concatenate(parts) if parts else np.empty(0)


def _note(name: str, depth: Depth, sample: NDArray[Any], *, chosen: bool) -> str:
    valid = float(is_measurement(np.asarray(sample, dtype=np.float64)).mean()) if sample.size else 0.0
    why = "--depth-range" if chosen else "0.1 % and 99.9 % quantiles of a sample; --depth-range NEAR FAR sets another"
    return (
        f"camera {name}: measurements ({sample.dtype}) from {depth.near:g} to {depth.far:g}, in the units of the data, "
        f"become bytes in steps of {depth.resolution:.3g} ({why}); {100 * (1 - valid):.1f} % of the "
        "sample are no measurement (byte 0)."
    )


def _listed(known: Mapping[str, Depth]) -> str:
    return ", ".join(f"{name} {depth.near:g} to {depth.far:g}" for name, depth in known.items()) or "none"
