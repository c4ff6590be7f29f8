"""Measurements of a depth camera or a tactile array as bytes, with a range that is stored with the policy.

    d  no measurement (0, negative, not finite)      0
    d  a measurement                                 1 + round(254 (clip(d, near, far) - near) / (far - near))

Distances within the range are resolved in steps of (far - near) / 254; those beyond it become its ends.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Any

import numpy as np
from jaxtyping import UInt8
from numpy.typing import NDArray

from ..errors import RecipeError

LEVELS = 254
"""Steps between the bytes of the nearest and the farthest measurement."""
QUANTILES = (0.001, 0.999)
"""Share of the measurements below the two ends of the usual range."""

TACTILE = re.compile(r"tactile|taxel", re.IGNORECASE)
NAMED = re.compile(r"depth|tactile|taxel", re.IGNORECASE)
# numbers of classes, and matrices of a depth camera
OTHER = re.compile(r"seg(mentation|_|$)|mask|label|trinsic|matri|pose|quat|calib|param", re.IGNORECASE)
SMALLEST, SMALLEST_TACTILE = 8, 2
"""Shorter side from which an array is a picture [px]."""


@dataclass(frozen=True)
class Depth:
    """A range of measurements, in the units of the data.

    Attributes:
        near: Smallest measurement that is resolved; nearer ones are taken for it.
        far: Largest one.

    Raises:
        RecipeError: Ends that are no range: 0 ≤ near < far, both finite.

    >>> Depth(0.0, 254.0).bytes_of(np.array([0.0, -1.0, np.nan, 1.0, 2.6, 300.0])).tolist()
    [0, 0, 0, 2, 4, 255]
    """

    near: float
    far: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.near) and math.isfinite(self.far) and 0 <= self.near < self.far):
            raise RecipeError(
                f"expected a range of depth with 0 <= NEAR < FAR, in the units of the data, got {self.near:g} to "
                f"{self.far:g}."
            )

    @staticmethod
    def of(ends: Sequence[float]) -> "Depth":
        """The range with two ends.

        Raises:
            RecipeError: Another number of ends, or ends that are no range.
        """
        if len(ends) != 2:
            raise RecipeError(f"expected a range of depth as two numbers, NEAR FAR, got {len(ends)}.")
        return Depth(float(ends[0]), float(ends[1]))

    @property
    def resolution(self) -> float:
        """Difference of measurements between one byte and the next."""
        return (self.far - self.near) / LEVELS

    def bytes_of(self, values: NDArray[Any]) -> UInt8[np.ndarray, "*shape"]:
        """Measurements as bytes, of the same shape; 0 stands for no measurement."""
        numbers = np.asarray(values, dtype=np.float64)
        valid = is_measurement(numbers)
        inside = np.clip(np.where(valid, numbers, self.near), self.near, self.far)
        levels = 1 + np.rint(LEVELS * (inside - self.near) / (self.far - self.near))
        return np.where(valid, levels, 0).astype(np.uint8)


def is_measurement(values: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which numbers were measured: finite ones above 0."""
    return np.isfinite(values) & (values > 0)


def usual_range(values: NDArray[Any]) -> Depth | None:
    """The range from the 0.1 % to the 99.9 % quantile, rounded outward to two significant digits.

    `None` without any measurement.

    >>> usual_range(np.array([0, 431, 1234], dtype=np.uint16))
    Depth(near=430.0, far=1300.0)
    """
    numbers = np.asarray(values, dtype=np.float64)
    numbers = numbers[is_measurement(numbers)]
    if not numbers.size:
        return None
    low, high = (float(end) for end in np.quantile(numbers, QUANTILES))
    near, far = _outward(low, ROUND_FLOOR), _outward(high, ROUND_CEILING)
    # the same measurement everywhere
    return Depth(near, far if far > near else float(Decimal(repr(near)) + _second_digit(near)))


def _outward(value: float, rounding: str) -> float:
    """A number with two significant digits."""
    return float(Decimal(repr(value)).quantize(_second_digit(value), rounding=rounding))


def _second_digit(value: float) -> Decimal:
    """The unit of the second significant digit."""
    return Decimal(1).scaleb(Decimal(repr(value)).adjusted() - 1)


def is_deep(dtype: np.dtype[Any]) -> bool:
    """Whether numbers have more than 8 bits and can be measurements: whole ones of 16 to 64 bits, or floats."""
    return dtype.kind in "iuf" and 2 <= dtype.itemsize <= 8


def measured_size(name: str, row: Sequence[int], dtype: np.dtype[Any]) -> tuple[int, int] | None:
    """Height and width of a picture of measurements; `None` for arrays that are none.

    Rows `[height, width, 1]` of 16 bits or floats are pictures; with a name such as depth or tactile, also rows
    `[height, width]` and `[1, height, width]`, and all whole numbers of more than 8 bits.

    >>> measured_size("camera", (48, 64, 1), np.dtype("u2")), measured_size("left_depth", (48, 64), np.dtype("f4"))
    ((48, 64), (48, 64))
    >>> measured_size("jacobian", (48, 64), np.dtype("f4")), measured_size("depth_intrinsics", (9, 9), np.dtype("f4"))
    (None, None)
    """
    last = name.replace("/", ".").rsplit(".", 1)[-1]
    if OTHER.search(last) or not is_deep(dtype):
        return None
    named = NAMED.search(last) is not None
    found = tuple(map(int, row))
    if len(found) == 3 and found[2] == 1:
        size = found[:2] if named or dtype.kind == "f" or dtype.itemsize == 2 else None
    elif len(found) == 3 and found[0] == 1 and named:
        size = found[1:]
    else:
        size = found if len(found) == 2 and named else None
    smallest = SMALLEST_TACTILE if TACTILE.search(last) else SMALLEST
    return (size[0], size[1]) if size is not None and min(size) >= smallest else None
