"""A folder of this user in which results of long computations are kept, and its limits.

HOLDFAST_CACHE = a folder      kept there
HOLDFAST_CACHE = off           not kept
not set                        in $XDG_CACHE_HOME/holdfast, by default ~/.cache/holdfast
"""

import os
import time
from contextlib import suppress
from pathlib import Path

from .atomic import write_atomically

VARIABLE = "HOLDFAST_CACHE"
OFF = frozenset({"off", "0", "no", "false"})

_ABANDONED = 3600.0
"""Age from which unfinished files are those of a process that was killed [s]."""


def cache_folder(kind: str) -> Path | None:
    """Folder in which results of a kind are kept; `None` if they are not."""
    chosen, general = os.environ.get(VARIABLE, ""), os.environ.get("XDG_CACHE_HOME", "")
    if chosen.lower() in OFF:
        return None
    if chosen:
        return Path(chosen) / kind
    # the standard says that a relative path is to be ignored
    if os.path.isabs(general):
        return Path(general) / "holdfast" / kind
    home = os.path.expanduser("~")
    return Path(home, ".cache", "holdfast", kind) if os.path.isabs(home) else None


def keep(file: Path, content: bytes, *, most: int) -> None:
    """Write a file, and remove those of its folder that were not used for the longest time until a limit is kept.

    Args:
        file: Where it is kept.
        content: Bytes of the file.
        most: Limit of all files of the folder together [bytes].

    Raises:
        OSError: It cannot be written.
    """
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    write_atomically(file, content)
    _make_room(file.parent, most)


def _make_room(folder: Path, most: int) -> None:
    """Remove unfinished files, then those that were not used for the longest time, until the limit is kept."""
    for file in folder.glob(".*.partial"):
        # another process may remove it, or finish it, at the same time
        with suppress(FileNotFoundError):
            if time.time() - file.stat().st_mtime > _ABANDONED:
                file.unlink()
    total = 0
    for _, size, file in sorted(_sizes(folder), reverse=True):
        total += size
        if total > most:
            file.unlink(missing_ok=True)


def _sizes(folder: Path) -> list[tuple[int, int, Path]]:
    """Time of the last use, size and path of each kept file."""
    found = list[tuple[int, int, Path]]()
    for file in folder.glob("*.safetensors"):
        with suppress(FileNotFoundError):
            about = file.lstat()
            found.append((about.st_mtime_ns, about.st_size, file))
    return found
