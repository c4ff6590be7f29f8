"""Names of what is put beside a place while it is written; by them a later start recognises what a killed one left.

.demos.1f3a9c02.partial         folder with a new `demos`, not yet in place
.demos.1f3a9c02.old             the old `demos`, while two renames replace it
.demos.holdfast-lock            who is writing `demos`
.recipe.json.4711.partial       a file that process 4711 is writing
"""

import hashlib
import os
import re
import secrets
from pathlib import Path
from typing import Literal

LONGEST = 200
"""Longest name, in bytes, that is used as it is: file systems end at 255, and the parts around it need their share."""

LEFTOVER = re.compile(r"\..+\.([0-9a-f]{8}\.(partial|old)|\d+\.partial|holdfast-lock)", re.DOTALL)
_FILE = re.compile(r"\..+\.(\d+)\.partial", re.DOTALL)


def home_of(target: Path) -> Path:
    """Folder for everything that is put beside a place.

    It is the parent; a mount point, and a folder whose parent cannot be written to, are their own.
    """
    if target.is_dir() and (os.path.ismount(target) or not os.access(target.parent, os.W_OK | os.X_OK)):
        return target
    return target.parent


def new_name(target: Path, kind: Literal["partial", "old"]) -> Path:
    """A name beside the target that nothing has yet."""
    return home_of(target) / f".{_stem(target)}.{secrets.token_hex(4)}.{kind}"


def lock_name(target: Path) -> Path:
    """Name of the target's lock."""
    return home_of(target) / f".{_stem(target)}.holdfast-lock"


def left_beside(target: Path, kind: Literal["partial", "old"]) -> list[Path]:
    """What transactions on this target have put beside it, in the order of names."""
    pattern = re.compile(rf"\.{re.escape(_stem(target))}\.[0-9a-f]{{8}}\.{kind}", re.DOTALL)
    home = home_of(target)
    try:
        return sorted(home / name for name in os.listdir(home) if pattern.fullmatch(name))
    except OSError:  # no folder, or one that cannot be listed, in which nothing can have been put
        return []


def is_leftover(relative: str) -> bool:
    """Whether a path below a folder is, or lies in, something that this package puts beside a place.

    >>> [is_leftover(path) for path in (".recipe.json.12.partial", "train_state/.state.7.partial", "notes.partial")]
    [True, True, False]
    """
    return any(LEFTOVER.fullmatch(part) for part in relative.split("/"))


def unfinished_files(folder: Path) -> list[Path]:
    """Files directly in a folder that processes which no longer run were writing."""
    found = [(Path(entry.path), _FILE.fullmatch(entry.name)) for entry in os.scandir(folder)]
    return [path for path, match in found if match and not _runs(int(match[1]))]


def _runs(process: int) -> bool:
    """Whether another process with this number runs."""
    if process == os.getpid():
        return False
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return not _is_zombie(process)


def _is_zombie(process: int) -> bool:
    """Whether a process has ended and only its parent has not asked for its exit status yet."""
    try:
        # the name, in parentheses, may hold anything; the state follows it
        return Path(f"/proc/{process}/stat").read_text(errors="replace").rpartition(")")[2].split()[0] == "Z"
    except (OSError, IndexError):
        return False


def _stem(target: Path) -> str:
    name = target.name
    if len(os.fsencode(name)) <= LONGEST:
        return name
    return f"{name[:40]}-{hashlib.sha256(os.fsencode(name)).hexdigest()[:12]}"
