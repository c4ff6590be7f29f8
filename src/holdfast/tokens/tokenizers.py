"""Table of the tokenizers: name on the command line → default options.

Adding a tokenizer takes its file, with an options class (`TokenizerOptions`) that fits and restores it, one line in
`TOKENIZERS`, and one line in the contract suite (`SMALL` in tests/tokens/conftest.py; a test fails until it is there).
"""

from collections.abc import Callable, Mapping
from typing import Annotated

from jaxtyping import Float
from torch import Tensor

from ..errors import DataError, UnknownNameError
from ..schema import Alternatives
from .base import Tokenizer, TokenizerOptions
from .binning import Binning
from .fast import Fast
from .fsq import Fsq
from .kmeans import KMeans
from .residual_vq import ResidualVq

TOKENIZERS: Mapping[str, TokenizerOptions] = {
    "binning": Binning(),
    "kmeans": KMeans(),
    "residual-vq": ResidualVq(),
    "fsq": Fsq(),
    "fast": Fast(),
}

TOKENIZER_NAMES = tuple(TOKENIZERS)

TokenizerChoice = Annotated[TokenizerOptions, Alternatives.of(TOKENIZERS.values())]
"""Options of any tokenizer in the table; a stored recipe names their class."""


def tokenizer_named(name: str) -> TokenizerOptions:
    """The default options of a tokenizer.

    Raises:
        UnknownNameError: No tokenizer has this name.
    """
    if name not in TOKENIZERS:
        raise UnknownNameError("tokenizer", name, TOKENIZERS)
    return TOKENIZERS[name]


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
        options: Options of the tokenizer.
        chunks: Codes of chunks, each coordinate normalised to about [-1, 1].
        seed: Random seed for initial centres, initial weights and batches.
        dt: Seconds per step [s], if known; a tokenizer refuses chunks of another rate.
        on_step: Called with the number of updates done; a fit without updates counts as one.

    Raises:
        DataError: No chunks, a number that is not finite, or too few chunks for these options.
        RecipeError: The vocabulary is smaller than the number of integers that FAST needs tokens for.
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
        raise DataError(f"chunk {row} holds a number that is not finite. Remove it, or repair the data.")
    tables = options.fit(chunks, seed=seed, on_step=on_step)
    return options.restore(tables, horizon=chunks.shape[1], width=chunks.shape[2], dt=dt)
