"""A tokenizer as one safetensors file: its tables, and a header entry with its options and sizes.

Equal tokenizers give equal bytes. Nothing in the file is a pickle; FAST's merges are stored as bytes of JSON. The
header holds a digest of the content (`sealed`); in files that were written before there was one, only sizes and
finiteness can be checked.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from ..atomic import write_atomically
from ..errors import HoldfastError, RunError
from ..schema import from_plain, to_plain
from ..sealed import header_of, layouts, read_sealed, sealed
from .base import Tokenizer, of_equal_length
from .tokenizers import TokenizerChoice

T = TypeVar("T")

VERSION = 1

LARGEST = 2**24
"""Largest size of a vocabulary, and of a chunk in numbers: larger ones are errors, and would fill the memory."""

LARGEST_FILE = 2**30
"""Largest size of a file [byte]."""

_DAMAGES = (HoldfastError, LookupError, TypeError, ValueError, OSError, RuntimeError, ArithmeticError, AttributeError)
"""What reading a damaged file can raise."""


@dataclass(frozen=True)
class _Header:
    """Contents of the header, besides the version and the digest."""

    options: TokenizerChoice
    horizon: int
    width: int
    dt: float | None


def save_tokenizer(path: Path, tokenizer: Tokenizer) -> Path:
    """Write a tokenizer atomically, and return the path."""
    return write_atomically(path, tokenizer_bytes(tokenizer))


def tokenizer_bytes(tokenizer: Tokenizer) -> bytes:
    """The content of the file of a tokenizer."""
    header = _Header(tokenizer.options, tokenizer.horizon, tokenizer.width, tokenizer.dt)
    return sealed(tokenizer.tables, {"version": VERSION, **to_plain(header)})


def load_tokenizer(path: Path) -> Tokenizer:
    """Read a saved tokenizer; its codes and decoded chunks are the same bits.

    Raises:
        RunError: The file is missing, damaged, no tokenizer, or of another version.
    """
    if not path.is_file():
        raise RunError(f"expected a tokenizer at {path}, but there is no such file. Fit one, or correct the path.")
    header = _guarded(path, lambda: header_of(path))
    if "version" in header and header["version"] != VERSION:
        raise RunError(
            f"{path} is a tokenizer of version {header['version']!r:.40}, this holdfast reads version {VERSION}. Fit "
            "it again, or read it with the holdfast that wrote it."
        )
    return _guarded(path, lambda: _tried(_read(path, header)))


def _read(path: Path, header: Mapping[str, Any]) -> Tokenizer:
    read = from_plain(_Header, {key: value for key, value in header.items() if key not in ("version", "digest")})
    expected = _sizes(read)
    if path.stat().st_size > LARGEST_FILE:
        raise RunError(f"expected a file of at most {LARGEST_FILE} bytes, got {path.stat().st_size}")
    # before any table is read: a header can ask for more memory than there is
    for name, layout in layouts(path).items():
        _compare(name, layout.shape, expected.pop(name, None))
    if expected:
        raise RunError(f"it lacks the tables {', '.join(expected)}")
    stored = read_sealed(path)
    if broken := stored.not_finite():
        raise RunError(f"its tables {', '.join(broken)} hold numbers that are not finite")
    stored.check()
    return read.options.restore(stored.tensors, horizon=read.horizon, width=read.width, dt=read.dt)


def _sizes(header: _Header) -> dict[str, tuple[int, ...]]:
    if header.dt is not None and not header.dt > 0:
        raise RunError(f"expected steps of more than 0 s, got {header.dt}")
    if not 1 <= header.horizon * header.width <= LARGEST or header.horizon < 1:
        raise RunError(f"expected chunks of 1 to {LARGEST} numbers, got {header.horizon} steps of {header.width}")
    return header.options.layout(header.horizon, header.width)


def _compare(name: str, found: tuple[int, ...], expected: tuple[int, ...] | None) -> None:
    fits = expected is not None and len(found) == len(expected)
    if not fits or any(size not in (-1, here) for size, here in zip(expected or (), found, strict=True)):
        wanted = "no such table" if expected is None else f"the shape {list(expected)}"
        raise RunError(f"expected {wanted} for its options and sizes, got {name:.80} of shape {list(found)}")


def _tried(tokenizer: Tokenizer) -> Tokenizer:
    """The tokenizer, after decoding one code, which detects tables of other sizes than the header's."""
    if tokenizer.vocabulary > LARGEST:
        raise RunError(f"expected a vocabulary of at most {LARGEST} tokens, got {tokenizer.vocabulary}")
    ids = tokenizer.spans.argmin().expand(1, tokenizer.cells)
    shape = tuple(tokenizer.decode(of_equal_length(ids)).shape)
    if shape != (1, tokenizer.horizon, tokenizer.width):
        raise RunError(f"its header has {tokenizer.horizon} steps of {tokenizer.width}, its tables {shape[1:]}")
    return tokenizer


def _guarded(path: Path, read: Callable[[], T]) -> T:
    try:
        return read()
    except _DAMAGES as error:
        raise RunError(f"{path} is damaged or no tokenizer ({error}). Fit it again, or restore a copy.") from error
