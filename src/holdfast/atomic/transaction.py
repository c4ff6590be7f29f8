"""A file or folder that is prepared beside its place, then exchanged with what was there.

    with replacing(target, ours=…) as new:      lock, leftovers of killed processes, room beside
        … write `new` …                         the target stays as it was
                                                flush, carry over what is not ours, exchange

At any moment, also after a kill, the target holds the old content or the new. Where the file system cannot exchange two
paths, there is an instant with the old content beside; the next start, and every reader, puts it back (`put_back`).
"""

import os
import shutil
import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

from ..errors import HoldfastError, OutputError
from .carrying import carry_over, carry_rest, leaves
from .links import check_kind, resolved, within
from .locks import locked
from .names import home_of, is_leftover, left_beside, new_name, unfinished_files
from .swap import put, remove

Ours: TypeAlias = Callable[[str], bool]
"""Whether a path below a folder, with slashes, belongs to what is replaced. Anything else in the folder is kept."""


def everything(relative: str) -> bool:
    """All of a folder is replaced."""
    return True


def put_back(target: Path) -> None:
    """Return what a killed process has moved aside, the target or a folder above it, if nothing took its place."""
    if os.path.lexists(target):
        return  # as nearly always
    for place in (target.absolute(), *target.absolute().parents):
        if os.path.lexists(place):
            return
        if _aside(place):
            with locked(place, purpose="putting back"):
                _put_back(place)
            return


def _put_back(target: Path) -> None:
    if not os.path.lexists(target) and (aside := _aside(target)):
        os.replace(aside[0], target)


def _aside(target: Path) -> list[Path]:
    """What killed processes have moved aside; a link is not what they moved, because targets are without links."""
    return [path for path in left_beside(target, "old") if not path.is_symlink()]


@contextmanager
def claimed(target: Path, *, ours: Ours = everything, purpose: str = "writing") -> Generator[Path]:
    """Lock a place and clear away what killed processes left beside it.

    Yields:
        The place, absolute and without symbolic links.

    Raises:
        OutputError: Another process is writing the place, or it is the root, a pipe, a socket or a device.
    """
    place = resolved(target)
    check_kind(place)
    with locked(place, purpose=purpose):
        _put_back(place)
        for left in [*left_beside(place, "old"), *left_beside(place, "partial")]:
            _cleared(left, place, ours)
        clear_unfinished(place)
        yield place


def clear_unfinished(folder: Path) -> None:
    """Remove the files directly in a folder that killed processes were writing; the folder's lock must be held."""
    if folder.is_dir():
        for file in unfinished_files(folder):
            file.unlink(missing_ok=True)


@contextmanager
def replacing(
    target: Path, *, ours: Ours = everything, purpose: str = "writing", one_by_one: bool = False
) -> Generator[Path]:
    """A path of the same name beside the target, to write a file or folder to; it replaces the target at the end.

    Args:
        target: File or folder to make or replace.
        ours: Files of the old folder that go with it; all others are in the new folder as well, as the same files.
        purpose: Words for the message to other processes: "has been <purpose> it since …".
        one_by_one: Whether the files of a folder that cannot be renamed may come one after another, because the old
            ones are worth nothing.

    Raises:
        OutputError: Another process is writing the target, or the system refuses.
    """
    with claimed(target, ours=ours, purpose=purpose) as place, _room(place, ours) as room:
        finished = room / place.name
        yield finished
        flush(room)
        if not _may_move(place):
            _fill(finished, place, anyway=one_by_one)
        else:
            _exchange(finished, place, ours)


@contextmanager
def updating(target: Path, *, ours: Ours, purpose: str = "writing") -> Generator[Path]:
    """A folder beside the target, to write files to; at the end they are in the target, beside its other files.

    A folder in which all is ours is exchanged as a whole. In any other folder, one by one the new files replace those
    of the same name, `result.json` last, so that a kill in between can leave old files among new ones, each whole.
    """
    with claimed(target, ours=ours, purpose=purpose) as place, _room(place, ours) as room:
        finished = room / place.name
        finished.mkdir()
        yield finished
        flush(room)
        old = list(leaves(place)) if place.is_dir() else []
        if _may_move(place) and all(map(ours, old)):
            # what the new files do not replace stays, as in a folder that holds other files too
            _exchange(finished, place, set(leaves(finished)).__contains__)
        else:
            _replace_each(finished, place)


@contextmanager
def _room(target: Path, ours: Ours) -> Generator[Path]:
    """A folder beside the target; it is removed at the end, with what was exchanged into it."""
    room = new_name(target, "partial")
    try:
        room.mkdir()
        yield room
    except OSError as error:
        _clear(room)
        if isinstance(error, HoldfastError):
            raise
        raise OutputError(
            f"{target} could not be written: {error}. Choose another place, or make room there."
        ) from error
    except BaseException:
        _clear(room)
        raise
    _cleared(room, target, ours)


def _exchange(finished: Path, target: Path, ours: Ours) -> None:
    if target.is_dir():
        carry_over(target, finished, ours)
    put(finished, target, aside=new_name(target, "old"))


def _may_move(target: Path) -> bool:
    """Whether the target can be renamed; not a mount point, nor the current folder or one above it."""
    if not target.is_dir():
        return True
    current = Path.cwd()
    return home_of(target) != target and current != target and target not in current.parents


def check_movable(target: Path) -> None:
    """Refuse a folder that cannot be replaced as a whole, before the work that makes the new one.

    Raises:
        OutputError: It holds something, and cannot be renamed.
    """
    place = target.resolve()
    if not _may_move(place) and any(not is_leftover(entry.name) for entry in place.iterdir()):
        raise OutputError(
            f"{target} cannot be replaced, because it is the current folder, a mount point, or in a folder that cannot "
            "be written to. Change the current folder, choose another place, or empty it yourself."
        )


def _fill(finished: Path, target: Path, *, anyway: bool) -> None:
    """Move new content into a folder that cannot be renamed."""
    if not finished.is_dir():
        raise OutputError(f"{target} is a folder that cannot be replaced by a file. Give a file in it instead.")
    if not anyway:
        check_movable(target)
    # weights without a training state look like a run whose state was deleted, so they come last
    for relative in sorted(leaves(finished), key=lambda path: (path == "model.safetensors", "/" in path, path)):
        os.replace(finished / relative, within(target, relative))


def _replace_each(finished: Path, target: Path) -> None:
    for relative in sorted(leaves(finished), key=lambda path: (path == "result.json", path)):
        os.replace(finished / relative, within(target, relative))


def _cleared(left: Path, target: Path, ours: Ours) -> None:
    """Remove a room or what was moved aside; what is not ours and came to it lately returns to the target."""
    inside = left / target.name if left.suffix == ".partial" else left
    # a link was put there by someone else, and what it points to is not ours to move
    if not left.is_symlink() and not inside.is_symlink() and inside.is_dir() and target.is_dir():
        carry_rest(inside, target, ours)
    remove(left)


def _clear(room: Path) -> None:
    """Remove unfinished output; after Ctrl-C, zarr's threads continue to write for a moment and recreate folders."""
    stopped = isinstance(sys.exc_info()[1], KeyboardInterrupt)
    for pause in (0.1, 0.2, 0.4) if stopped else ():
        shutil.rmtree(room, ignore_errors=True)
        time.sleep(pause)
    shutil.rmtree(room, ignore_errors=True)


def flush(room: Path) -> None:
    """Flush everything to disk before renaming: a power failure must not leave a name without content."""
    for path in [room, *room.rglob("*")]:
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
