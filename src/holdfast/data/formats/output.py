"""Atomic output: a data set appears whole or not at all, and nothing but a data set is ever replaced."""

import os
import re
import secrets
import shutil
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from ...errors import HoldfastError, OutputError
from .registry import FORMATS, recognised

# other files of a data set from the Hub: its card and traces of the download
HUB = re.compile(r"README\.md|\.gitattributes|\.cache|\.huggingface")


def check_output(path: Path | str, *, overwrite: bool) -> None:
    """Refuse a path that `atomic_output` would refuse, before the work that fills it.

    Raises:
        OutputError: The path exists and `overwrite` is not set, it is no data set of a known format or holds other
            files too, or it cannot be written to.
    """
    target = Path(path)
    _check_parent(target)
    if not os.path.lexists(target):
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


def _others(folder: Path, entries: re.Pattern[str]) -> list[str]:
    """Entries of a folder that do not belong to its data set."""
    names = sorted(entry.name for entry in folder.iterdir())
    return [name for name in names if not entries.fullmatch(name) and not HUB.fullmatch(name)]


def _check_parent(target: Path) -> None:
    parent = next(place for place in target.absolute().parents if place.exists())
    if not parent.is_dir():
        raise OutputError(f"{target} cannot be created, because {parent} is a file. Choose another place.")
    if not os.access(parent, os.W_OK | os.X_OK):
        raise OutputError(f"{target} cannot be created: no permission to write to {parent}. Choose another place.")


@contextmanager
def atomic_output(path: Path | str, *, overwrite: bool) -> Generator[Path]:
    """A temporary path with the same name, to write a file or folder to; it is moved to the given path at the end.

    At any moment the path holds the old data set or the new one, or, for an instant while a folder is replaced,
    nothing; the old one is then in the same folder under a name that ends in `.old`. A failure leaves the old one as it
    was.
    """
    check_output(path, overwrite=overwrite)
    target = Path(path).resolve()
    beside = f".{target.name}.{secrets.token_hex(4)}"
    room = target.with_name(f"{beside}.partial")
    try:
        room.mkdir(parents=True)
        yield room / target.name
        _flush(room)
        _move(room / target.name, target, aside=target.with_name(f"{beside}.old"))
    except OSError as error:
        if isinstance(error, HoldfastError):
            raise
        raise OutputError(
            f"{target} could not be written: {error}. Choose another place, or make room there."
        ) from error
    finally:
        _clear(room)


def _clear(room: Path) -> None:
    """Remove unfinished output; after Ctrl-C, zarr's threads continue to write for a moment and recreate folders."""
    stopped = isinstance(sys.exc_info()[1], KeyboardInterrupt)
    for pause in (0.1, 0.2, 0.4) if stopped else ():
        shutil.rmtree(room, ignore_errors=True)
        time.sleep(pause)
    shutil.rmtree(room, ignore_errors=True)


def _flush(room: Path) -> None:
    """Flush everything to disk before renaming: a power failure must not leave a name without content."""
    for path in [room, *room.rglob("*")]:
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _move(finished: Path, target: Path, *, aside: Path) -> None:
    """Move the finished data set into place; an old folder is moved aside first, as a full one cannot be replaced."""
    if not target.exists() or (target.is_file() and finished.is_file()):
        os.replace(finished, target)
        return
    os.replace(target, aside)
    try:
        os.replace(finished, target)
    except OSError:
        os.replace(aside, target)
        raise
    if aside.is_dir():
        shutil.rmtree(aside)
    else:
        aside.unlink()
