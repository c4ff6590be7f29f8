"""Duplicates: episodes, rows, stale readings and starts."""

import hashlib
from collections import defaultdict
from collections.abc import Iterator
from typing import Any, cast

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from scipy import spatial  # pyright: ignore[reportMissingTypeStubs]

from ..choosing import dropping
from .findings import DataFinding, counted, good, listed, note, share, warning
from .overlaps import check_overlaps
from .recording import Recording

_spatial = cast(Any, spatial)  # scipy ships no types

POINTS = 16
"""Points along an episode at which two episodes are compared."""
NEAR = 1e-3
"""Largest difference of near copies, as a fraction of a coordinate's half range."""
MOST_COMPARED = 2000
REPEATED, STALE = 0.05, 0.05


def check_repeats(
    whole: Recording, recording: Recording, idle: Bool[ndarray, " rows"], *, held: bool = False
) -> list[DataFinding]:
    """Copies of episodes, repeated rows outside pauses, stale readings and equal starts.

    Args:
        whole: All episodes.
        recording: The episodes that no check has condemned.
        idle: Their idle rows.
        held: Whether held samples are reported already, which repeat rows.
    """
    exact = _equal_episodes(whole)
    found = [*_exact_copies(whole, exact), *check_overlaps(whole), *_near_copies(whole, exact)]
    found += [*(() if held else _repeated_rows(recording, idle)), *_equal_starts(recording)]
    return found or [good("copies", "There are no duplicate episodes or rows.")]


def _equal_episodes(recording: Recording) -> list[list[int]]:
    """Groups of episodes that are equal to the bit."""
    groups = defaultdict[bytes, list[int]](list)
    for number, parts in enumerate(zip(*(recording.by_episode(q.values) for q in recording.quantities), strict=True)):
        digest = hashlib.blake2b(digest_size=16)
        for part in parts:
            digest.update(np.ascontiguousarray(part).tobytes())
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


def _exact_copies(recording: Recording, exact: list[list[int]]) -> Iterator[DataFinding]:
    if exact:
        extra = sum(len(group) - 1 for group in exact)
        groups = [[int(recording.episodes[number]) for number in group] for group in exact]
        examples = listed([" = ".join(map(str, group[:4])) + (" = …" if len(group) > 4 else "") for group in groups])
        yield warning(
            "copies",
            f"{extra} of {len(recording.lengths)} episodes are exact copies of another: episode {examples}.",
            effect="They have double weight in training, and a held-out copy of a training episode tests nothing.",
            remedy=f"Drop the others with {dropping(number for group in groups for number in group[1:])}.",
            values={"groups": groups},
        )


def _near_copies(recording: Recording, exact: list[list[int]]) -> Iterator[DataFinding]:
    known = {(i, j) for group in exact for i in group for j in group}
    near = [pair for pair in _near_episodes(recording) if pair not in known]
    if near:
        pairs = [(int(recording.episodes[i]), int(recording.episodes[j])) for i, j in near]
        yield note(
            "copies",
            f"{len(pairs)} pairs of episodes are nearly equal (within {share(NEAR / 2)} of every range): "
            f"episode {listed([f'{i} ≈ {j}' for i, j in pairs])}.",
            effect="They add little information, and if only one of a pair is held out, the held-out loss is too "
            "optimistic.",
            remedy="Select one of each, or accept it if the demonstrator is a program.",
            values={"pairs": pairs[:200]},
        )


def _repeated_rows(recording: Recording, idle: Bool[ndarray, " rows"]) -> Iterator[DataFinding]:
    inside = recording.pairs() & ~idle[1:]
    if not inside.any():
        return
    same = [_same_as_before(item.values) & inside for item in recording.quantities]
    acted, everything = same[0], np.logical_and.reduce(same)
    repeated = float(everything.sum()) / int(inside.sum())
    if repeated >= REPEATED:
        yield warning(
            "repeats",
            f"{share(repeated)} of the rows equal the previous row exactly, first at "
            f"{recording.where(np.argmax(everything) + 1)}.",
            effect="Either nothing moved, or the recording was faster than new readings arrived.",
            remedy="Record at the rate of new readings, or drop the repeated rows and set the true dt.",
            values={"share": repeated},
        )
    # a state at rest while the action changes is stale only if it moves before and after
    moves = ~same[1]
    stale = same[1] & ~acted & ~everything
    stale[1:-1] &= moves[:-2] & moves[2:]
    stale[[0, -1]] = False
    held = float(stale.sum()) / int(inside.sum())
    if held >= STALE:
        yield warning(
            "stale",
            f"In {share(held)} of the steps the state equals the previous one exactly, between steps in "
            f"which it moves, while the action changes; first at {recording.where(np.argmax(stale) + 1)}.",
            effect="The sensor is slower than the recording: outdated states are recorded as new ones.",
            remedy="Record at the sensor's rate, or select the rows with a new reading and set the true dt.",
            values={"share": held},
        )


def _same_as_before(values: Float[ndarray, "rows d"]) -> ndarray:
    equal = np.ones(len(values) - 1, dtype=bool)
    for index in range(values.shape[1]):
        equal &= values[1:, index] == values[:-1, index]
    return equal


def _equal_starts(recording: Recording) -> Iterator[DataFinding]:
    moving = recording.quantities[1:]
    first = np.concatenate([item.values[recording.starts].astype(np.float64) for item in moving], axis=1)
    distinct = len(np.unique(first, axis=0))
    if len(first) >= 3 and distinct <= 0.5 * len(first):
        yield note(
            "starts",
            f"{len(first)} episodes begin in {counted(distinct, 'distinct state')}.",
            effect="The behavior from other starts is not demonstrated.",
            remedy="If deployment has other starts too, record from varied starts.",
            values={"starts": distinct, "episodes": len(first)},
        )
