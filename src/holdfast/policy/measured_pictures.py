"""Measurements of a depth camera or a tactile array as the bytes that a policy was trained on.

    {"observation.images.depth": uint16, int16 or float, [height, width, 1] or [height, width], or a batch of them}

The range is that of the training, so the units must be, too: nothing tells millimetres from metres but the user.
"""

from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8
from numpy.typing import NDArray
from torch import Tensor

from ..data import Depth
from ..data.depth import is_measurement
from ..errors import DataError, ShapeError
from ..nn import View
from .real_numbers import check_plain, check_unmasked

BEYOND = 100.0
"""Factor beyond the range from which measurements are taken for those of other units; millimetres are 1000."""


def measured_picture(given: Any, view: View) -> UInt8[Tensor, "*b height width 1"]:
    """Measurements as bytes, with the range of the training.

    Args:
        given: Numbers `[height, width, 1]` or `[height, width]`, or a batch of them, in the units of the training data.
        view: The view of a camera of measurements.

    Raises:
        ShapeError: Another size than in training.
        DataError: Bytes, no array of numbers, or measurements that are far beyond the range.
    """
    assert view.depth is not None
    array = _array(given, view)
    depth = Depth.of(view.depth)
    if array.dtype.kind not in "iuf" or array.dtype.itemsize < 2:
        what = "bytes" if array.dtype == np.uint8 else str(array.dtype)
        raise DataError(
            f"expected measurements of camera {view.camera!r} (16-bit numbers or floats, from {depth.near:g} to "
            f"{depth.far:g}), as in training, got {what}. Give the raw measurements, in the units of the training "
            "data; the policy converts them itself."
        )
    _check_units(array, depth, view)
    return torch.as_tensor(depth.bytes_of(array).reshape(_shape(array.shape, view)))


def _check_units(array: NDArray[Any], depth: Depth, view: View) -> None:
    """Refuse measurements that are most likely in other units: the usual one is far beyond the range."""
    numbers = np.asarray(array, dtype=np.float64)
    valid = numbers[is_measurement(numbers)]
    usual = float(np.median(valid)) if valid.size else depth.near
    if not depth.near / BEYOND <= usual <= depth.far * BEYOND:
        raise DataError(
            f"half of the measurements of camera {view.camera!r} are {'below' if usual < depth.near else 'above'} "
            f"{usual:.3g}, but those of the training are from {depth.near:g} to {depth.far:g}. Give them in the units "
            "of the training data: 1 m are 1000 mm."
        )


def _array(given: Any, view: View) -> NDArray[Any]:
    what = f"the picture of camera {view.camera!r}"
    if isinstance(given, Tensor):
        check_plain(given, what)
        values = given.detach().cpu()
        # NumPy has no bfloat16
        return (values.float() if values.dtype == torch.bfloat16 else values).numpy()
    check_unmasked(given, what)
    try:
        return np.asarray(given)
    except (TypeError, ValueError, RuntimeError) as error:
        raise DataError(
            f"expected measurements of camera {view.camera!r}, got a {type(given).__name__} that is no array ({error})."
        ) from error


def _shape(found: tuple[int, ...], view: View) -> tuple[int, ...]:
    """The shape `[*b, height, width, 1]` of measurements with or without an axis of channels."""
    for expected in (view.shape, view.shape[:2]):
        batch = found[: len(found) - len(expected)]
        if len(found) - len(expected) in (0, 1) and found == (*batch, *expected):
            return (*batch, *view.shape)
    raise ShapeError(
        f"expected measurements of camera {view.camera!r} of shape {list(view.shape)} or {list(view.shape[:2])}, or a "
        f"batch of them, as in training, got {list(found)}. Resize them as the training data were; no size is guessed."
    )
