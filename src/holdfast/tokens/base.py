"""The interface of tokenizers: options that fit one, and fitted tokenizers.

A code is a sequence of tokens, and what makes it whole is counted in *cells*: token `i` fills `spans[i]` cells, and a
chunk's code fills exactly `cells`. A model that only chooses tokens which still fit therefore never writes a code that
cannot be read, and some token always fits, because tokens that fill a single cell exist.

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

from ..errors import DataError, RecipeError, ShapeError

__all__ = ["Tokenizer", "TokenizerOptions", "Tokens", "at_least", "of_equal_length", "positive"]

SAME_RATE = 1e-3
"""Control steps that differ by less than this share are the same; recorded ones are rounded."""


@dataclass(frozen=True, kw_only=True)
class Tokens:
    """The codes of some chunks, laid to the left.

    Attributes:
        ids: Tokens, from 0; 0 where there is none.
        mask: True where there is a token.
    """

    ids: Int[Tensor, "b l"]
    mask: Bool[Tensor, "b l"]

    @property
    def lengths(self) -> Int[Tensor, " b"]:
        """Tokens of each code."""
        return self.mask.sum(1)


class TokenizerOptions(ABC):
    """Options of a tokenizer: a frozen dataclass that fits the tokenizer it describes, and restores a stored one."""

    @property
    def n_updates(self) -> int:
        """Largest number of updates that a fit reports."""
        return 1

    @abstractmethod
    def fit(
        self, chunks: Float[Tensor, "n h w"], *, dt: float | None, seed: int, on_step: Callable[[int], None]
    ) -> "Tokenizer":
        """A tokenizer fitted to checked chunks; the arguments are those of `fit_tokenizer`."""

    @abstractmethod
    def restore(self, tables: Mapping[str, Tensor], *, horizon: int, width: int, dt: float | None) -> "Tokenizer":
        """The fitted tokenizer whose `tables` these are."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Tokenizer(ABC):
    """A fitted map of normalised chunks to tokens and back: a value, with nothing left to learn.

    Its tables go to the device of what they are used on; encoding computes in the dtype of the chunks, decoding in
    that of the chunks that the tokenizer was fitted on.

    Attributes:
        options: What it was fitted with.
        horizon: Steps of a chunk.
        width: Numbers a step.
        dt: Seconds a step of the chunks that it was fitted on [s], where known.
    """

    options: TokenizerOptions
    horizon: int
    width: int
    dt: float | None = None

    @property
    @abstractmethod
    def vocabulary(self) -> int:
        """How many tokens there are; ids run from 0 to one below."""

    @property
    @abstractmethod
    def length(self) -> int:
        """Most tokens that a chunk can take."""

    @property
    def cells(self) -> int:
        """What a whole code fills."""
        return self.length

    @property
    def spans(self) -> Int[Tensor, " vocabulary"]:
        """Cells that each token fills, at least 1."""
        return torch.ones(self.vocabulary, dtype=torch.int64)

    @property
    def step_of(self) -> Int[Tensor, " length"] | None:
        """The chunk step that each token tells of, ascending; `None` where tokens tell of several steps."""
        return None

    @property
    @abstractmethod
    def tables(self) -> Mapping[str, Tensor]:
        """Everything that was fitted."""

    @property
    def dtype(self) -> torch.dtype:
        """Of decoded chunks: that of the chunks it was fitted on."""
        return next(table.dtype for table in self.tables.values() if table.is_floating_point())

    def encode(self, chunks: Float[Tensor, "b h w"]) -> Tokens:
        """The codes of chunks.

        Raises:
            ShapeError: Chunks of other steps or widths than it was fitted on.
            DataError: A number that is not finite.
        """
        self._check(chunks)
        return self._encode(chunks)

    def decode(self, tokens: Tokens) -> Float[Tensor, "b h w"]:
        """The chunks that codes stand for.

        Raises:
            DataError: A code that fills more or fewer cells than a chunk has, or a token that does not exist.
        """
        ids = tokens.ids[tokens.mask]
        if len(ids) and not 0 <= int(ids.min()) <= int(ids.max()) < self.vocabulary:
            raise DataError(
                f"tokens {int(ids.min())} to {int(ids.max())} of a vocabulary of {self.vocabulary}, whose ids run from "
                "0. Decode with the tokenizer that encoded."
            )
        filled = (self.spans.to(ids.device)[tokens.ids * tokens.mask] * tokens.mask).sum(1)
        if bool((filled != self.cells).any()):
            row = int((filled != self.cells).nonzero()[0])
            raise DataError(
                f"the code of row {row} has {int(tokens.mask[row].sum())} tokens that fill {int(filled[row])} cells; a "
                f"chunk of {self.horizon} steps of {self.width} fills {self.cells}. Allow only tokens whose span still "
                "fits while a code is written."
            )
        with torch.no_grad():
            return self._decode(ids, len(filled))

    def saturated(self, chunks: Float[Tensor, "b h w"]) -> Float[Tensor, " w"]:
        """Share of each coordinate's numbers that lie beyond what tokens can say."""
        self._check(chunks)
        return chunks.new_zeros(self.width)

    def check_rate(self, dt: float | None) -> None:
        """Refuse chunks of another control rate; a rate that is not known on either side is not judged.

        Raises:
            DataError: Another rate.
        """
        if dt is None or self.dt is None or math.isclose(dt, self.dt, rel_tol=SAME_RATE):
            return
        raise DataError(
            f"this tokenizer was fitted on steps of {self.dt:g} s ({1 / self.dt:.4g} Hz), these are of {dt:g} s "
            f"({1 / dt:.4g} Hz): its codes would tell of other motions. Fit one to this rate, or resample the data."
        )

    @abstractmethod
    def _encode(self, chunks: Float[Tensor, "b h w"]) -> Tokens:
        """The codes of chunks that fit."""

    @abstractmethod
    def _decode(self, ids: Int[Tensor, " tokens"], count: int) -> Float[Tensor, "b h w"]:
        """The chunks of `count` whole codes, given end to end."""

    def _check(self, chunks: Float[Tensor, "b h w"]) -> None:
        if tuple(chunks.shape[1:]) != (self.horizon, self.width):
            raise ShapeError(
                f"this tokenizer was fitted on chunks of {self.horizon} steps of {self.width} numbers, got "
                f"{chunks.shape[1]} steps of {chunks.shape[2]}. Fit one to these."
            )
        if not bool(chunks.isfinite().all()):
            row = int((~chunks.isfinite()).nonzero()[0, 0])
            raise DataError(f"chunk {row} holds a number that is not finite. Leave it out, or repair the data.")


def at_least(least: int, **numbers: int) -> None:
    """Refuse smaller numbers with a `RecipeError` that names them."""
    for name, number in numbers.items():
        if number < least:
            raise RecipeError(f"expected {name} of at least {least}, got {number}.")


def positive(**numbers: float) -> None:
    """Refuse numbers that are not positive and finite with a `RecipeError` that names them."""
    for name, number in numbers.items():
        if not 0 < number < math.inf:
            raise RecipeError(f"expected a {name} above 0, got {number}.")


def of_equal_length(ids: Int[Tensor, "b l"]) -> Tokens:
    """Codes of which every place is filled.

    >>> of_equal_length(torch.zeros(2, 3, dtype=torch.int64)).lengths.tolist()
    [3, 3]
    """
    return Tokens(ids=ids, mask=torch.ones_like(ids, dtype=torch.bool))
