"""Symbolic and hard links: a folder from someone else must not lead a writer to what lies outside it."""

import os
import stat
from collections.abc import Iterable
from pathlib import Path

from ..errors import OutputError


def resolved(target: Path) -> Path:
    """The place itself, absolute and without symbolic links.

    Raises:
        OutputError: Its symbolic links lead in a circle.
    """
    try:
        return target.resolve()
    except (RuntimeError, OSError) as error:
        raise OutputError(
            f"{target} cannot be followed ({error}). Remove the link, or choose another place."
        ) from error


def followed(path: Path) -> Path:
    """The path, resolved if it holds `..`: `missing/../run` can be made, but is not found afterwards.

    Raises:
        OutputError: Its symbolic links lead in a circle.
    """
    return resolved(path) if ".." in path.parts else path


def check_kind(place: Path) -> None:
    """Refuse the root, beside which nothing lies, and what is no file or folder: an exchange would remove it.

    The system would exchange a device as well: an administrator's `--out /dev/null` would remove the machine's own.

    Raises:
        OutputError: The place is the root, a pipe, a socket or a device.
    """
    if place == place.parent:
        raise OutputError(f"{place} is the root of the file system. Choose a folder in it.")
    if place.exists() and not place.is_file() and not place.is_dir():
        raise OutputError(f"{place} is a pipe, a socket or a device. Choose a file or folder to write to.")


def open_lock(path: Path, *, create: bool) -> int:
    """Open the file of a lock to read and write; it must be a regular file with no other name.

    Raises:
        OSError: The system refuses, or there is no such file.
        OutputError: It is a link, or no regular file.
    """
    flags = os.O_RDWR | os.O_CLOEXEC | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    if path.is_symlink():
        raise _no_lock(path)
    handle = os.open(path, flags | (os.O_CREAT if create else 0), 0o644)
    about = os.fstat(handle)
    if not stat.S_ISREG(about.st_mode) or about.st_nlink > 1:
        os.close(handle)
        raise _no_lock(path)
    return handle


def _no_lock(path: Path) -> OutputError:
    return OutputError(
        f"{path} is a link or no regular file, so it cannot be the lock that Holdfast makes there. Remove it if you do "
        "not need it, then start again."
    )


def within(folder: Path, relative: str) -> Path:
    """A path below a folder, whose missing parents are made.

    Raises:
        OutputError: A parent below the folder is a symbolic link, which may lead elsewhere.
    """
    path = folder / relative
    refuse_links(folder, (parent.as_posix() for parent in list(Path(relative).parents)[:-1]))
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def refuse_links(folder: Path, parts: Iterable[str]) -> None:
    """Refuse a folder of which one of these parts is a symbolic link; the folder itself may be one.

    Raises:
        OutputError: A part is a symbolic link.
    """
    for part in parts:
        if (folder / part).is_symlink():
            raise OutputError(
                f"{folder / part} is a symbolic link, through which files outside {folder} would be written. Replace "
                "it by what it points to, or remove it."
            )
