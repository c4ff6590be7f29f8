"""safetensors files that carry the digest of their content, so that a changed number is noticed when they are read.

    header entry "holdfast"    JSON: what the caller stores, and "digest"
    digest                     "crc32c-", then the SHA-256 of what the caller stores and of the checksum of each tensor

Checksums are CRC-32C, which processors compute. In files written before, the digest is the SHA-256 of all numbers
instead, which takes longer than reading them. Other programs read such a file as any other safetensors file. Files
written without a digest are read as well; a caller is told that there was none.
"""

import hashlib
import json
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import google_crc32c  # pyright: ignore[reportMissingTypeStubs]
import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from .errors import DataError
from .files import as_object, check_regular, parse_json

ENTRY = "holdfast"
"""The only header entry: safetensors writes several in an order that differs from run to run."""

MARK = "crc32c-"
"""Start of the digests that are written."""

_DTYPES = {
    "BOOL": torch.bool,
    "U8": torch.uint8,
    "I8": torch.int8,
    "I16": torch.int16,
    "I32": torch.int32,
    "I64": torch.int64,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F32": torch.float32,
    "F64": torch.float64,
}


@dataclass(frozen=True)
class Layout:
    """Shape and dtype of a stored tensor; the dtype is `None` where it is not one of `torch`'s usual ones."""

    shape: tuple[int, ...]
    dtype: torch.dtype | None

    def __str__(self) -> str:
        return f"{list(self.shape)} of {str(self.dtype).removeprefix('torch.')}"


@dataclass(frozen=True)
class Sealed:
    """Content of a file.

    Attributes:
        about: What the caller stored in the header.
        tensors: All tensors, by name.
        digest: The stored digest; `None` for a file that was written without one.
    """

    about: Mapping[str, Any]
    tensors: Mapping[str, Tensor]
    digest: str | None

    def check(self) -> None:
        """Compare the content with the digest, if there is one.

        Raises:
            DataError: They disagree.
        """
        if self.digest is None:
            return
        content = _checksum if self.digest.startswith(MARK) else _whole
        if self.digest != _digest(self.tensors, self.about, content):
            raise DataError("its numbers are not those that were written: they disagree with the digest in its header")

    def not_finite(self) -> list[str]:
        """Names of the tensors that hold an infinity or not a number."""
        return [name for name, value in self.tensors.items() if not _is_finite(value)]


def sealed(tensors: Mapping[str, Tensor], about: Mapping[str, Any]) -> bytes:
    """The bytes of a file; equal content gives equal bytes.

    >>> first, again = (sealed({"x": torch.zeros(2)}, {"step": 3}) for _ in range(2))
    >>> first == again, b"digest" in first
    (True, True)
    """
    kept = {name: value.detach().contiguous() for name, value in sorted(tensors.items())}
    header = {**about, "digest": _digest(kept, about, _checksum)}
    return save(kept, {ENTRY: json.dumps(header, sort_keys=True)})


def layouts(path: Path) -> dict[str, Layout]:
    """Shape and dtype of each tensor, from the header alone.

    Raises:
        DataError: The file is no regular file, damaged, or no safetensors file.
    """
    with _opened(path, "cpu") as file:
        slices = {str(name): file.get_slice(name) for name in file.keys()}  # noqa: SIM118
        return {name: Layout(tuple(part.get_shape()), _DTYPES.get(part.get_dtype())) for name, part in slices.items()}


def header_of(path: Path) -> dict[str, Any]:
    """What was stored in the header, with the digest; empty where there is none.

    Raises:
        DataError: The file is no regular file, damaged, or no safetensors file.
    """
    with _opened(path, "cpu") as file:
        text = cast("dict[str, str]", file.metadata() or {}).get(ENTRY)
    return {} if text is None else as_object(parse_json(text, "its header", unique=True), "its header")


def read_sealed(path: Path, device: torch.device | str = "cpu") -> Sealed:
    """Content of a file; `check` compares it with the digest, after the sizes, whose messages say more.

    Raises:
        DataError: The file is no regular file, damaged, or no safetensors file.
    """
    about = header_of(path)
    digest = about.pop("digest", None)
    with _opened(path, device) as file:
        # copies: the tensors of a memory-mapped file would be lost, with the process, if it were cut short
        tensors = {str(name): cast(Tensor, file.get_tensor(name)).clone() for name in file.keys()}  # noqa: SIM118
    return Sealed(about, tensors, None if digest is None else str(digest))


def digest_of(plain: Any) -> str:
    """Digest of JSON values; the order of keys and the layout of the text make no difference."""
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()


@contextmanager
def _opened(path: Path, device: torch.device | str) -> Generator[Any, None, None]:
    """The open file; what safetensors refuses is a `DataError`."""
    check_regular(path)
    try:
        # safetensors ships no complete types
        opened: Any = safe_open(str(path), framework="pt", device=str(device))
        with opened as file:
            yield file
    except SafetensorError as error:
        raise DataError(f"{error}") from error
    except MemoryError as error:
        raise DataError(f"a file of {path.stat().st_size:.3g} bytes is larger than the memory") from error


def crc32c(content: Any, before: int = 0) -> int:
    """CRC-32C of bytes or of a contiguous array, which is not copied; `before` is that of the bytes before these.

    >>> f"{crc32c(b'123456789'):08x}"
    'e3069283'
    """
    return int(google_crc32c.extend(before, content))  # pyright: ignore


def _digest(
    tensors: Mapping[str, Tensor], about: Mapping[str, Any], content: Callable[[NDArray[np.uint8]], Any]
) -> str:
    """Digest of what the caller stores, and of name, dtype, shape and `content` of the bytes of each tensor."""
    found = hashlib.sha256(json.dumps(about, sort_keys=True).encode())
    for name, value in sorted(tensors.items()):
        found.update(json.dumps([name, str(value.dtype), list(value.shape)]).encode())
        # a view: `bytes` would copy all numbers
        found.update(content(value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy()))
    return f"{MARK if content is _checksum else ''}{found.hexdigest()}"


def _checksum(content: NDArray[np.uint8]) -> bytes:
    return crc32c(content).to_bytes(4, "big")


def _whole(content: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return content


def _is_finite(values: Tensor) -> bool:
    # one pass: a sum is finite only if every number is, and where it overflows, each number is looked at
    return not values.is_floating_point() or bool(values.sum().isfinite()) or bool(values.isfinite().all())
