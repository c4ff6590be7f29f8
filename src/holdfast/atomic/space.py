"""Room on a disk, asked for before work whose result would not fit."""

import shutil
from pathlib import Path

from ..errors import OutputError

_MARGIN = 1 << 20
"""Bytes that must remain free, for descriptions, logs and the file system itself."""


def check_space(target: Path, needed: int) -> None:
    """Refuse to begin work whose output would fill the disk.

    Args:
        target: File or folder to write; it need not exist.
        needed: Estimate of its bytes.

    Raises:
        OutputError: The disk has too little room.
    """
    parent = next(place for place in (target, *target.absolute().parents) if place.exists())
    free = shutil.disk_usage(parent).free
    if needed + _MARGIN > free:
        raise OutputError(
            f"{target} needs about {_size(needed + _MARGIN)}, but its disk has only {_size(free)} left. Remove files, "
            "or choose a folder on another disk."
        )


def _size(count: int) -> str:
    """A number of bytes for readers.

    >>> _size(3_000_000), _size(45 * 10**9)
    ('3 MB', '45 GB')
    """
    return f"{count / 1e9:.3g} GB" if count >= 1e9 else f"{count / 1e6:.3g} MB"
