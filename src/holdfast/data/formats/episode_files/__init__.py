"""Folders with one `.npz` or one `.csv` file per episode, in the natural order of their names.

    FOLDER/
      episode_1.npz, episode_2.npz, …, episode_10.npz    arrays by name, as in npz files, without ends of episodes
      2026-01-05_10-22.csv, 2026-01-05_10-31.csv, …      tables, as in CSV files

Names are alike up to their numbers. Each file is one episode: one whose flags, numbers of episodes or times show
several is refused. Arrays `[T + 1, ·]` hold the observation after the last action, single values (`success`, `dt`,
`instruction`) belong to the episode. Episodes are chosen before anything is read.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ....errors import DataError
from ....types import Episodes
from ... import hdf5
from ...differing import reading_alone
from ...selection import Selection
from .. import text_table
from ..format import Format, names_in, whole
from ..hdf5_groups.places import missing_files
from ..named_arrays import has_usual_names
from .joined import keyed_of
from .parts import NPZ, TABLE, Kind, Part, npz_part, stem_of, table_part

__all__ = ["FORMAT", "read_selected"]

KINDS = {(".npz",): NPZ, text_table.SUFFIXES: TABLE}
READERS = {NPZ: npz_part, TABLE: table_part}
SHOWN = 6


def read_selected(path: Path, selection: Selection) -> tuple[Episodes, Selection]:
    """Read the chosen files, and in them the chosen keys as state and action.

    Returns:
        The episodes, and the part of the selection that remains to be applied.

    Raises:
        DataError: There are files of both kinds, or a file is broken, empty, or holds several episodes.
    """
    found = files_in(path)
    if len(found) > 1:
        first, second = found.values()
        raise DataError(
            f"{path} holds {len(first)} files such as {first[0].name} and {len(second)} such as {second[0].name}. "
            "Expected one file per episode, all of one kind: move the others into a folder of their own."
        )
    ((kind, files),) = found.items()
    numbers = selection.indices(len(files))
    parts = _parts(kind, [files[number] for number in numbers], numbers)
    keyed = keyed_of(parts, path, selection, kind)
    keyed = replace(keyed, notes=[_order(files), *missing_files(files), *keyed.notes, *_others(path, files)])
    return keyed.episodes(kind.chosen(selection, parts)), keyed.left_of(selection)


def files_in(path: Path) -> dict[Kind, list[Path]]:
    """The files that are episodes, by kind: those whose names differ from another one's in numbers alone.

    Where no two names are alike, all files of a kind are, if the first of them names actions as usual.
    """
    every = sorted((file for file in path.iterdir() if file.is_file()), key=lambda file: hdf5.natural(file.name))
    found = dict[Kind, list[Path]]()
    for suffixes, kind in KINDS.items():
        files = [file for file in every if file.suffix.lower() in suffixes]
        counts = Counter(stem_of(file) for file in files)
        alike = [file for file in files if counts[stem_of(file)] > 1]
        if alike or (len(files) > 1 and _names_actions(files[0])):
            found[kind] = alike or files
    return found


def _names_actions(file: Path) -> bool:
    if file.suffix.lower() == ".npz":
        return has_usual_names([name.removesuffix(".npy") for name in names_in(file)])
    try:
        return bool(text_table.actions_in(list(text_table.read_columns(file).numbers)))
    except DataError:
        return False


def _parts(kind: Kind, files: Sequence[Path], numbers: Sequence[int]) -> list[Part]:
    """The content of each file; where some cannot be read, all of these are named.

    Raises:
        DataError: A file cannot be read; the message tells how to read the others.
    """
    found, failed = list[Part](), dict[int, DataError]()
    for number, file in zip(numbers, files, strict=True):
        try:
            found.append(READERS[kind](file, number))
        except DataError as error:
            failed[number] = error
    if not failed:
        return found
    first, reason = next(iter(failed.items()))
    names = dict(zip(numbers, (file.name for file in files), strict=True))
    more = [f"{names[number]} (episode {number})" for number in list(failed)[1 : SHOWN + 1]]
    also = f" Nor can these be read: {', '.join(more)}{', …' if len(failed) > SHOWN + 1 else ''}." if more else ""
    rest = sorted({*numbers} - failed.keys())
    way_out = f" {reading_alone(rest)}." if rest else ""
    raise DataError(f"{reason} It is episode {first} of the folder.{also}{way_out}") from reason


def _order(files: Sequence[Path]) -> str:
    names = [file.name for file in files]
    listed = names if len(names) <= SHOWN else [*names[:3], "…", names[-1]]
    return f"{len(names)} files are read as one episode each, in this order: {', '.join(listed)}."


def _others(path: Path, files: Sequence[Path]) -> list[str]:
    """A sentence on the other files in the folder."""
    names = sorted(entry.name for entry in path.iterdir() if entry not in files and not entry.name.startswith("."))
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return [f"also in the folder, and not read: {', '.join(names[:SHOWN])}{more}."] if names else []


FORMAT = Format(
    name="episode files",
    example="a folder of .npz or .csv files with an episode each",
    recognises=lambda path: path.is_dir() and bool(files_in(path)),
    read=whole(read_selected),
    write=None,
    entries=re.compile(r"[^/]+\.(npz|csv|tsv)", re.IGNORECASE),
    # nothing but the names tells that such files are a data set
    is_complete=lambda path: False,
    read_selected=read_selected,
)
