"""Episodes that repeat a stretch of another one: copies without their first or last rows.

Rows that are equal to the bit and lie in two episodes vote for the difference of their steps,

    votes(i, j, k) = |{t : row t + k of episode i = row t of episode j}|,

and the difference for which nearly all rows of the overlap vote names a copy. Rows that many episodes share, as they do
at rest, do not vote.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int, UInt64
from numpy import ndarray

from ..choosing import dropping
from .findings import DataFinding, listed, warning
from .recording import Recording

FEWEST, PART, AGREE = 10, 0.5, 0.9
"""Fewest equal rows of a copy, their smallest share of the shorter episode, and of the overlap."""
MOST = 8
"""Largest number of equal rows that vote."""


@dataclass(frozen=True, kw_only=True)
class Overlap:
    """A stretch that two episodes share.

    Attributes:
        longer: Number of the longer episode in the recording.
        shorter: Number of the other one.
        ahead: Step of the longer episode at which the other one begins; negative if it begins before it.
        rows: Number of rows that both have.
    """

    longer: int
    shorter: int
    ahead: int
    rows: int


def overlaps_of(recording: Recording) -> list[Overlap]:
    """Stretches that two episodes share, other than whole episodes, each shorter episode once."""
    found = dict[int, Overlap]()
    for (i, j, ahead), votes in _votes(recording):
        lengths = int(recording.lengths[i]), int(recording.lengths[j])
        one, other, start = (i, j, ahead) if lengths[0] >= lengths[1] else (j, i, -ahead)
        long, short = max(lengths), min(lengths)
        rows = min(long, start + short) - max(0, start)
        whole = long == short == rows
        if not whole and rows >= max(FEWEST, PART * short) and votes >= AGREE * rows:
            known = found.get(other)
            if known is None or known.rows < rows:
                found[other] = Overlap(longer=one, shorter=other, ahead=start, rows=rows)
    return sorted(found.values(), key=lambda one: one.shorter)


def _votes(recording: Recording) -> Iterator[tuple[tuple[int, int, int], int]]:
    """Pairs of episodes with a difference of steps, and how many rows agree on it."""
    keys = _keys(recording)
    order = np.argsort(keys, kind="stable")
    same = keys[order][1:] == keys[order][:-1]
    first = np.flatnonzero(np.concatenate([[True], ~same]))
    sizes = np.diff(np.append(first, len(order)))
    step = np.arange(len(keys)) - recording.starts[recording.owner]
    pairs = [
        np.stack([order[at + a], order[at + b]])
        for size in range(2, MOST + 1)
        for at in [first[sizes == size]]
        if len(at)
        for a in range(size)
        for b in range(a + 1, size)
    ]
    if not pairs:
        return
    one, other = np.concatenate(pairs, axis=1)
    apart = recording.owner[one] != recording.owner[other]
    one, other = one[apart], other[apart]
    table = np.stack([recording.owner[one], recording.owner[other], step[one] - step[other]], axis=1)
    distinct, counts = np.unique(table, axis=0, return_counts=True)
    yield from (((int(i), int(j), int(k)), int(n)) for (i, j, k), n in zip(distinct, counts, strict=True))


def _keys(recording: Recording) -> UInt64[ndarray, " rows"]:
    """A number for each row that equal rows share, and others share by a chance of about 2⁻⁶⁴.

    The bits are mixed with the constants of SplitMix64 (Steele, Lea and Flood 2014).
    """
    keys = np.zeros(len(recording.owner), dtype=np.uint64)
    for item in recording.quantities:
        for index in range(item.values.shape[1]):
            bits = item.column(index).view(np.uint64)
            mixed = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            keys = (keys ^ mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return keys


def check_overlaps(recording: Recording) -> Iterator[DataFinding]:
    """Episodes that are another one without its first or last rows."""
    found = overlaps_of(recording)
    if not found:
        return
    numbers: Int[ndarray, " episodes"] = recording.episodes
    shorter = [int(numbers[one.shorter]) for one in found]
    yield warning(
        "copies",
        f"{len(found)} of {len(numbers)} episodes repeat rows of another one exactly: "
        f"{listed([_sentence(one, recording) for one in found])}.",
        effect="The repeated rows have double weight in training, and a held-out copy of training rows tests nothing.",
        remedy=f"Leave the shorter ones out with {dropping(shorter)}.",
        values={
            "episodes": shorter,
            "of": [int(numbers[one.longer]) for one in found],
            "first": [one.ahead for one in found],
            "rows": [one.rows for one in found],
        },
    )


def _sentence(one: Overlap, recording: Recording) -> str:
    copy, whole = int(recording.episodes[one.shorter]), int(recording.episodes[one.longer])
    if one.rows < recording.lengths[one.shorter]:
        return f"{one.rows} rows of episode {copy} are in episode {whole}"
    cut = one.ahead, int(recording.lengths[one.longer]) - one.ahead - one.rows
    names = [(name, rows) for name, rows in zip(("first", "last"), cut, strict=True) if rows]
    parts = [f"its {name} row" if rows == 1 else f"its {name} {rows} rows" for name, rows in names]
    return f"episode {copy} is episode {whole} without {' and '.join(parts)}"
