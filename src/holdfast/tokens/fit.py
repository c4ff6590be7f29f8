"""Options and chunks → a tokenizer."""

from collections.abc import Callable
from typing import assert_never

from jaxtyping import Float
from torch import Tensor

from ..errors import DataError
from ..seeding import stream
from .base import Tokenizer
from .binning import fit_binning
from .fast import fit_fast
from .fsq import fit_fsq
from .kmeans import fit_kmeans
from .options import Binning, Fast, Fsq, KMeans, ResidualVq, TokenizerOptions
from .residual_vq import fit_residual_vq

__all__ = ["fit_tokenizer"]


def fit_tokenizer(
    options: TokenizerOptions,
    chunks: Float[Tensor, "n h w"],
    *,
    seed: int,
    dt: float | None = None,
    on_step: Callable[[int], None] = lambda done: None,
) -> Tokenizer:
    """Fit a tokenizer to chunks, which must come from training episodes only.

    Args:
        options: Which one, with which numbers.
        chunks: Codes of chunks, each coordinate normalised to about [-1, 1].
        seed: Of first centres, first weights and batches.
        dt: Seconds a step [s], where known; a tokenizer refuses chunks of another rate.
        on_step: Called with the number of updates done; a fit that takes none counts as one.

    Raises:
        DataError: No chunks, a number that is not finite, or too few chunks for these options.
        RecipeError: A vocabulary smaller than the integers that FAST needs a token each for.
        MissingExtraError: `Fast`, `ResidualVq` and `Fsq` need the extra `tokens`.

    >>> import torch
    >>> tokenizer = fit_tokenizer(Binning(bins=4, low=0.0, high=1.0), torch.tensor([[[-1.0], [1.0]]]), seed=0)
    >>> tokens = tokenizer.encode(torch.tensor([[[-0.9], [0.1]]]))
    >>> tokens.ids.tolist(), tokenizer.decode(tokens).flatten().tolist()
    ([[0, 2]], [-0.75, 0.25])
    """
    if not chunks.numel():
        raise DataError(f"cannot fit a tokenizer to chunks {list(chunks.shape)}: need at least one number.")
    if not bool(chunks.isfinite().all()):
        row = int((~chunks.isfinite()).nonzero()[0, 0])
        raise DataError(f"chunk {row} holds a number that is not finite. Leave it out, or repair the data.")
    match options:
        case Binning():
            fitted = fit_binning(options, chunks, dt)
        case KMeans():
            return fit_kmeans(options, chunks, dt, rng=stream(seed, "tokens", "kmeans"), on_step=on_step)
        case ResidualVq():
            return fit_residual_vq(options, chunks, dt, rng=stream(seed, "tokens", "residual-vq"), on_step=on_step)
        case Fsq():
            return fit_fsq(options, chunks, dt, rng=stream(seed, "tokens", "fsq"), on_step=on_step)
        case Fast():
            fitted = fit_fast(options, chunks, dt)
        case _:
            assert_never(options)
    on_step(1)
    return fitted
