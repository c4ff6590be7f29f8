"""One writer at a time: a file beside a place says which process is writing it.

The kernel's lock on that file (`flock`) decides, and it ends with its process. Where the file system has none, the
content decides: the process has ended if no process of that number and start time runs on this boot of the machine.
"""

import errno
import json
import os
import socket
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

from ..errors import OutputError
from .links import open_lock, resolved
from .names import lock_name

try:
    import fcntl
except ImportError:  # no POSIX system
    fcntl = None

_held: dict[Path, tuple[int, int]] = {}
"""Locks of this process: place → its thread and how many times it holds the lock."""

_PROCESSES = 2**31
"""Above all numbers of processes."""

_UNSUPPORTED = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL}


@contextmanager
def locked(target: Path, *, purpose: str = "writing") -> Generator[None]:
    """Hold the lock of a place while it is written; a thread that already holds it may hold it again.

    Args:
        target: File or folder that is written. It need not exist; its parents are made, and removed again if they stay
            empty.
        purpose: Words for the message to others: "has been <purpose> it since …".

    Raises:
        OutputError: Another process, or another thread, holds the lock, or it cannot be made.
    """
    place = target.absolute()
    thread, count = _held.get(place, (threading.get_ident(), 0))
    if count and thread == threading.get_ident():
        _held[place] = thread, count + 1
        try:
            yield
        finally:
            _held[place] = thread, count
        return
    with _parents(place), _taken(place, purpose):
        _held[place] = threading.get_ident(), 1
        try:
            yield
        finally:
            del _held[place]


def refuse_others(*targets: Path) -> None:
    """Refuse places that others are writing, without locking them.

    Raises:
        OutputError: Another process holds the lock of one of them.
    """
    for target in targets:
        place = resolved(target)
        if place not in _held and (who := holder(lock_name(place))):
            raise OutputError(f"{target} is in use: {who}. Wait for its end, or choose another place.")


def holder(lock: Path) -> str | None:
    """Who holds a lock, given by its file, in words; `None` if nobody does.

    Raises:
        OutputError: The file is a link, or no regular file.
    """
    try:
        handle = open_lock(lock, create=False)
    except OutputError:
        raise
    except OSError:
        return None
    try:
        return None if _acquired(handle) else _words(_content(handle))
    finally:
        os.close(handle)


@contextmanager
def _parents(target: Path) -> Generator[None]:
    """The missing parents of a place; those that stay empty are removed again."""
    missing = [parent for parent in target.parents if not parent.exists()]
    try:
        _make(target.parent, target)
        yield
    finally:
        for parent in missing:
            try:
                parent.rmdir()
            except OSError:
                break  # in use, or never made


def check_parent(target: Path) -> None:
    """Refuse a place in which nothing can be made.

    Raises:
        OutputError: The nearest folder above is a file, or cannot be written to.
    """
    parent = next(place for place in target.absolute().parents if place.exists())
    if not parent.is_dir():
        raise OutputError(f"{target} cannot be created, because {parent} is a file. Choose another place.")
    if not os.access(parent, os.W_OK | os.X_OK):
        raise OutputError(f"{target} cannot be created: no permission to write to {parent}. Choose another place.")


def _make(folder: Path, target: Path) -> None:
    if folder.is_dir():
        return
    check_parent(target)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{target} cannot be created ({error}). Choose another place.") from error


@contextmanager
def _taken(target: Path, purpose: str) -> Generator[None]:
    path = lock_name(target)
    handle = _opened(path, target)
    try:
        _describe(handle, purpose)
        yield
    finally:
        # before the lock is released: afterwards the file may be another's
        path.unlink(missing_ok=True)
        os.close(handle)


def _opened(path: Path, target: Path) -> int:
    """The lock's file, open and locked."""
    while True:
        try:
            handle = open_lock(path, create=True)
        except OutputError:
            raise
        except OSError as error:
            raise OutputError(f"{target} cannot be written ({error}). Choose another place.") from error
        if not _acquired(handle):
            who = _content(handle)
            os.close(handle)
            ended = f" If it has ended there, remove {path}." if _is_elsewhere(who) else ""
            raise OutputError(f"{target} is in use: {_words(who)}. Wait for its end, or choose another place.{ended}")
        if _is_at(handle, path):
            return handle
        os.close(handle)  # removed by its last holder between the two calls


def _acquired(handle: int) -> bool:
    """Lock an open file; false if a running process holds it."""
    if fcntl is not None:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError as error:
            if error.errno not in _UNSUPPORTED:
                raise
        else:
            return True
    return not _is_running(_content(handle))


def _is_at(handle: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), os.lstat(path))
    except FileNotFoundError:
        return False


def _describe(handle: int, purpose: str) -> None:
    who = {
        "process": os.getpid(),
        "machine": socket.gethostname(),
        "since": time.strftime("%Y-%m-%d %H:%M:%S"),
        "purpose": purpose,
        "boot": _boot(),
        "started": _started(os.getpid()),
    }
    os.ftruncate(handle, 0)
    os.pwrite(handle, json.dumps(who).encode(), 0)


def _content(handle: int) -> dict[str, Any]:
    try:
        content = json.loads(os.pread(handle, 4096, 0))
    # its process was killed before it wrote, or somebody else has written
    except (ValueError, RecursionError):
        return {}
    return cast("dict[str, Any]", content) if isinstance(content, dict) else {}


def _words(who: dict[str, Any]) -> str:
    if not who:
        return "by another process"
    process, machine = who.get("process"), who.get("machine")
    return f"process {process} on {machine} has been {who.get('purpose')} it since {who.get('since')}"


def _is_running(who: dict[str, Any]) -> bool:
    """Whether the process that a lock describes still runs; on another machine this cannot be known, so it does."""
    if not who:
        return False
    if _is_elsewhere(who):
        return True
    process = who.get("process")
    if who.get("boot") != _boot() or not isinstance(process, int) or not 0 < process < _PROCESSES:
        return False
    return _started(process) == who.get("started") is not None


def _is_elsewhere(who: dict[str, Any]) -> bool:
    return who.get("machine", socket.gethostname()) != socket.gethostname()


def _boot() -> str:
    """Identity of this start of the machine; empty where the system does not tell."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def _started(process: int) -> str | None:
    """Start time of a process, which tells it from a later one of the same number; `None` if it does not run."""
    try:
        # the second field is the command in parentheses, which can hold anything
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        pass
    try:
        os.kill(process, 0)
    except PermissionError:
        return ""
    except OSError:
        return None
    return ""
