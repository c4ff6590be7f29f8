"""Places to write to: a data set appears whole or not at all, and nothing but a data set is ever replaced."""

import os
import re
import secrets
import shutil
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from ...errors import HoldfastError, OutputError
from .registry import FORMATS, recognised

__all__ = ["check_target", "whole"]

# What lies in the folder of a set, by format. Beside it a set of the Hub has a card and notes of downloading.
HUB = r"README\.md|\.gitattributes|\.cache|\.huggingface"
PARTS = {
    "lerobot": re.compile(rf"meta|data|videos|images|{HUB}"),
    "holdfast": re.compile(rf"episodes\.json|episodes\.safetensors|camera-\d+\.npy|{HUB}"),
    "zarr": re.compile(rf"meta|data|\.zgroup|\.zattrs|\.zmetadata|zarr\.json|{HUB}"),
    "minari": re.compile(rf"data|main_data\.hdf5|metadata\.json|{HUB}"),
}


def check_target(path: Path | str, *, overwrite: bool) -> None:
    """Refuse a place that `whole` would refuse, before the work that fills it.

    Raises:
        OutputError: It exists and `overwrite` is not given, or it is no data set of a known format, or holds anything
            else; or nothing may be written there.
    """
    target = Path(path)
    _check_parent(target)
    if not os.path.lexists(target):
        return
    if not overwrite:
        raise OutputError(f"{target} exists already. Choose another place, or replace it with `--overwrite`.")
    # Replacing deletes what was there, so it must be a data set: a mistyped path must not cost a home folder.
    name = _surely(target)
    if name is None:
        raise OutputError(
            f"{target} is not a data set of a known format ({', '.join(FORMATS)}), so `--overwrite` does not replace "
            "it. Choose another place, or remove it yourself."
        )
    if target.is_dir() and (others := _others(target, name)):
        raise OutputError(
            f"{target} holds {', '.join(others[:4])}, which a data set of the format {name} does not, so `--overwrite` "
            "does not replace it. Choose another place, or move that elsewhere."
        )


def _surely(target: Path) -> str | None:
    """The format of a set that is beyond doubt one: what is read to say what is missing must not be deleted for it."""
    name = recognised(target)
    if name == "lerobot":
        info = target / "meta" / "info.json"
        return name if info.is_file() and b'"codebase_version"' in info.read_bytes() else None
    if name == "minari":
        return name if any((target / place).is_file() for place in ("data/main_data.hdf5", "main_data.hdf5")) else None
    return name


def _others(folder: Path, name: str) -> list[str]:
    """What lies in the folder of a set and is no part of it."""
    parts = PARTS[name]
    return sorted(entry.name for entry in folder.iterdir() if not parts.fullmatch(entry.name))


def _check_parent(target: Path) -> None:
    parent = next(place for place in target.absolute().parents if place.exists())
    if not parent.is_dir():
        raise OutputError(f"{target} cannot be made, because {parent} is a file. Choose another place.")
    if not os.access(parent, os.W_OK | os.X_OK):
        raise OutputError(f"{target} cannot be made: {parent} must not be written to. Choose another place.")


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
            f"{target} could not be written: {error}. Choose another place, or make room there."
        ) from error
    finally:
        _clear(room)


def _clear(room: Path) -> None:
    """Remove what was not finished; after Ctrl-C, threads of zarr write on for a moment and make folders again."""
    stopped = isinstance(sys.exc_info()[1], KeyboardInterrupt)
    for pause in (0.1, 0.2, 0.4) if stopped else ():
        shutil.rmtree(room, ignore_errors=True)
        time.sleep(pause)
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
