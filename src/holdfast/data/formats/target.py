"""Places to write to: a data set appears whole or not at all, and nothing but a data set is ever replaced."""

import os
import secrets
import shutil
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from ...errors import HoldfastError, OutputError
from .known import FORMATS, recognised

__all__ = ["check_target", "whole"]


def check_target(path: Path | str, *, overwrite: bool) -> None:
    """Refuse a place that `whole` would refuse, before the work that fills it.

    Raises:
        OutputError: It exists and `overwrite` is not given, or it is no data set of a known format.
    """
    target = Path(path)
    if not os.path.lexists(target):
        return
    if not overwrite:
        raise OutputError(f"{target} exists already. Choose another place, or replace it with `--overwrite`.")
    # Replacing deletes what was there, so it must be a data set: a mistyped path must not cost a home folder.
    if recognised(target) is None:
        raise OutputError(
            f"{target} is not a data set of a known format ({', '.join(FORMATS)}), so `--overwrite` does not replace "
            "it. Choose another place, or remove it yourself."
        )


@contextmanager
def whole(path: Path | str, *, overwrite: bool) -> Generator[Path]:
    """A fresh path of the same name, to write a file or folder to; at the end it is moved into its place.

    At any moment the place holds the old data set or the new one, or, for an instant while a folder is replaced,
    nothing; the old one then lies beside it under a name that ends in `.old`. What fails leaves the old one alone.

    Raises:
        OutputError: As `check_target`, or the place cannot be written to.
    """
    check_target(path, overwrite=overwrite)
    target = Path(path).resolve()
    beside = f".{target.name}.{secrets.token_hex(4)}"
    room = target.with_name(f"{beside}.partial")
    try:
        room.mkdir(parents=True)
        yield room / target.name
        _flush(room)
        _move(room / target.name, target, aside=target.with_name(f"{beside}.old"))
    except OSError as error:
        if isinstance(error, HoldfastError):
            raise
        raise OutputError(
            f"{target} could not be written: {error}. Free some space or choose another place."
        ) from error
    finally:
        shutil.rmtree(room, ignore_errors=True)


def _flush(room: Path) -> None:
    """Everything on the disk before it gets its name: a power cut must not leave a name without content."""
    for path in [room, *room.rglob("*")]:
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _move(finished: Path, target: Path, *, aside: Path) -> None:
    """Put the finished set in its place; an older folder is set aside first: a full one cannot be replaced."""
    if not target.exists() or (target.is_file() and finished.is_file()):
        os.replace(finished, target)
        return
    os.replace(target, aside)
    try:
        os.replace(finished, target)
    except OSError:
        os.replace(aside, target)
        raise
    if aside.is_dir():
        shutil.rmtree(aside)
    else:
        aside.unlink()
