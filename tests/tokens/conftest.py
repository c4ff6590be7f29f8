"""Chunks whose properties are known."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from holdfast.seeding import stream
from holdfast.tokens import Binning, Fast, Fsq, KMeans, ResidualVq, TokenizerOptions

SMALL: dict[str, TokenizerOptions] = {
    "binning": Binning(bins=32),
    "kmeans": KMeans(clusters=12),
    "residual-vq": ResidualVq(codes=8, latent=8, hidden=16, updates=30, batch_size=32),
    "fsq": Fsq(levels=(4, 3), hidden=16, updates=30, batch_size=32),
    "fast": Fast(vocabulary=300),
}


@pytest.fixture(scope="session")
def smooth() -> Callable[..., Tensor]:
    """Sums of two sines below 2 Hz, one second each, sampled at a rate, float64."""

    def make(count: int, rate: int = 10, width: int = 2, *, seed: int = 0) -> Tensor:
        rng = stream(seed, "tests", "smooth")
        drawn = [torch.rand(count, 1, width, generator=rng, dtype=torch.float64) for _ in range(6)]
        time = torch.arange(rate, dtype=torch.float64)[:, None] / rate
        waves = [torch.sin(2 * torch.pi * (2 * drawn[i] * time + drawn[i + 1])) * drawn[i + 2] for i in (0, 3)]
        return (waves[0] + waves[1]) / 2

    return make


@pytest.fixture(scope="session")
def small_options() -> list[TokenizerOptions]:
    """The options of all kinds of tokenizers, small."""
    return list(SMALL.values())


@pytest.fixture(scope="session", params=SMALL.values(), ids=SMALL.keys())
def small(request) -> TokenizerOptions:
    """Each kind of tokenizer, with options that fit in a moment."""
    return request.param
