"""Two paths exchanged in one step, where the file system can, and in two renames elsewhere."""

import ctypes
import errno
import os
import shutil
from pathlib import Path
from typing import Any

_HERE, _EXCHANGE = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
_CANNOT = {errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP, errno.ENOTTY}


def put(finished: Path, target: Path, *, aside: Path) -> None:
    """Move something finished to its place; afterwards what was there is at `finished`, or gone.

    A kill between the two renames, where the system cannot exchange paths, leaves nothing at the target and the old
    content at `aside`, from where `put_back` returns it.
    """
    if not os.path.lexists(target) or _replaceable(finished, target):
        os.replace(finished, target)
    elif not exchanged(finished, target):
        _put_in_two_steps(finished, target, aside)


def exchanged(one: Path, other: Path) -> bool:
    """Exchange two existing paths in one step; false, with nothing changed, where the system cannot."""
    rename: Any = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if rename is None:
        return False
    if rename(_HERE, os.fsencode(one), _HERE, os.fsencode(other), _EXCHANGE) == 0:
        return True
    if (code := ctypes.get_errno()) in _CANNOT:
        return False
    raise OSError(code, os.strerror(code), str(one), None, str(other))


def remove(path: Path) -> None:
    """Remove a file or a folder with everything in it."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _replaceable(finished: Path, target: Path) -> bool:
    """Whether one rename replaces the target: a file by a file, an empty folder by a folder."""
    if finished.is_dir():
        return target.is_dir() and not any(target.iterdir())
    return not target.is_dir()


def _put_in_two_steps(finished: Path, target: Path, aside: Path) -> None:
    os.replace(target, aside)
    try:
        os.replace(finished, target)
    except OSError:
        os.replace(aside, target)
        raise
    os.replace(aside, finished)
