"""The parts of a data set that is a folder: regular files, and links that stay in it.

A link out of a data set from somebody else would have its reader copy any file of this machine into the result. One
layout is known and accepted: the cache of the Hugging Face Hub, where `snapshots/<revision>/<file>` is a link to
`blobs/<hash>` beside it. A data set may itself be a link.
"""

import os
from collections.abc import Iterator
from pathlib import Path

from ..errors import DataError
from ..files import check_regular

SNAPSHOTS, BLOBS = "snapshots", "blobs"
# folders of programs that fetched the data set, in which no reader looks
NOT_READ = (".git", ".cache", ".huggingface")


def check_inside(path: Path) -> None:
    """Refuse pipes, sockets and devices among the parts of a data set, and links out of it.

    Args:
        path: File or folder of a data set.

    Raises:
        DataError: The message names the part and where its link leads.
    """
    check_regular(path)
    if not path.is_dir():
        return
    root = os.path.realpath(path)
    homes = (root, *_blobs_of(root))
    for part, is_link in _parts(root):
        if is_link and not _is_below(place := os.path.realpath(part), homes):
            raise DataError(
                f"{part} is a link to {place}, outside the data set, so it is not followed. Put a copy there; the "
                "folder of a data set as a whole may be a link."
            )
        check_regular(Path(part))


def _parts(root: str) -> Iterator[tuple[str, bool]]:
    """Paths of links and of what is neither a file nor a folder; folders behind links are entered once."""
    seen, waiting = {root}, [root]
    while waiting:
        with os.scandir(folder := waiting.pop()) as found:
            for entry in found:
                if folder == root and entry.name in NOT_READ:
                    continue
                # kinds are known from the folder itself, without looking at each file
                link = entry.is_symlink()
                if link or not (entry.is_file() or entry.is_dir()):
                    yield entry.path, link
                if entry.is_dir() and (place := os.path.realpath(entry.path) if link else entry.path) not in seen:
                    seen.add(place)
                    waiting.append(place)


def _blobs_of(root: str) -> tuple[str, ...]:
    """The folder of the files themselves, if this is a data set, or a part of one, in the cache of the Hub."""
    for place in (Path(root), *Path(root).parents):
        if place.parent.name == SNAPSHOTS:
            return (str(place.parent.parent / BLOBS),)
    return ()


def _is_below(place: str, homes: tuple[str, ...]) -> bool:
    return any(place == home or place.startswith(home.rstrip(os.sep) + os.sep) for home in homes)
