"""The interface of tokenizers: options that fit one, and fitted tokenizers.

A code is a sequence of tokens, whose completeness is counted in *cells*: token `i` fills `spans[i]` cells, and a
complete code fills exactly `cells`. A model that chooses only tokens that still fit therefore always writes decodable
codes, and some token always fits, because there are tokens that fill a single cell.

    tokenizer       cells       spans
    fixed length    length      all 1
    FAST            h · w       integers in the token
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ..errors import DataError, ShapeError

SAME_RATE = 1e-3
"""Relative tolerance for equal control steps; recorded ones are rounded."""


@dataclass(frozen=True, kw_only=True)
class Tokens:
    """Codes of chunks, left-aligned.

    Attributes:
        ids: Token ids, 0 where masked.
        mask: True for tokens, False for padding.
    """

    ids: Int[Tensor, "b l"]
    mask: Bool[Tensor, "b l"]

    @property
    def lengths(self) -> Int[Tensor, " b"]:
        """Number of tokens of each code."""
        return self.mask.sum(1)


class TokenizerOptions(ABC):
    """Options of a tokenizer: a frozen dataclass that fits the tokenizer it describes, and restores a stored one."""

    @property
    def n_updates(self) -> int:
        """Largest number of updates that a fit reports."""
        return 1

    @abstractmethod
    def fit(self, chunks: Float[Tensor, "n h w"], *, seed: int, on_step: Callable[[int], None]) -> dict[str, Tensor]:
        """Tables of a tokenizer fitted to checked chunks; the arguments are those of `fit_tokenizer`."""

    @abstractmethod
    def layout(self, horizon: int, width: int) -> dict[str, tuple[int, ...]]:
        """Shape of each fitted table for chunks of these sizes; −1 stands for any length."""

    @abstractmethod
    def restore(self, tables: Mapping[str, Tensor], *, horizon: int, width: int, dt: float | None) -> "Tokenizer":
        """The tokenizer with fitted tables, for chunks of these sizes."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Tokenizer(ABC):
    """A fitted map between normalised chunks and tokens.

    Encoding computes on the device and in the dtype of the chunks; decoding on the device of the tokens, in the dtype
    of the chunks that the tokenizer was fitted to.

    Attributes:
        options: Options that it was fitted with.
        horizon: Steps of a chunk.
        width: Size of a step.
        dt: Seconds per step of the chunks that it was fitted to [s], if known.
        tables: All fitted tensors, by name.
    """

    options: TokenizerOptions
    horizon: int
    width: int
    dt: float | None = None
    tables: Mapping[str, Tensor]

    @property
    @abstractmethod
    def vocabulary(self) -> int:
        """Number of different tokens; ids are 0 to vocabulary − 1."""

    @property
    @abstractmethod
    def length(self) -> int:
        """Largest number of tokens of a code."""

    @property
    def cells(self) -> int:
        """Number of cells that a complete code fills."""
        return self.length

    @property
    def spans(self) -> Int[Tensor, " vocabulary"]:
        """Number of cells that each token fills, at least 1."""
        # on the processor, also while a model is built without memory (`torch.device("meta")`)
        return torch.ones(self.vocabulary, dtype=torch.int64, device="cpu")

    @property
    def step_of(self) -> Int[Tensor, " length"] | None:
        """Chunk step described by each token, ascending; `None` if tokens describe several steps."""
        return None

    @property
    def dtype(self) -> torch.dtype:
        """Dtype of decoded chunks: that of the chunks that the tokenizer was fitted to."""
        return next(table.dtype for table in self.tables.values() if table.is_floating_point())

    def encode(self, chunks: Float[Tensor, "b h w"]) -> Tokens:
        """The codes of chunks.

        Raises:
            ShapeError: The chunks have another horizon or width than those of the fit.
            DataError: A number is not finite.
        """
        self._check(chunks)
        return self._encode(chunks)

    def decode(self, tokens: Tokens) -> Float[Tensor, "b h w"]:
        """The chunks of codes.

        Raises:
            DataError: A code is incomplete or too long, or a token does not exist.
        """
        ids = tokens.ids[tokens.mask]
        if len(ids) and not 0 <= int(ids.min()) <= int(ids.max()) < self.vocabulary:
            raise DataError(
                f"expected token ids from 0 to {self.vocabulary - 1}, got {int(ids.min())} to {int(ids.max())} of a "
                f"vocabulary of {self.vocabulary}. Decode with the tokenizer that encoded."
            )
        filled = (self.spans.to(ids.device)[tokens.ids * tokens.mask] * tokens.mask).sum(1)
        if bool((filled != self.cells).any()):
            row = int((filled != self.cells).nonzero()[0])
            raise DataError(
                f"the code of row {row} has {int(tokens.mask[row].sum())} tokens that fill {int(filled[row])} cells; a "
                f"chunk of {self.horizon} steps of {self.width} fills {self.cells}. Allow only tokens whose span still "
                "fits while a code is sampled."
            )
        with torch.no_grad():
            return self._decode(ids, len(filled))

    def decode_full(self, ids: Int[Tensor, "b l"]) -> Float[Tensor, "b h w"]:
        """The chunks of codes of this tokenizer's full length, all of whose tokens exist and fill one cell: unchecked.

        Nothing in it depends on the values of the tokens, so that it can be traced (`torch.export`).
        """
        with torch.no_grad():
            return self._decode(ids.flatten(), ids.shape[0])

    def saturated(self, chunks: Float[Tensor, "b h w"]) -> Float[Tensor, " w"]:
        """Share of each coordinate's values that are clipped in encoding."""
        self._check(chunks)
        return chunks.new_zeros(self.width)

    def check_rate(self, dt: float | None) -> None:
        """Refuse chunks of another control rate; an unknown rate is accepted.

        Raises:
            DataError: The rates differ.
        """
        if dt is None or self.dt is None or math.isclose(dt, self.dt, rel_tol=SAME_RATE):
            return
        raise DataError(
            f"this tokenizer was fitted on steps of {self.dt:g} s ({1 / self.dt:.4g} Hz), these are of {dt:g} s "
            f"({1 / dt:.4g} Hz), where its codes are other motions. Fit one to this rate, or resample the data."
        )

    @abstractmethod
    def _encode(self, chunks: Float[Tensor, "b h w"]) -> Tokens:
        """The codes of checked chunks."""

    @abstractmethod
    def _decode(self, ids: Int[Tensor, " tokens"], count: int | torch.SymInt) -> Float[Tensor, "b h w"]:
        """The chunks of `count` complete codes, whose tokens are concatenated."""

    def _check(self, chunks: Float[Tensor, "b h w"]) -> None:
        if tuple(chunks.shape[1:]) != (self.horizon, self.width):
            raise ShapeError(
                f"this tokenizer was fitted on chunks of {self.horizon} steps of {self.width} numbers, got "
                f"{chunks.shape[1]} steps of {chunks.shape[2]}. Fit one to these."
            )
        if not bool(chunks.isfinite().all()):
            row = int((~chunks.isfinite()).nonzero()[0, 0])
            raise DataError(f"chunk {row} holds a number that is not finite. Remove it, or repair the data.")


def of_equal_length(ids: Int[Tensor, "b l"]) -> Tokens:
    """Codes without padding.

    >>> of_equal_length(torch.zeros(2, 3, dtype=torch.int64)).lengths.tolist()
    [3, 3]
    """
    return Tokens(ids=ids, mask=torch.ones_like(ids, dtype=torch.bool))
