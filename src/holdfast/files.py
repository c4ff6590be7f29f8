"""Small files from other people, read with limits: only regular files, bounded sizes, bounded JSON.

A path of a data set or run folder can be a pipe, on which reading would wait forever, and JSON can be nested deeply
enough to exhaust the stack, or hold numbers of hundreds of digits. Every reader of such a file uses these functions,
which raise one sentence instead.
"""

import errno
import json
import os
import re
import stat
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

from .errors import DataError, HoldfastError

LARGEST = 256 << 20
"""Bytes of a file of metadata."""
DEEPEST = 64
"""Levels of nested lists and dictionaries in JSON."""
DIGITS = 100
"""Digits of a whole number in JSON; more than 308 overflow as floating-point numbers."""
COPY = "Copy or download it again."
POINTERS = (b"version https://git-lfs.github.com/spec/", b"version https://hawser.github.com/spec/", b"/annex/objects/")
LARGEST_POINTER = 1024

_LONG_NUMBER = re.compile(rb"\d{%d}" % DIGITS)
# in every tenth byte, which such a number leaves behind and which are searched in a tenth of the time
_SPARSE = re.compile(rb"\d{%d}" % (DIGITS // 10))
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")


def check_regular(path: Path, *, error: type[HoldfastError] = DataError) -> None:
    """Refuse a pipe, a socket or a device, on which reading could wait forever or never end; follows links.

    A path that does not exist is accepted: the reader says what is missing. A folder is accepted too.

    Raises:
        HoldfastError: The given class of error; the path is a pipe, a socket or a device.
    """
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError):
        return
    _refuse_special(path, mode, error)


def open_regular(path: Path, *, error: type[HoldfastError] = DataError) -> BinaryIO:
    """Open a regular file for reading in binary mode.

    Raises:
        HoldfastError: The given class of error; the path is a pipe, a socket or a device.
        OSError: The file does not exist, is a folder, or cannot be read.
    """
    # not to wait at a pipe until somebody writes to it
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    try:
        mode = os.fstat(handle).st_mode
        _refuse_special(path, mode, error)
        if stat.S_ISDIR(mode):
            # Python would name the number of the open file in place of the path
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        return os.fdopen(handle, "rb")
    except BaseException:
        os.close(handle)
        raise


@contextmanager
def named(path: Path) -> Generator[None]:
    """Name the file in errors of the system, which names none where reading from an open file fails."""
    try:
        yield
    except OSError as error:
        if error.errno is not None and error.filename is None:
            error.filename = str(path)
        raise


def read_bytes(
    path: Path, *, largest: int = LARGEST, error: type[HoldfastError] = DataError, way_out: str = COPY
) -> bytes:
    """The content of a regular file of at most `largest` bytes.

    Raises:
        HoldfastError: The given class of error; no regular file, or larger than that.
        OSError: The file does not exist, is a folder, or cannot be read.
    """
    with open_regular(path, error=error) as file, named(path):
        # not `largest` at once, because Python takes the memory before it reads
        size = os.fstat(file.fileno()).st_size
        content = file.read(min(largest, size) + 1)
    if max(size, len(content)) > largest:
        raise error(f"{path} is larger than {largest:,} bytes, expected a small file. {way_out}")
    return content


def read_start(path: Path, *, most: int = LARGEST) -> bytes:
    """The first bytes of a regular file, for recognising what it is.

    Raises:
        DataError: No regular file.
        OSError: The file does not exist, is a folder, or cannot be read.
    """
    with open_regular(path) as file:
        return file.read(min(os.fstat(file.fileno()).st_size, most))


def read_text(
    path: Path, *, largest: int = LARGEST, error: type[HoldfastError] = DataError, way_out: str = COPY
) -> str:
    """The text of a regular file in UTF-8.

    Raises:
        HoldfastError: The given class of error; no regular file, too large, or no text.
        OSError: The file does not exist, is a folder, or cannot be read.
    """
    try:
        return read_bytes(path, largest=largest, error=error, way_out=way_out).decode()
    except UnicodeDecodeError as reason:
        raise error(f"{path} is damaged ({reason}). {way_out}") from reason


def is_pointer(path: Path) -> bool:
    """Whether a file is the text that Git LFS or git-annex leaves in the place of content that was not fetched."""
    try:
        # the texts have some 130 bytes, so most files are not opened
        return os.stat(path).st_size <= LARGEST_POINTER and read_start(path, most=64).startswith(POINTERS)
    except (OSError, ValueError, HoldfastError):
        return False


def read_json(
    path: Path,
    *,
    largest: int = LARGEST,
    error: type[HoldfastError] = DataError,
    way_out: str = COPY,
    unique: bool = False,
) -> Any:
    """The JSON value in a regular file; see `parse_json`.

    Raises:
        HoldfastError: The given class of error; no regular file, too large, or no JSON within the limits.
        OSError: The file does not exist, is a folder, or cannot be read.
    """
    content = read_bytes(path, largest=largest, error=error, way_out=way_out)
    return parse_json(content, str(path), error=error, way_out=way_out, unique=unique)


def parse_json(
    content: bytes | str,
    source: str,
    *,
    error: type[HoldfastError] = DataError,
    way_out: str = COPY,
    unique: bool = False,
) -> Any:
    """A JSON value whose nesting and numbers are bounded, and whose text can be printed and stored.

    NaN and infinities are accepted, as Minari writes them for missing bounds.

    Args:
        content: Text, or its bytes in UTF-8.
        source: Where it comes from, for the message.
        error: Class of the errors.
        way_out: Advice at the end of the message.
        unique: Refuse dictionaries with a key that occurs twice, of which JSON readers take the last.

    Raises:
        HoldfastError: The given class of error; the text is no JSON within the limits.

    >>> parse_json('{"lengths": [3, 4]}', "episodes.json")
    {'lengths': [3, 4]}
    >>> parse_json("[" * 70 + "]" * 70, "info.json")
    Traceback (most recent call last):
    ...
    holdfast.errors.DataError: info.json is damaged (lists and dictionaries are nested more than 64 deep). Copy or ...
    """
    try:
        raw = content.encode() if isinstance(content, str) else bytes(content)
        bounded, once = _bounded if _has_long_number(raw) else None, _once if unique else None
        value = json.loads(raw.decode(), parse_int=bounded, object_pairs_hook=once)
        if raw.count(b"[") + raw.count(b"{") > DEEPEST:
            _check_depth(value)
        if _SURROGATE.search(raw):
            json.dumps(value, ensure_ascii=False).encode()
    # also no text, half a character, or text that cannot be encoded
    except (ValueError, RecursionError) as reason:
        what = "it is nested too deeply" if isinstance(reason, RecursionError) else reason
        raise error(f"{source} is damaged ({what}). {way_out}") from reason
    return value


def as_object(
    value: Any, source: str, *, error: type[HoldfastError] = DataError, way_out: str = COPY
) -> dict[str, Any]:
    """A JSON value that must be a dictionary.

    Raises:
        HoldfastError: The given class of error; another type.
    """
    if not isinstance(value, dict):
        raise error(
            f"{source} is damaged: it is not a JSON object: expected a dictionary, got {shown(value)}. {way_out}"
        )
    return cast("dict[str, Any]", value)


def shown(value: Any, *, most: int = 60) -> str:
    """A value from a file for a message, cut to a readable length.

    >>> shown([1] * 1000, most=12)
    '[1, 1, 1, 1…'
    """
    text = repr(value)
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _refuse_special(path: Path, mode: int, error: type[HoldfastError]) -> None:
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        kinds = {stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket"}
        kind = kinds.get(stat.S_IFMT(mode), "a device")
        raise error(f"{path} is {kind}, expected a regular file. It was not opened; put a file there.")


def _has_long_number(raw: bytes) -> bool:
    return bool(_SPARSE.search(raw[::10]) and _LONG_NUMBER.search(raw))


def _bounded(digits: str) -> int:
    if len(digits) > DIGITS:
        raise ValueError(f"a whole number of {len(digits)} digits")
    return int(digits)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict[str, Any]()
    for name, value in pairs:
        if name in found:
            raise ValueError(f"the key {shown(name)} occurs twice")
        found[name] = value
    return found


def _check_depth(value: Any) -> None:
    """Refuse deep nesting, without recursion."""
    layer: list[Any] = [value]
    for _ in range(DEEPEST):
        layer = [part for outer in layer for part in _parts(outer) if type(part) is list or type(part) is dict]
        if not layer:
            return
    raise ValueError(f"lists and dictionaries are nested more than {DEEPEST} deep")


def _parts(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return cast("dict[str, Any]", value).values()
    return cast("list[Any]", value) if isinstance(value, list) else ()
