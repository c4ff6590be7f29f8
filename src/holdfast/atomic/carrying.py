"""Files in a replaced folder that belong to someone else: they are in the new folder too, as the same files."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from ..errors import OutputError
from .links import within
from .locks import holder
from .names import is_leftover


def leaves(folder: Path) -> Iterator[str]:
    """Paths below a folder, with slashes: files, symbolic links and empty folders, without leftovers."""
    for place, folders, files in os.walk(folder):
        here = Path(place).relative_to(folder)
        links = [name for name in folders if (Path(place) / name).is_symlink()]
        found = [(here / name).as_posix() for name in [*files, *links]]
        if not files and not folders and place != str(folder):
            found.append(here.as_posix())
        yield from (relative for relative in sorted(found) if not is_leftover(relative))


def carry_over(old: Path, new: Path, ours: Callable[[str], bool]) -> None:
    """Put what is not ours in the old folder into the new one as well.

    Raises:
        OutputError: Another process is writing in the old folder, or the new one is a file, which can hold nothing.
    """
    _refuse_writers(old)
    others = [relative for relative in leaves(old) if not ours(relative)]
    if new.is_dir():
        shutil.copymode(old, new)
    elif others:
        raise OutputError(f"{old} holds {others[0]}, so a file does not replace it. Move that elsewhere.")
    for relative in others:
        if not os.path.lexists(new / relative):
            _share(old / relative, new / relative)


def carry_rest(old: Path, new: Path, ours: Callable[[str], bool]) -> None:
    """Move to the new folder what is not ours and came to the old one, or changed there, after `carry_over`.

    Raises:
        OutputError: It would come to lie behind a symbolic link in the new folder.
    """
    for relative in list(leaves(old)):
        if not ours(relative) and _is_later(old / relative, new / relative):
            os.replace(old / relative, within(new, relative))


def _share(old: Path, new: Path) -> None:
    """One file under two names; a copy where the file system has no hard links."""
    new.parent.mkdir(parents=True, exist_ok=True)
    if old.is_dir() and not old.is_symlink():
        new.mkdir()
        return
    try:
        os.link(old, new, follow_symlinks=False)
    except OSError:
        shutil.copy2(old, new, follow_symlinks=False)


def _is_later(one: Path, other: Path) -> bool:
    if not os.path.lexists(other):
        return True
    return one.is_file() and os.lstat(one).st_mtime_ns > os.lstat(other).st_mtime_ns


def _refuse_writers(folder: Path) -> None:
    for lock in folder.rglob(".*.holdfast-lock"):
        if who := holder(lock):
            raise OutputError(f"{lock.parent} is in use: {who}. Wait for its end, or choose another place.")
