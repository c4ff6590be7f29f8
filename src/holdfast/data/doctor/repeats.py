"""Duplicates: episodes, rows, stale readings and starts."""

import hashlib
from collections import defaultdict
from typing import Any, cast

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray
from scipy import spatial  # pyright: ignore[reportMissingTypeStubs]

from .findings import DataFinding, good, listed, share
from .recording import Recording

__all__ = ["check_repeats"]

_spatial = cast(Any, spatial)  # scipy ships no types

POINTS = 16
"""Points along an episode at which two episodes are compared."""
NEAR = 1e-3
"""Largest difference of near copies, as a fraction of a coordinate's half range."""
MOST_COMPARED = 2000
REPEATED, STALE = 0.05, 0.05


def check_repeats(recording: Recording) -> list[DataFinding]:
    """Copies of episodes, repeated rows, stale readings and equal starts."""
    exact = _equal_episodes(recording)
    found = _report_copies(recording, exact, _near_episodes(recording))
    found += _repeated_rows(recording)
    found += _equal_starts(recording)
    return found or [good("copies", "There are no duplicate episodes or rows.")]


def _equal_episodes(recording: Recording) -> list[list[int]]:
    """Groups of episodes that are equal to the bit."""
    groups = defaultdict[bytes, list[int]](list)
    for number, (first, length) in enumerate(zip(recording.starts, recording.lengths, strict=True)):
        digest = hashlib.blake2b(digest_size=16)
        for item in recording.quantities:
            digest.update(np.ascontiguousarray(item.values[first : first + length]).tobytes())
        groups[digest.digest()].append(number)
    return [group for group in groups.values() if len(group) > 1]


def _near_episodes(recording: Recording) -> list[tuple[int, int]]:
    """Pairs of episodes that are nearly equal at equal fractions of their lengths."""
    count = min(len(recording.lengths), MOST_COMPARED)
    if count < 2:
        return []
    shares = np.linspace(0, 1, POINTS)
    rows = (recording.starts[:count, None] + np.round(shares * (recording.lengths[:count, None] - 1))).astype(np.int64)
    points = np.concatenate([_scaled(item.values[rows]) for item in recording.quantities], axis=-1)
    tree = _spatial.KDTree(points.reshape(count, -1))
    pairs: Int[ndarray, "pairs 2"] = tree.query_pairs(NEAR, p=np.inf, output_type="ndarray")
    lengths = recording.lengths
    near = sorted((int(i), int(j)) for i, j in pairs)
    return [(i, j) for i, j in near if abs(lengths[i] - lengths[j]) <= 0.02 * max(lengths[i], lengths[j])]


def _scaled(values: Float[ndarray, "*b d"]) -> Float[ndarray, "*b d"]:
    flat = values.reshape(-1, values.shape[-1]).astype(np.float64)
    half = (flat.max(axis=0) - flat.min(axis=0)) / 2
    return (values - flat.min(axis=0)) / np.where(half > 0, half, 1.0)


def _report_copies(recording: Recording, exact: list[list[int]], near: list[tuple[int, int]]) -> list[DataFinding]:
    known = {(i, j) for group in exact for i in group for j in group}
    near = [pair for pair in near if pair not in known]
    found = list[DataFinding]()
    if exact:
        extra = sum(len(group) - 1 for group in exact)
        groups = [[int(recording.episodes[number]) for number in group] for group in exact]
        examples = listed([" = ".join(map(str, group[:4])) + (" = …" if len(group) > 4 else "") for group in groups])
        found.append(
            DataFinding(
                check="copies",
                severity="warning",
                what=f"{extra} of {len(recording.lengths)} episodes are exact copies of another: episode {examples}.",
                effect="They have double weight in training, and a held-out copy of a training episode tests nothing.",
                remedy="Select one of each with holdfast.data.select(episodes, keep).",
                values={"groups": groups},
            )
        )
    if near:
        pairs = [(int(recording.episodes[i]), int(recording.episodes[j])) for i, j in near]
        found.append(
            DataFinding(
                check="copies",
                severity="note",
                what=f"{len(pairs)} pairs of episodes are nearly equal (within {share(NEAR / 2)} of every range): "
                f"episode {listed([f'{i} ≈ {j}' for i, j in pairs])}.",
                effect="They add little information, and if only one of a pair is held out, the held-out loss is too "
                "optimistic.",
                remedy="Select one of each, or accept it if the demonstrator is a program.",
                values={"pairs": pairs[:200]},
            )
        )
    return found


def _repeated_rows(recording: Recording) -> list[DataFinding]:
    inside = recording.pairs()
    same = [_same_as_before(item.values) & inside for item in recording.quantities]
    if not inside.any():
        return []
    acted, everything = same[0], np.logical_and.reduce(same)
    repeated, total = float(everything.sum()) / int(inside.sum()), int(inside.sum())
    found = list[DataFinding]()
    if repeated >= REPEATED:
        row = int(np.flatnonzero(everything)[0]) + 1
        found.append(
            DataFinding(
                check="repeats",
                severity="warning",
                what=f"{share(repeated)} of the rows equal the previous row exactly, first at {recording.where(row)}.",
                effect="Either nothing moved, or the recording was faster than new readings arrived.",
                remedy="Record at the rate of new readings, or drop the repeated rows and set the true dt.",
                values={"share": repeated},
            )
        )
    stale = same[1] & ~acted & ~everything
    # a state at rest while the action changes is stale only if it moves before and after
    moves = ~same[1]
    between = np.zeros(len(stale), dtype=bool)
    between[1:-1] = moves[:-2] & moves[2:]
    held = float((stale & between).sum()) / total
    if held >= STALE:
        row = int(np.flatnonzero(stale & between)[0]) + 1
        found.append(
            DataFinding(
                check="stale",
                severity="warning",
                what=f"In {share(held)} of the steps the state equals the previous one exactly, between steps in "
                f"which it moves, while the action changes; first at {recording.where(row)}.",
                effect="The sensor is slower than the recording: outdated states are recorded as new ones.",
                remedy="Record at the sensor's rate, or select the rows with a new reading and set the true dt.",
                values={"share": held},
            )
        )
    return found


def _same_as_before(values: Float[ndarray, "rows d"]) -> ndarray:
    equal = np.ones(len(values) - 1, dtype=bool)
    for index in range(values.shape[1]):
        equal &= values[1:, index] == values[:-1, index]
    return equal


def _equal_starts(recording: Recording) -> list[DataFinding]:
    first = np.concatenate([item.values[recording.starts].astype(np.float64) for item in recording.moving], axis=1)
    distinct = len(np.unique(first, axis=0))
    if len(first) < 3 or distinct > 0.5 * len(first):
        return []
    return [
        DataFinding(
            check="starts",
            severity="note",
            what=f"{len(first)} episodes begin in {distinct} distinct state{'' if distinct == 1 else 's'}.",
            effect="The behaviour from other starts is not demonstrated.",
            remedy="If deployment has other starts too, record from varied starts.",
            values={"starts": distinct, "episodes": len(first)},
        )
    ]
