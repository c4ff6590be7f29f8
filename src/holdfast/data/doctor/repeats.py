"""What is there twice: episodes, rows, readings that lag behind, starts."""

import hashlib
from collections import defaultdict
from typing import Any, cast

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray
from scipy import spatial  # pyright: ignore[reportMissingTypeStubs]

from .findings import Finding, listed, share
from .recording import Recording

__all__ = ["check_repeats"]

_spatial = cast(Any, spatial)  # scipy ships no types

POINTS = 16
"""Points along an episode that two are compared at."""
NEAR = 1e-3
"""Episodes that never differ by more than this share of a coordinate's half range are near copies."""
MOST_COMPARED = 2000
REPEATED, STALE = 0.05, 0.05


def check_repeats(recording: Recording) -> list[Finding]:
    """Copies of episodes, repeated rows, stale readings and equal starts."""
    exact = _equal_episodes(recording)
    found = _say_copies(recording, exact, _near_episodes(recording))
    found += _repeated_rows(recording)
    found += _equal_starts(recording)
    return found or [Finding(check="copies", severity="good", what="No episode and no row is there twice.")]


def _equal_episodes(recording: Recording) -> list[list[int]]:
    """Groups of episodes that are equal in every bit."""
    groups = defaultdict[bytes, list[int]](list)
    for number, (first, length) in enumerate(zip(recording.starts, recording.lengths, strict=True)):
        digest = hashlib.blake2b(digest_size=16)
        for item in recording.quantities:
            digest.update(np.ascontiguousarray(item.values[first : first + length]).tobytes())
        groups[digest.digest()].append(number)
    return [group for group in groups.values() if len(group) > 1]


def _near_episodes(recording: Recording) -> list[tuple[int, int]]:
    """Pairs of episodes that are nearly equal at equal shares of their length."""
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


def _say_copies(recording: Recording, exact: list[list[int]], near: list[tuple[int, int]]) -> list[Finding]:
    known = {(i, j) for group in exact for i in group for j in group}
    near = [pair for pair in near if pair not in known]
    found = list[Finding]()
    if exact:
        extra = sum(len(group) - 1 for group in exact)
        groups = [[int(recording.episodes[number]) for number in group] for group in exact]
        said = listed([" = ".join(map(str, group[:4])) + (" = …" if len(group) > 4 else "") for group in groups])
        found.append(
            Finding(
                check="copies",
                severity="warning",
                what=f"{extra} of {len(recording.lengths)} episodes are exact copies of another: episode {said}.",
                effect="They count double in training, and a held-out copy of a training episode is no test.",
                remedy="Keep one of each with holdfast.data.select(episodes, keep).",
                values={"groups": groups},
            )
        )
    if near:
        pairs = [(int(recording.episodes[i]), int(recording.episodes[j])) for i, j in near]
        found.append(
            Finding(
                check="copies",
                severity="note",
                what=f"{len(pairs)} pairs of episodes are nearly equal (within {share(NEAR / 2)} of every range): "
                f"episode {listed([f'{i} ≈ {j}' for i, j in pairs])}.",
                effect="They add little, and a split that separates them makes the held-out loss look better than it "
                "is.",
                remedy="Keep one of each, or accept it where the demonstrator is a program.",
                values={"pairs": pairs[:200]},
            )
        )
    return found


def _repeated_rows(recording: Recording) -> list[Finding]:
    inside = recording.pairs()
    same = [_same_as_before(item.values) & inside for item in recording.quantities]
    if not inside.any():
        return []
    acted, everything = same[0], np.logical_and.reduce(same)
    repeated, total = float(everything.sum()) / int(inside.sum()), int(inside.sum())
    found = list[Finding]()
    if repeated >= REPEATED:
        row = int(np.flatnonzero(everything)[0]) + 1
        found.append(
            Finding(
                check="repeats",
                severity="warning",
                what=f"{share(repeated)} of the rows repeat the row before exactly, first at {recording.say(row)}.",
                effect="Time seems to stand still there: either nobody moved, or frames were recorded faster than they "
                "came.",
                remedy="Record at the rate at which new readings come, or drop the repeated rows and give the true dt.",
                values={"share": repeated},
            )
        )
    stale = same[1] & ~acted & ~everything
    # a state that rests while the action changes is stale only if it moves before and after
    moves = ~same[1]
    between = np.zeros(len(stale), dtype=bool)
    between[1:-1] = moves[:-2] & moves[2:]
    held = float((stale & between).sum()) / total
    if held >= STALE:
        row = int(np.flatnonzero(stale & between)[0]) + 1
        found.append(
            Finding(
                check="stale",
                severity="warning",
                what=f"In {share(held)} of the steps the state is bit for bit that of the step before, between steps "
                f"in which it moves, while the action goes on; first at {recording.say(row)}.",
                effect="The sensor is slower than the recording: the policy sees old states as if they were new.",
                remedy="Record at the sensor's rate, or keep only the rows with a new reading and give the true dt.",
                values={"share": held},
            )
        )
    return found


def _same_as_before(values: Float[ndarray, "rows d"]) -> ndarray:
    equal = np.ones(len(values) - 1, dtype=bool)
    for index in range(values.shape[1]):
        equal &= values[1:, index] == values[:-1, index]
    return equal


def _equal_starts(recording: Recording) -> list[Finding]:
    first = np.concatenate([item.values[recording.starts].astype(np.float64) for item in recording.moving], axis=1)
    distinct = len(np.unique(first, axis=0))
    if len(first) < 3 or distinct > 0.5 * len(first):
        return []
    return [
        Finding(
            check="starts",
            severity="note",
            what=f"{len(first)} episodes begin in {distinct} distinct state{'' if distinct == 1 else 's'}.",
            effect="What the policy does from other starts is left to chance.",
            remedy="If deployment starts elsewhere too, record from varied starts.",
            values={"starts": distinct, "episodes": len(first)},
        )
    ]
