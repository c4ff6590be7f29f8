"""Which tokenizer, with which numbers."""

import math
from dataclasses import dataclass

from ..errors import RecipeError

__all__ = ["Binning", "Fast", "Fsq", "KMeans", "ResidualVq", "TokenizerOptions"]


@dataclass(frozen=True)
class Binning:
    """One token a number: which of equal intervals between two quantiles it lies in (RT-1; OpenVLA).

    The count is honest: `bins` intervals, `bins` centres. The published "256 bins" of OpenVLA are 256 *edges*, thus
    255 intervals: `Binning(bins=255)`.

    Attributes:
        bins: Intervals of each coordinate.
        low: Quantile where the first interval begins; 0 is the smallest number seen.
        high: Quantile where the last one ends; 1 is the largest number seen.
    """

    bins: int = 256
    low: float = 0.01
    high: float = 0.99

    def __post_init__(self) -> None:
        _at_least(1, bins=self.bins)
        if not 0 <= self.low < self.high <= 1:
            raise RecipeError(f"expected quantiles 0 <= low < high <= 1, got {self.low} and {self.high}.")


@dataclass(frozen=True)
class KMeans:
    """One token a step: the nearest of some centres (BeT, Shafiullah et al. 2022, arXiv 2206.11251).

    Attributes:
        clusters: Centres.
        iterations: Rounds of Lloyd's algorithm at the most; it ends sooner where nothing moves any more.
    """

    clusters: int = 64
    iterations: int = 50

    def __post_init__(self) -> None:
        _at_least(1, clusters=self.clusters, iterations=self.iterations)


@dataclass(frozen=True)
class ResidualVq:
    """A whole chunk as a few codes, each of what those before it left over (VQ-BeT, Lee et al. 2024, arXiv 2403.03181).

    Attributes:
        groups: Codes, and tokens, of a chunk; the first says most.
        codes: Entries of each codebook.
        latent: Numbers of the vector that is quantised.
        hidden: Units of the hidden layers of encoder and decoder.
        updates: Training steps.
        batch_size: Chunks of a step.
        learning_rate: Of Adam.
        commitment: Weight of the commitment loss beside the mean absolute error.
    """

    groups: int = 2
    codes: int = 16
    latent: int = 128
    hidden: int = 128
    updates: int = 2000
    batch_size: int = 128
    learning_rate: float = 1e-3
    commitment: float = 5.0

    def __post_init__(self) -> None:
        _at_least(1, groups=self.groups, latent=self.latent, hidden=self.hidden)
        _at_least(1, updates=self.updates, batch_size=self.batch_size)
        _at_least(2, codes=self.codes)
        _positive(learning_rate=self.learning_rate, commitment=self.commitment)


@dataclass(frozen=True)
class Fsq:
    """One token for every few steps: numbers of a small latent, each rounded to one of a few levels.

    Finite scalar quantisation (Mentzer et al. 2023, arXiv 2309.15505) of chunks, as in QueST (Mete et al. 2024,
    arXiv 2407.15840). A token is computed from its own steps and those before them.

    Attributes:
        levels: Levels of each number of the latent; their product is the vocabulary.
        stride: Steps a token.
        hidden: Units of the hidden layers of encoder and decoder.
        updates: Training steps.
        batch_size: Chunks of a step.
        learning_rate: Of Adam.
    """

    levels: tuple[int, ...] = (8, 5, 5, 5)
    stride: int = 4
    hidden: int = 128
    updates: int = 2000
    batch_size: int = 128
    learning_rate: float = 1e-3

    def __post_init__(self) -> None:
        if not self.levels or min(self.levels) < 3:
            raise RecipeError(f"expected at least one number of at least 3 levels, got levels {self.levels}.")
        _at_least(1, stride=self.stride, hidden=self.hidden, updates=self.updates, batch_size=self.batch_size)
        _positive(learning_rate=self.learning_rate)


@dataclass(frozen=True)
class Fast:
    """A chunk's rounded frequencies, compressed by byte-pair merges (FAST, Pertsch et al. 2025, arXiv 2501.09747).

    Attributes:
        scale: Steps of rounding a unit of a coefficient; larger is finer and longer.
        vocabulary: Most tokens there are: one for each integer seen, the rest merges.
    """

    scale: float = 10.0
    vocabulary: int = 1024

    def __post_init__(self) -> None:
        _positive(scale=self.scale)
        # each integer becomes a letter of one private plane of Unicode
        if not 2 <= self.vocabulary <= 65_000:
            raise RecipeError(f"expected a vocabulary from 2 to 65,000, got {self.vocabulary}.")


TokenizerOptions = Binning | KMeans | ResidualVq | Fsq | Fast


def _at_least(least: int, **numbers: int) -> None:
    for name, number in numbers.items():
        if number < least:
            raise RecipeError(f"expected {name} of at least {least}, got {number}.")


def _positive(**numbers: float) -> None:
    for name, number in numbers.items():
        if not 0 < number < math.inf:
            raise RecipeError(f"expected a {name} above 0, got {number}.")
