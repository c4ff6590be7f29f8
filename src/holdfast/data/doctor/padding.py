"""Rows of padding at the ends of episodes: NaN, another filler, or the last row again.

Rows at the end of an episode that are equal in every number to the bit are padding if they begin at once: with a jump
to a filler, or as the sudden repetition of a moving row. What comes to rest slows down first.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int
from numpy import ndarray

from .findings import DataFinding, counted, error, listed, share, warning
from .recording import Recording

SHORTEST = 3
SUDDEN, FAR, RECENT, RESOLVED = 0.2, 3.0, 5, 1e-4
"""The step into repeated rows must be at least the first multiple of the five steps before, the step into a filler the
second, and larger than this fraction of the range."""
SOME = 0.02


@dataclass(frozen=True, kw_only=True)
class Padding:
    """Padding at the end of one episode."""

    episode: int
    rows: int
    filler: bool


def blanks_of(recording: Recording) -> list[Padding]:
    """Episodes that end in rows in which no number of the action, the state or the observation is one."""
    blank = np.zeros(len(recording.owner), dtype=bool)
    for item in recording.quantities:
        if item.labels and not np.isfinite(item.values).all():
            blank |= np.isnan(item.values).all(axis=1)
    found = list[Padding]()
    for number, own in enumerate(recording.by_episode(blank) if blank.any() else ()):
        rows = int(np.argmin(own[::-1])) if not own.all() else 0
        if rows:
            found.append(Padding(episode=int(recording.episodes[number]), rows=rows, filler=True))
    return found if len(found) > 1 or sum(one.rows for one in found) >= SHORTEST else []


def unpadded(recording: Recording, found: list[Padding]) -> Recording:
    """The recording without padding, so that no other check takes it for data."""
    rows = {one.episode: one.rows for one in found}
    taken: Int[ndarray, " episodes"] = np.array([rows.get(int(e), 0) for e in recording.episodes], dtype=np.int64)
    return recording.cut(recording.lengths - taken)


def check_blanks(found: list[Padding], recording: Recording) -> Iterator[DataFinding]:
    """Padding with NaN, in one finding."""
    if not found:
        return
    rows = sum(one.rows for one in found)
    episodes = [one.episode for one in found]
    yield error(
        "padding",
        f"{counted(len(found), 'episode')} of {len(recording.lengths)} end in rows without numbers (NaN): "
        f"{counted(rows, 'row')}, {share(rows / len(recording.owner))} of all; for example "
        f"{listed([f'{one.rows} rows in episode {one.episode}' for one in found], most=2)}.",
        effect="Training refuses the data set. These rows are padding, no part of the demonstrations.",
        remedy="Write the true length of each episode, or leave these episodes out: --drop-episodes "
        f"{' '.join(map(str, episodes))}. The other checks continue without these rows.",
        values={"episodes": episodes, "rows": [one.rows for one in found], "kind": "nan"},
    )


def paddings_of(recording: Recording) -> list[Padding]:
    """Episodes that end in padding."""
    same = _same_as_before(recording)
    found = list[Padding]()
    for number, (start, length) in enumerate(zip(recording.starts, recording.lengths, strict=True)):
        own = same[start + 1 : start + length]
        equal = int(np.argmin(own[::-1])) if len(own) and not own.all() else len(own)
        if equal + 1 < SHORTEST or equal + 2 > length:
            continue
        into = start + length - 1 - equal
        if (kind := _kind(recording, int(start), int(into))) is not None:
            rows = equal + 1 if kind == "filler" else equal
            found.append(Padding(episode=int(recording.episodes[number]), rows=rows, filler=kind == "filler"))
    return found


def _same_as_before(recording: Recording) -> Bool[ndarray, " rows"]:
    """Whether every number of a row equals that of the row before."""
    same = np.ones(len(recording.owner), dtype=bool)
    for item in recording.quantities:
        same[1:] &= (item.values[1:] == item.values[:-1]).all(axis=1)
    return same


def _kind(recording: Recording, start: int, first: int) -> str | None:
    """Whether the equal rows from `first` on are a filler, repeat a moving row, or are neither (a slow stop)."""
    sudden, jumped, fill = False, False, True
    for item in recording.quantities:
        own = item.values[start : first + 1].astype(np.float64)
        sizes = np.abs(np.diff(own, axis=0))
        fill = fill and bool((item.values[first] == item.values[first][0]).all())
        if len(sizes) < 2 or item is recording.actions:
            continue
        # against the steps just before: what comes to rest slows down to the resolution of its numbers
        usual = np.sqrt((sizes[-1 - RECENT : -1] ** 2).mean(axis=0))
        worth = sizes[-1] > RESOLVED * np.ptp(own, axis=0)
        sudden |= bool((worth & (sizes[-1] > SUDDEN * usual)).any())
        jumped |= bool((worth & (sizes[-1] > FAR * usual)).any())
    return "filler" if fill and jumped else "repeat" if sudden else None


def check_padding(found: list[Padding], recording: Recording) -> Iterator[DataFinding]:
    """Padding in more than a few episodes."""
    if len(found) < max(2, SOME * len(recording.lengths)):
        return
    rows = sum(one.rows for one in found)
    filler = sum(one.filler for one in found) * 2 > len(found)
    kind = "a filler" if filler else "copies of the last row"
    yield warning(
        "padding",
        f"{counted(len(found), 'episode')} of {len(recording.lengths)} end in {kind}: {rows} rows, "
        f"{share(rows / len(recording.owner))} of all; for example "
        f"{listed([f'{one.rows} rows in episode {one.episode}' for one in found], most=2)}.",
        effect="Padding is learned as if it were demonstrated: "
        + ("the policy learns states and actions that do not exist." if filler else "the policy learns to freeze."),
        remedy="Write the true length of each episode or a mask of valid rows"
        + ("." if filler else ", or cut the copies with --drop-idle end."),
        values={
            "episodes": [one.episode for one in found],
            "rows": [one.rows for one in found],
            "kind": "filler" if filler else "repeat",
        },
    )
