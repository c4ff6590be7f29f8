"""HDF5 files, with errors that name the file and the damaged or missing place in it."""

import io
import os
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from ..files import check_regular
from .differing import differing, kind_of
from .hdf5_links import check_array, check_links

MAGIC = b"\x89HDF\r\n\x1a\n"
OWN = "holdfast"
"""Group of the files that this package writes."""
DEEPEST, MOST = 32, 100_000
"""Levels of groups below an episode, and arrays in it: links can make a group contain itself."""


@contextmanager
def opened(path: Path) -> Generator[Any]:
    """The file, open for reading; links out of it are refused, and errors of h5py become a `DataError`."""
    # here, because it is slow to import and most programs read other formats
    import h5py  # pyright: ignore[reportMissingTypeStubs]

    check_regular(path)
    try:
        with h5py.File(path, "r") as file:
            check_links(file, path)
            yield file
    except (OSError, RuntimeError, KeyError) as error:
        raise DataError(f"{path} is damaged or cut short ({error}). Copy or download it again.") from error


@contextmanager
def created(path: Path) -> Generator[Any]:
    """A new file, open for writing; groups preserve the order of their parts.

    Raises:
        OSError: The system refused to write, for example because the disk is full.
    """
    import h5py  # pyright: ignore[reportMissingTypeStubs]

    with path.open("w+b", buffering=0) as raw:
        written = _Written(raw)
        try:
            with h5py.File(written, "w", track_order=True) as file:
                yield file
        except (OSError, RuntimeError) as error:
            # what HDF5 missed when it read its own file again follows from the failure to write
            raise written.failure or error from error
        if written.failure is not None:
            raise written.failure


class _Written:
    """A file for h5py whose first failure is kept for later: HDF5 ends the process when it cannot write.

    After a failure nothing more is written, but the file has the size that HDF5 expects.

    Attributes:
        failure: Error of the system, if there was one.
    """

    def __init__(self, raw: io.FileIO) -> None:
        self._raw = raw
        self.failure: OSError | None = None
        self.read, self.readinto, self.seek, self.tell = raw.read, raw.readinto, raw.seek, raw.tell

    def write(self, data: Any) -> int:
        """Write all bytes, or only extend the file after a failure."""
        view = memoryview(data).cast("B")
        end = self._raw.tell() + len(view)
        self._unless_failed(lambda: self._write_whole(view))
        if self.failure is not None:
            with suppress(OSError):
                self._raw.truncate(max(end, os.fstat(self._raw.fileno()).st_size))
        return len(view)

    def truncate(self, size: int) -> int:
        """Set the size of the file."""
        self._unless_failed(lambda: self._raw.truncate(size))
        return size

    def flush(self) -> None:
        """Do nothing, because the file is not buffered."""

    def _write_whole(self, view: memoryview) -> None:
        while view:
            view = view[self._raw.write(view) :]

    def _unless_failed(self, act: Callable[[], object]) -> None:
        if self.failure is None:
            try:
                act()
            except OSError as error:
                self.failure = error


def is_group(entry: Any) -> bool:
    """Whether a part of a file is a group."""
    import h5py  # pyright: ignore[reportMissingTypeStubs]

    return isinstance(entry, h5py.Group)


def is_array(entry: Any) -> bool:
    """Whether a part of a file is an array."""
    import h5py  # pyright: ignore[reportMissingTypeStubs]

    return isinstance(entry, h5py.Dataset)


def names(group: Any) -> list[str]:
    """Names of a group's parts in natural order; damaged names, which h5py returns as bytes, are skipped."""
    return sorted((name for name in group if isinstance(name, str)), key=natural) if is_group(group) else []


def leaves(group: Any) -> list[str]:
    """Paths of all arrays below a group, in natural order; one empty path if the group is an array itself.

    Raises:
        DataError: The groups do not end.
    """
    found = list[str]()
    _collect(group, "", found, DEEPEST)
    return sorted(found, key=natural)


def _collect(entry: Any, place: str, found: list[str], depth: int) -> None:
    if not depth or len(found) > MOST:
        raise DataError(
            f"{entry.file.filename}: {entry.name} contains itself, more than {DEEPEST} groups inside one another or "
            f"more than {MOST} arrays. Remove the links that lead back."
        )
    if is_array(entry):
        found.append(place)
    for name in names(entry):
        _collect(entry[name], f"{place}/{name}".lstrip("/"), found, depth - 1)


def is_empty(group: Any) -> bool:
    """Whether none of the arrays of an episode has rows."""
    shapes = (group[key].shape for key in leaves(group))
    return not any(shape and shape[0] for shape in shapes)


def natural(name: str) -> list[tuple[int, int, str]]:
    """A sorting key that puts `demo_10` after `demo_9`.

    >>> sorted(["demo_10", "demo_9", "demo"], key=natural)
    ['demo', 'demo_9', 'demo_10']
    """
    parts = list[tuple[int, int, str]]()
    digits, text = "", ""
    for letter in [*name, ""]:
        if letter.isdecimal():
            parts += [(1, 0, text)] if text else []
            digits, text = digits + letter, ""
        else:
            parts += [(0, int(digits), "")] if digits else []
            digits, text = "", text + letter
    return parts + ([(1, 0, text)] if text else [])


def per_episode(groups: Sequence[Any], key: str, path: Path) -> list[NDArray[Any]]:
    """One array per episode; all must have the features of the first.

    Raises:
        DataError: An episode lacks the array, or has other features; the message names it and the way out.
    """
    found = list[NDArray[Any]]()
    for group in groups:
        handle = _handle(group, key)
        like = found[0] if found else handle
        if handle is None or handle.shape[1:] != like.shape[1:] or handle.dtype.kind not in "fiub":
            refuse_differing(groups, key, path)
        found.append(array(group, key, f"{path}: episode {group.name.removeprefix('/')}"))
    return found


def check_steps(
    groups: Sequence[Any], key: str, parts: Sequence[Any], steps: Sequence[int], path: Path, *, more: int = 0
) -> None:
    """Refuse an array whose number of rows is not that of its episode and `more`."""
    if any(len(part) != expected + more for part, expected in zip(parts, steps, strict=True)):
        refuse_differing(groups, key.rstrip("/"), path, steps)


def refuse_differing(groups: Sequence[Any], key: str, path: Path, steps: Sequence[int] | None = None) -> NoReturn:
    """Say in which episodes an array is not as in the others, or not as long as their actions."""
    kinds = list[str]()
    for group, count in zip(groups, steps or [None] * len(groups), strict=True):
        handle = _handle(group, key)
        kinds.append(kind_of(None, None) if handle is None else kind_of(handle.shape, handle.dtype, count))
    paths = [group.name.strip("/").split("/") for group in groups]
    depth = 1 if paths[0][0] == "data" else 0
    holder = groups[0].file["data"] if depth else groups[0].file
    numbers = {name: place for place, name in enumerate(one for one in names(holder) if is_group(holder[one]))}
    own = [path[depth] for path in paths]
    whole = "/".join([*paths[0][depth + 1 :], *([key] if key else [])])
    fault = differing(whole, kinds, own, [numbers[name] for name in own])
    if fault is None:
        raise DataError(f"{path}: every episode has {kinds[0]} called {whole}; the first holds {_listed(groups[0])}.")
    # what this package writes is the same in all episodes
    if OWN in groups[0].file:
        raise DataError(f"{path}: {fault.what}. It was changed after it was written: copy or write it again.")
    raise DataError(f"{path}: {fault.sentence}")


def _listed(group: Any) -> str:
    return ", ".join(leaves(group)) or "nothing"


def array(group: Any, key: str, where: str) -> NDArray[Any]:
    """An array of a group, in memory; `where` begins the message if it cannot be read."""
    handle = _handle(group, key)
    if handle is None:
        raise DataError(f"{where} lacks the array {key}; it holds {_listed(group)}.")
    check_array(handle, f"{where}: {key}")
    try:
        values = _empty(handle)
        _fill(handle, values)
    except (OSError, RuntimeError, ValueError, TypeError) as error:
        raise DataError(f"{where}: {key} is damaged ({error}). Copy or download the file again.") from error
    if not values.ndim:
        raise DataError(f"{where}: {key} holds no rows of numbers (shape {list(values.shape)}, {values.dtype}).")
    return values


def _handle(group: Any, key: str) -> Any:
    """The handle of an array, several times faster than the array itself; `None` if there is no such array."""
    from h5py import h5d, h5o  # pyright: ignore

    try:
        found: Any = h5o.open(group.id, key.encode() or b".")  # pyright: ignore
    except (KeyError, ValueError):
        return None
    return found if isinstance(found, h5d.DatasetID) else None  # pyright: ignore


def _empty(handle: Any) -> NDArray[Any]:
    shape: tuple[int, ...] = handle.shape
    dtype: Any = handle.dtype
    return np.empty(shape, dtype)


def _fill(handle: Any, values: NDArray[Any]) -> None:
    from h5py import h5s  # pyright: ignore

    # an array without elements cannot be selected
    if values.size:
        handle.read(h5s.ALL, h5s.ALL, values)  # pyright: ignore
