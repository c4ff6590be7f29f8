"""Scaling of each coordinate to [-1, 1] and back.

    z = (x − centre) / half,    x = centre + half · z,    centre = (low + high) / 2,    half = (high − low) / 2

The bounds are fitted on the *training episodes only*. Bounds of all episodes would leak information about the held-out
ones, and σ, which is measured in these units, would change with the split.

A *constant* coordinate has no range to divide by: it is only shifted (half = 1) and becomes 0. A *nearly* constant one
is stretched to [-1, 1] like any other, which amplifies sensor noise and rounding; `describe_constants` lists these.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, cast

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ..errors import DataError, ShapeError

ROUNDING = 16.0
"""Largest range that counts as rounding, in units in the last place of the fitted numbers."""
NEGLIGIBLE = 1e-12
"""Largest range that counts as rounding around zero, as in gains that are zero by symmetry."""
NEARLY = 1e-4
"""Range, relative to the largest magnitude, below which a warning is given."""


@dataclass(frozen=True, kw_only=True)
class MinMax:
    """Invertible map of each coordinate's range [low, high] to [-1, 1].

    Attributes:
        low: Smallest value of each coordinate, float64.
        high: Largest value; equal to `low` for constant coordinates.
        names: Names of the coordinates, if known.

    Raises:
        DataError: A bound is not finite, `high` is below `low`, or there are not as many names as coordinates.

    >>> scale = MinMax.fit(torch.tensor([[0.0, 7.0], [4.0, 7.0]]))
    >>> scale.normalize(torch.tensor([[1.0, 7.0]]))
    tensor([[-0.5000,  0.0000]])
    >>> scale.denormalize(torch.tensor([[-0.5, 0.0]]))
    tensor([[1., 7.]])
    """

    low: Float[Tensor, " d"]
    high: Float[Tensor, " d"]
    names: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        finite = self.low.isfinite() & self.high.isfinite() & (self.high - self.low).isfinite()
        if len(bad := (~(finite & (self.low <= self.high))).nonzero()):
            low, high = float(self.low[bad[0]]), float(self.high[bad[0]])
            raise DataError(
                f"bounds must be finite and low <= high, got {low:g} and {high:g} at coordinate {int(bad[0])}."
            )
        if self.names is not None and len(self.names) != len(self.low):
            raise DataError(f"{len(self.names)} names for {len(self.low)} coordinates. Give one each, or none.")

    @staticmethod
    def fit(values: Float[Tensor, "rows d"], names: Sequence[str] | None = None) -> "MinMax":
        """Scale of the given rows, which must come from training episodes only.

        A coordinate whose range is rounding (16 units in the last place, or 1e-12) counts as constant.

        Raises:
            DataError: There are no rows, or a value is not finite.
        """
        # non-finite values show in the bounds; testing every number would take much memory
        low, high = (values.amin(0).double(), values.amax(0).double()) if len(values) else (values.new_zeros(0),) * 2
        if not len(values) or not bool((low.isfinite() & high.isfinite()).all()):
            raise DataError(f"cannot fit a scale to {len(values)} rows: need at least one, and finite numbers only.")
        rounding = ROUNDING * torch.finfo(values.dtype).eps * torch.maximum(low.abs(), high.abs())
        constant = high - low <= rounding.clamp(min=NEGLIGIBLE)
        middle = low + (high - low) / 2
        return MinMax(
            low=torch.where(constant, middle, low),
            high=torch.where(constant, middle, high),
            names=None if names is None else tuple(names),
        )

    @property
    def constant(self) -> Bool[Tensor, " d"]:
        """Mask of the coordinates that never change."""
        return self.low == self.high

    @cached_property
    def centre(self) -> Float[Tensor, " d"]:
        """Value that is mapped to 0."""
        return self.low + (self.high - self.low) / 2

    @cached_property
    def half(self) -> Float[Tensor, " d"]:
        """Half of the range, which is mapped to 1; 1 for constant coordinates."""
        return torch.where(self.constant, torch.ones_like(self.low), (self.high - self.low) / 2)

    def normalize(self, x: Float[Tensor, "*b d"]) -> Float[Tensor, "*b d"]:
        """Normalised values z = (x − centre) / half, in the dtype of `x`; outside [-1, 1] beyond the fitted range."""
        self._check(x)
        return (x - self.centre.to(x)) / self.half.to(x)

    def denormalize(self, z: Float[Tensor, "*b d"]) -> Float[Tensor, "*b d"]:
        """Inverse of `normalize`: x = centre + half · z, in the dtype of `z`."""
        self._check(z)
        return self.centre.to(z) + self.half.to(z) * z

    def to(self, device: torch.device | str) -> "MinMax":
        """The same scale on another device."""
        return MinMax(low=self.low.to(device), high=self.high.to(device), names=self.names)

    def to_plain(self) -> dict[str, Any]:
        """JSON values, from which `from_plain` restores the same bits.

        >>> MinMax(low=torch.tensor([0.5]), high=torch.tensor([1.0]), names=("x",)).to_plain()
        {'low': [0.5], 'high': [1.0], 'names': ['x']}
        """
        names = None if self.names is None else list(self.names)
        return {"low": _floats(self.low), "high": _floats(self.high), "names": names}

    @staticmethod
    def from_plain(plain: Mapping[str, Any]) -> "MinMax":
        """The inverse of `to_plain`.

        Raises:
            DataError: A field is missing, or the numbers of bounds differ.
        """
        if not isinstance(plain, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise DataError(f"expected a stored scale with low and high, got {plain!r:.80}.")
        if missing := [key for key in ("low", "high") if key not in plain]:
            raise DataError(f"a stored scale lacks {' and '.join(missing)}; it holds {sorted(plain)}. Fit it again.")
        if unknown := sorted(plain.keys() - {"low", "high", "names"}):
            raise DataError(f"a stored scale has low, high and names, not {', '.join(unknown)!r:.80}.")
        low, high = _bounds(plain["low"]), _bounds(plain["high"])
        if len(low) != len(high):
            raise DataError(f"a stored scale has {len(low)} low and {len(high)} high bounds.")
        return MinMax(low=low, high=high, names=_texts(plain.get("names")))

    def _check(self, values: Tensor) -> None:
        if values.shape[-1:] != self.low.shape:
            raise ShapeError(
                f"this scale was fitted to {len(self.low)} coordinates, got an array of shape {list(values.shape)}. "
                "Give the quantity that it was fitted to, with coordinates last."
            )


def describe_constants(scale: MinMax, names: Sequence[str] | None = None) -> list[str]:
    """One sentence for each coordinate that is constant or nearly constant.

    Nearly constant: the range is below 1e-4 of the largest magnitude. `names` override those of the scale.

    >>> describe_constants(MinMax.fit(torch.tensor([[0.0, 7.0], [4.0, 7.0]])), ["x", "y"])
    ['y is constant (7): it maps to 0 and carries nothing.']
    """
    called = names or scale.names or [f"coordinate {index}" for index in range(len(scale.low))]
    bounds = zip(called, _floats(scale.low), _floats(scale.high), strict=True)
    return [text for name, low, high in bounds if (text := _describe(name, low, high))]


def _describe(name: str, low: float, high: float) -> str | None:
    if low == high:
        return f"{name} is constant ({low:g}): it maps to 0 and carries nothing."
    if high - low >= NEARLY * max(abs(low), abs(high)):
        return None
    return (
        f"{name} is nearly constant: it varies by {high - low:.3g} about {(low + high) / 2:g}. Scaling blows that up "
        f"{2 / (high - low):.3g} times; if it is sensor noise or rounding, leave the coordinate out."
    )


def _bounds(plain: Any) -> Float[Tensor, " d"]:
    """Bounds of a stored scale."""
    numbers = cast("list[Any]", plain) if isinstance(plain, list) else [cast(Any, None)]
    if not all(isinstance(number, int | float) and not isinstance(number, bool) for number in numbers):
        raise DataError(f"expected the bounds of a stored scale as a list of numbers, got {plain!r:.80}.")
    try:
        return torch.tensor([float(number) for number in numbers], dtype=torch.float64)
    except OverflowError as error:
        raise DataError("a bound of a stored scale is not finite. Fit it again.") from error


def _texts(plain: Any) -> tuple[str, ...] | None:
    """Names of a stored scale."""
    if plain is None:
        return None
    if not isinstance(plain, list) or not all(isinstance(name, str) for name in cast("list[Any]", plain)):
        raise DataError(f"expected the names of a stored scale as a list of texts, got {plain!r:.80}.")
    return tuple(cast("list[str]", plain))


def _floats(values: Float[Tensor, " d"]) -> list[float]:
    return [float(value) for value in values]
