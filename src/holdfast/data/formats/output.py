"""Atomic output: a data set appears whole or not at all, and nothing but a data set is ever replaced."""

import os
import re
from collections.abc import Generator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from ...atomic import check_movable, check_parent, claimed, leaves, replacing
from ...errors import OutputError
from .registry import FORMATS, recognised

CARD = re.compile(r"README\.md|\.gitattributes")
# other files of a data set from the Hub: its card and traces of the download
HUB = re.compile(r"(README\.md|\.gitattributes)$|(\.cache|\.huggingface)(/|$)")


def check_output(path: Path | str, *, overwrite: bool) -> None:
    """Refuse a path that `atomic_output` would refuse, before the work that fills it.

    Raises:
        OutputError: The path exists, is no empty folder and `overwrite` is not set, it is no data set of a known format
            or holds other files too, or it cannot be written to.
    """
    target = Path(path)
    check_parent(target)
    if not os.path.lexists(target) or (target.is_dir() and not any(leaves(target))):
        return
    if not overwrite:
        raise OutputError(f"{target} exists already. Choose another place, or replace it with `--overwrite`.")
    # Replacing deletes what was there, so it must be a data set: a mistyped path must not cost a home folder.
    found = recognised(target)
    if found is None or not found.is_complete(target):
        raise OutputError(
            f"{target} is not a data set of a known format ({', '.join(FORMATS)}), so `--overwrite` does not replace "
            "it. Choose another place, or remove it yourself."
        )
    if target.is_dir() and found.entries and (others := _others(target, found.entries)):
        raise OutputError(
            f"{target} holds {', '.join(others[:4])}, which is not part of a {found.name} data set, so `--overwrite` "
            "does not replace it. Choose another place, or move that elsewhere."
        )
    check_movable(target)


def _others(folder: Path, entries: re.Pattern[str]) -> list[str]:
    """Files in a folder, at any depth, that do not belong to its data set."""
    files = (name for name in leaves(folder) if (folder / name).is_symlink() or not (folder / name).is_dir())
    return [name for name in files if not entries.fullmatch(name) and not HUB.match(name)]


@contextmanager
def atomic_output(path: Path | str, *, overwrite: bool) -> Generator[Path]:
    """A temporary path with the same name, to write a file or folder to; it is moved to the given path at the end.

    At any moment the path holds the old data set or the new one (see `atomic.replacing`). A failure leaves the old one
    as it was, and so does a second process that writes to the same path. A card from the Hub (`README.md`) stays. Only
    an empty folder that cannot be renamed, such as the current one, is filled file by file.
    """
    with claimed_output(path):
        check_output(path, overwrite=overwrite)
        with replacing(Path(path), ours=lambda relative: not CARD.fullmatch(relative)) as fresh:
            yield fresh


def claimed_output(path: Path | str) -> AbstractContextManager[Path]:
    """Keep other processes from writing a data set to this path, from before the work that makes it."""
    return claimed(Path(path), ours=lambda relative: not CARD.fullmatch(relative), purpose="writing a data set to")
