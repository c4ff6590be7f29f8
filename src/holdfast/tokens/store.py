"""A tokenizer as one safetensors file: its tables, and a header entry with its options and sizes.

Equal tokenizers give equal bytes. Nothing in the file is a pickle; FAST's merges are stored as bytes of JSON.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from ..atomic import write_atomically
from ..errors import HoldfastError, RunError
from ..schema import from_plain, to_plain
from .base import Tokenizer, of_equal_length
from .tokenizers import TokenizerChoice

T = TypeVar("T")

VERSION = 1


@dataclass(frozen=True)
class _Header:
    """Contents of the header, besides the version."""

    options: TokenizerChoice
    horizon: int
    width: int
    dt: float | None


def save_tokenizer(path: Path, tokenizer: Tokenizer) -> Path:
    """Write a tokenizer atomically, and return the path."""
    header = _Header(tokenizer.options, tokenizer.horizon, tokenizer.width, tokenizer.dt)
    tables = {name: table.contiguous() for name, table in sorted(tokenizer.tables.items())}
    # one entry, because safetensors stores several in an order that changes from run to run
    stored = json.dumps({"version": VERSION, **to_plain(header)}, sort_keys=True)
    return write_atomically(path, save(tables, {"holdfast": stored}))


def load_tokenizer(path: Path) -> Tokenizer:
    """Read a saved tokenizer; its codes and decoded chunks are the same bits.

    Raises:
        RunError: The file is missing, damaged, no tokenizer, or of another version.
    """
    if not path.is_file():
        raise RunError(f"expected a tokenizer at {path}, but there is no such file. Fit one, or correct the path.")
    header, tables = _guarded(path, lambda: _read(path))
    if header.get("version") != VERSION:
        raise RunError(
            f"{path} is a tokenizer of version {header.get('version')!r}, this holdfast reads version {VERSION}. Fit "
            "it again, or read it with the holdfast that wrote it."
        )
    return _guarded(path, lambda: _tried(_tokenizer(header, tables)))


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    # safetensors ships no complete types
    opened: Any = safe_open(str(path), framework="pt")
    with opened as file:
        header = cast("dict[str, Any]", json.loads(file.metadata()["holdfast"]))
        names: list[str] = list(file.keys())
        return header, {name: cast(Tensor, file.get_tensor(name)) for name in names}


def _tokenizer(header: Mapping[str, Any], tables: Mapping[str, Tensor]) -> Tokenizer:
    read = from_plain(_Header, {key: value for key, value in header.items() if key != "version"})
    return read.options.restore(tables, horizon=read.horizon, width=read.width, dt=read.dt)


def _tried(tokenizer: Tokenizer) -> Tokenizer:
    """The tokenizer, after decoding one code, which detects tables of other sizes than the header's."""
    ids = tokenizer.spans.argmin().expand(1, tokenizer.cells)
    shape = tuple(tokenizer.decode(of_equal_length(ids)).shape)
    if shape != (1, tokenizer.horizon, tokenizer.width):
        raise RunError(f"its header has {tokenizer.horizon} steps of {tokenizer.width}, its tables {shape[1:]}")
    return tokenizer


def _guarded(path: Path, read: Callable[[], T]) -> T:
    try:
        return read()
    except (SafetensorError, HoldfastError, LookupError, TypeError, ValueError, OSError, RuntimeError) as error:
        raise RunError(f"{path} is damaged or no tokenizer ({error}). Fit it again, or restore a copy.") from error
