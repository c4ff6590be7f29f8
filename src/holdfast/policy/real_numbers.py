"""Any array-like of real numbers as a tensor of its own, or a sentence why not."""

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..errors import DataError

_HALVES = (torch.float16, torch.bfloat16)


def as_numbers(values: Any, name: str) -> Tensor:
    """A copy of any array-like of real numbers, in single or double precision.

    Raises:
        DataError: The values are not real numbers, or rows have different lengths.
    """
    check_unmasked(values, name)
    if isinstance(values, Tensor):
        check_plain(values, name)
        tensor = values.detach().clone()
    else:
        try:
            tensor = torch.from_numpy(_native(np.asarray(values)))  # pyright: ignore[reportUnknownMemberType]
        except (TypeError, ValueError, RuntimeError) as error:
            raise DataError(f"expected {name} as an array of real numbers, got {values!r:.80} ({error}).") from error
    if not tensor.is_floating_point():
        return tensor.double()
    # in half precision, scaling would lose what the network can use
    return tensor.float() if tensor.dtype in _HALVES else tensor


def check_unmasked(values: Any, name: str) -> None:
    """Refuse arrays of which entries are masked."""
    rows = cast("Sequence[Any]", values) if isinstance(values, list | tuple) else (values,)
    if any(hasattr(row, "mask") and np.ma.is_masked(row) for row in rows):
        raise DataError(
            f"expected {name} as an array of real numbers, got masked entries. Fill them with the last measurement."
        )


def check_plain(values: Tensor, name: str) -> None:
    """Refuse tensors whose numbers cannot be read as they are."""
    kinds = {
        "complex": values.is_complex(),
        "nested": values.is_nested,
        "quantized": values.is_quantized,
        "meta": values.is_meta,
        "sparse": values.layout != torch.strided and not values.is_nested,
    }
    if kind := next((kind for kind, holds in kinds.items() if holds), None):
        raise DataError(f"expected {name} as a dense tensor of real numbers, got a {kind} one. Convert it first.")


def _native(array: NDArray[Any]) -> NDArray[Any]:
    """A contiguous copy in the byte order of this machine: float32 as it is, other real numbers as float64."""
    if array.dtype.kind not in "fiub":
        raise TypeError(f"its dtype is {array.dtype}")
    exact = np.float32 if array.dtype.kind == "f" and array.dtype.itemsize <= 4 else np.float64
    return np.array(array, dtype=exact, order="C")
