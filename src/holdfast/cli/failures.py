"""Failures of the machine (a full disk, no permission, no memory) as one sentence each; other errors are bugs."""

import errno
import os
import re
from concurrent.futures.process import BrokenProcessPool

BUG = (
    "This is a bug in Holdfast. Please report it in the project's issue tracker, with the command and the lines above."
)

_FULL = "Remove files, or choose a folder on another disk, and run the same command again."
_SAME = "Check the disk or the connection, and run the same command again."
_REMEDIES = {
    errno.ENOSPC: _FULL,
    errno.EDQUOT: _FULL,
    errno.EFBIG: "Choose a folder where larger files are allowed (see: ulimit -f).",
    errno.EROFS: "Choose a folder that can be written to.",
    errno.EACCES: "Choose another folder, or change the permissions.",
    errno.EPERM: "Choose another folder, or change the permissions.",
    errno.ENAMETOOLONG: "Choose a shorter name.",
    errno.ELOOP: "Symbolic links lead in a circle; remove one of them.",
    errno.ENOENT: "If it was moved, renamed or removed meanwhile, put it back and run the same command again.",
    errno.ENOTDIR: "Check the path: one of its folders is a file.",
    errno.EISDIR: "Give a file in place of the folder.",
    errno.ESTALE: _SAME,
    errno.EIO: _SAME,
    errno.EMFILE: "Allow more open files (ulimit -n), or work on fewer files at a time.",
    errno.ENFILE: "Close other programs, and run the same command again.",
    errno.EAGAIN: "Close other programs, or use fewer --workers and --threads.",
}
# how libraries in Rust and HDF5 name the error of the system in their messages
_NUMBER = re.compile(r"\(os error (\d+)\)|errno = (\d+)")
_ALLOCATION = re.compile(r"not enough memory|can't allocate|out of memory|unable to allocate", re.IGNORECASE)


def sentence_of(error: BaseException) -> str | None:
    """What the machine refused and the way out; `None` for every other error.

    >>> sentence_of(OSError(errno.EROFS, "Read-only file system", "/mnt/runs"))
    '/mnt/runs: read-only file system. Choose a folder that can be written to.'
    >>> sentence_of(KeyError("a"))
    """
    if isinstance(error, MemoryError | BrokenProcessPool) or _ALLOCATION.search(_text(error)):
        return f"the memory does not suffice ({_text(error) or 'no details'}). {_SMALLER}"
    if isinstance(error, RecursionError):
        return "a file or an option is nested too deeply to be read. Use a flatter one."
    if isinstance(error, RuntimeError) and _text(error).startswith("Symlink loop"):
        # how Python before 3.13 says ELOOP
        return f"{_text(error)}. {_REMEDIES[errno.ELOOP]}"
    if isinstance(error, UnicodeError):
        return f"a name or text is not valid Unicode ({_text(error)}). Rename the file or folder."
    if (number := _errno(error)) is not None:
        return _of_system(error, number)
    return f"{_text(error)}." if isinstance(error, OSError) else None


_SMALLER = "Use fewer or shorter episodes, a smaller model or batch, fewer processes, or a larger machine."


def _of_system(error: BaseException, number: int) -> str:
    known = os.strerror(number)
    names = [str(name) for name in (getattr(error, "filename", None), getattr(error, "filename2", None)) if name]
    # libraries that name no path may still describe the place in their own words
    what = f"{' and '.join(names)}: {known[:1].lower()}{known[1:]}" if names else _text(error).removesuffix(".")
    return f"{what}. {_REMEDIES.get(number, _SAME)}"


def _errno(error: BaseException) -> int | None:
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno
    found = _NUMBER.search(_text(error))
    return int(found[1] or found[2]) if found else None


def _text(error: BaseException) -> str:
    return " ".join(str(error).split())
