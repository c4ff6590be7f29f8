"""One token per number: uniform intervals between two quantiles.

    id = clip(⌊(x − low) / δ⌋, 0, bins − 1),    x̂ = low + (id + ½) δ,    δ = (high − low) / bins

so |x̂ − x| ≤ δ/2 wherever low ≤ x ≤ high; outside, x̂ is the outermost centre. (RT-1, Brohan et al. 2022, arXiv
2212.06817; OpenVLA, Kim et al. 2024, arXiv 2406.09246.)
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..errors import RecipeError, at_least
from .base import Tokenizer, TokenizerOptions, Tokens, of_equal_length


@dataclass(frozen=True)
class Binning(TokenizerOptions):
    """One token per number: the index of its interval between two quantiles (RT-1; OpenVLA).

    There are `bins` intervals with `bins` centres. The published "256 bins" of OpenVLA are 256 *edges*, thus 255
    intervals: `Binning(bins=255)`.

    Attributes:
        bins: Number of intervals of each coordinate.
        low: Quantile at which the first interval begins; 0 is the minimum.
        high: Quantile at which the last interval ends; 1 is the maximum.
    """

    bins: int = 256
    low: float = 0.01
    high: float = 0.99

    def __post_init__(self) -> None:
        at_least(1, bins=self.bins)
        if not 0 <= self.low < self.high <= 1:
            raise RecipeError(f"expected quantiles 0 <= low < high <= 1, got {self.low} and {self.high}.")

    def fit(self, chunks: Float[Tensor, "n h w"], *, seed: int, on_step: Callable[[int], None]) -> dict[str, Tensor]:
        low, high = quantiles(chunks.cpu(), self.low, self.high)
        on_step(1)
        return {"low": low, "high": high}

    def layout(self, horizon: int, width: int) -> dict[str, tuple[int, ...]]:
        return {"low": (width,), "high": (width,)}

    def restore(self, tables: Mapping[str, Tensor], *, horizon: int, width: int, dt: float | None) -> Tokenizer:
        return BinningTokenizer(options=self, horizon=horizon, width=width, dt=dt, tables=tables)


@dataclass(frozen=True, kw_only=True, eq=False)
class BinningTokenizer(Tokenizer):
    """Uniform intervals; token `i` of a code is number `i % w` of step `i // w`.

    Tables: `low` `[w]`, the start of each coordinate's first interval, and `high` `[w]`, the end of its last one.
    """

    options: Binning

    @property
    def vocabulary(self) -> int:
        return self.options.bins

    @property
    def length(self) -> int:
        return self.horizon * self.width

    @property
    def step_of(self) -> Int[Tensor, " length"]:
        return torch.arange(self.length, device="cpu") // self.width

    def saturated(self, chunks: Float[Tensor, "b h w"]) -> Float[Tensor, " w"]:
        self._check(chunks)
        low, high = self.tables["low"].to(chunks), self.tables["high"].to(chunks)
        return ((chunks < low) | (chunks > high)).to(chunks).mean((0, 1))

    def _encode(self, chunks: Float[Tensor, "b h w"]) -> Tokens:
        low, interval = self.tables["low"].to(chunks), self._interval.to(chunks)
        # the intervals of a constant coordinate have width 0: the centre of each is its value
        places = (chunks - low) / torch.where(interval > 0, interval, torch.ones_like(interval))
        # clipped before the conversion to integers, which may overflow
        return of_equal_length(places.floor().clamp(0, self.options.bins - 1).long().flatten(1))

    def _decode(self, ids: Int[Tensor, " tokens"], count: int | torch.SymInt) -> Float[Tensor, "b h w"]:
        places = ids.view(count, self.horizon, self.width).to(self.dtype) + 0.5
        return self.tables["low"].to(ids.device) + places * self._interval.to(ids.device)

    @property
    def _interval(self) -> Float[Tensor, " w"]:
        return (self.tables["high"] - self.tables["low"]) / self.options.bins


def quantiles(
    chunks: Float[Tensor, "n h w"], low: float, high: float
) -> tuple[Float[Tensor, " w"], Float[Tensor, " w"]]:
    """Two quantiles of each coordinate, interpolated linearly.

    >>> quantiles(torch.arange(101.0).view(101, 1, 1), 0.01, 0.5)
    (tensor([1.]), tensor([50.]))
    """
    # torch.quantile refuses more than 16 million numbers
    ordered = chunks.flatten(0, 1).sort(0).values
    found = list[Tensor]()
    for share in (low, high):
        place = share * (len(ordered) - 1)
        below = int(place)
        above = min(below + 1, len(ordered) - 1)
        found.append(ordered[below].lerp(ordered[above], place - below))
    return found[0], found[1]
