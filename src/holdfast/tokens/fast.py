"""A chunk as compressed frequencies: FAST (Pertsch, Stachowicz, Ichter et al. 2025, arXiv 2501.09747, section V).

    z    = (x − centre) / half            each coordinate's 1 % and 99 % quantiles become −1 and 1
    c    = C z                            orthonormal cosine transform along time, each coordinate by itself
    n    = round(scale · c)               integers, lowest frequencies of all coordinates first
    ids  = merges of n                    byte-pair encoding: frequent pairs of tokens become one token

Smooth motion has few frequencies, so most integers are zero, and runs of zeros are single tokens: the length of a code
depends on the motion, not on the sampling rate. C is orthonormal, so an error of at most 1/(2·scale) per coefficient is
an error of the same root mean square in z.

The published tokenizer splits the text of the integers by the regular expression of GPT-2 before merging, so that no
token spans characters of two classes (letters, digits, punctuation), which depends on the characters that the integers
happen to be written as. Here merges may span any integers. Codes are shorter for it: on Push-T, chunks of 16 steps take
5.4 tokens here, and 6.9 with the published splitting.

Published decoders return zeros for a code of the wrong length; here such a code is an error, and codes that respect
`spans` always have the right length. Integers outside the range of the fit are clipped and counted by `saturated`.
"""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..errors import DataError, MissingExtraError, RecipeError, positive
from .base import Tokenizer, TokenizerOptions, Tokens
from .binning import quantiles

if TYPE_CHECKING:
    import tokenizers

MOST_LETTERS = 2**24
"""Largest number of integers for fitting merges; larger sets of chunks are subsampled."""
MOST_STEPS = 4096
"""Largest number of steps of a chunk: the cosine transform has their square of entries."""
FIRST = 0xF0000
"""Code point of the first integer: a private plane of Unicode, to which no normalisation applies."""


@dataclass(frozen=True)
class Fast(TokenizerOptions):
    """Rounded frequencies of a chunk, compressed by byte-pair encoding (FAST, Pertsch et al. 2025, arXiv 2501.09747).

    Attributes:
        scale: Rounding steps per unit of a coefficient; larger values give finer and longer codes.
        vocabulary: Largest number of tokens: one for each integer of the fit, the others are merges.
    """

    scale: float = 10.0
    vocabulary: int = 1024

    def __post_init__(self) -> None:
        positive(scale=self.scale)
        # each integer becomes a letter of one private plane of Unicode
        if not 2 <= self.vocabulary <= 65_000:
            raise RecipeError(f"expected a vocabulary from 2 to 65,000, got {self.vocabulary}.")

    def fit(self, chunks: Float[Tensor, "n h w"], *, seed: int, on_step: Callable[[int], None]) -> dict[str, Tensor]:
        """Quantiles, range of the integers and byte-pair merges of the chunks.

        Raises:
            RecipeError: The range of the integers exceeds the vocabulary.
            MissingExtraError: The package `tokenizers` is not installed.
        """
        low, high = quantiles(chunks.cpu(), 0.01, 0.99)
        rounded = _rounded(chunks.cpu(), low, high, self.scale).flatten(1)
        smallest, largest = int(rounded.min()), int(rounded.max())
        if largest - smallest + 1 > self.vocabulary:
            raise self._too_many_integers(smallest, largest, chunks.cpu(), low, high)
        some = rounded[:: math.ceil(rounded.numel() / MOST_LETTERS)]
        merges = _merged(_written(some.long() - smallest), largest - smallest + 1, self.vocabulary)
        on_step(1)
        return {
            "low": low,
            "high": high,
            "integers": torch.tensor([smallest, largest]),
            "merges": torch.frombuffer(bytearray(merges.encode()), dtype=torch.uint8),
        }

    def layout(self, horizon: int, width: int) -> dict[str, tuple[int, ...]]:
        if horizon > MOST_STEPS:
            raise RecipeError(f"expected a chunk of at most {MOST_STEPS} steps for FAST, got {horizon}.")
        return {"low": (width,), "high": (width,), "integers": (2,), "merges": (-1,)}

    def restore(self, tables: Mapping[str, Tensor], *, horizon: int, width: int, dt: float | None) -> Tokenizer:
        return FastTokenizer(options=self, horizon=horizon, width=width, dt=dt, tables=tables)

    def _too_many_integers(
        self, smallest: int, largest: int, chunks: Tensor, low: Float[Tensor, " w"], high: Float[Tensor, " w"]
    ) -> RecipeError:
        # the usual cause: the middle 98 % of a coordinate are close together, and the rest far away
        reach = chunks.abs().amax((0, 1)) / (high - low).clamp(min=torch.finfo(low.dtype).tiny)
        worst = int(reach.argmax())
        return RecipeError(
            f"at scale {self.scale:g} these chunks are integers from {smallest} to {largest}, and a vocabulary of "
            f"{self.vocabulary} has no token for each of them. Coordinate {worst} reaches farthest: 98 % of it lie "
            f"between {float(low[worst]):.3g} and {float(high[worst]):.3g}, which become -1 and 1. Set vocabulary to "
            f"{largest - smallest + 1} or more, or lower the scale."
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class FastTokenizer(Tokenizer):
    """Rounded frequencies, compressed; the cells of a token are its integers.

    Tables: `low` and `high` `[w]`, the 1 % and 99 % quantiles of each coordinate; `integers` `[2]`, the smallest and
    largest integer with a token; `merges`, the byte-pair model as bytes of JSON.
    """

    options: Fast

    @property
    def vocabulary(self) -> int:
        return len(self.spans)

    @property
    def length(self) -> int:
        return self.cells

    @property
    def cells(self) -> int:
        return self.horizon * self.width

    def saturated(self, chunks: Float[Tensor, "b h w"]) -> Float[Tensor, " w"]:
        """Share of each coordinate's coefficients that are clipped."""
        self._check(chunks)
        rounded, (smallest, largest) = self._rounded(chunks), self._range
        return ((rounded < smallest) | (rounded > largest)).to(chunks).mean((0, 1))

    def _encode(self, chunks: Float[Tensor, "b h w"]) -> Tokens:
        smallest, largest = self._range
        clipped = self._rounded(chunks).clamp(smallest, largest).flatten(1)
        codes = [code.ids for code in self._model.encode_batch(_written(clipped.long() - smallest))]
        lengths = torch.tensor([len(code) for code in codes], device=chunks.device)
        longest = max(map(len, codes), default=0)
        mask = torch.arange(longest, device=chunks.device) < lengths[:, None]
        ids = torch.zeros(mask.shape, dtype=torch.int64, device=chunks.device)
        ids[mask] = torch.tensor([id for code in codes for id in code], dtype=torch.int64, device=chunks.device)
        return Tokens(ids=ids, mask=mask)

    def _decode(self, ids: Int[Tensor, " tokens"], count: int | torch.SymInt) -> Float[Tensor, "b h w"]:
        letters, spans = self._concatenated.to(ids.device), self.spans.to(ids.device)
        starts = (spans.cumsum(0) - spans)[ids].repeat_interleave(spans[ids])
        # index within its token: all letters so far minus those of the tokens before
        within = torch.arange(len(starts), device=ids.device)
        within -= (spans[ids].cumsum(0) - spans[ids]).repeat_interleave(spans[ids])
        integers = letters[starts + within].view(count, self.horizon, self.width)
        frequencies = integers.to(self.dtype) / self.options.scale
        scaled = cosines(self.horizon).to(frequencies).T @ frequencies
        centre, half = _centre_and_half(self.tables["low"].to(scaled), self.tables["high"].to(scaled))
        return centre + half * scaled

    def _rounded(self, chunks: Float[Tensor, "b h w"]) -> Float[Tensor, "b h w"]:
        return _rounded(chunks, self.tables["low"].to(chunks), self.tables["high"].to(chunks), self.options.scale)

    @property
    def _range(self) -> tuple[int, int]:
        return int(self.tables["integers"][0]), int(self.tables["integers"][1])

    @cached_property
    def _letters(self) -> list[str]:
        """Letters of each token, by id; read without the extra, which decoding does not need."""
        vocabulary: dict[str, int] = json.loads(self.tables["merges"].numpy().tobytes())["model"]["vocab"]
        return sorted(vocabulary, key=vocabulary.__getitem__)

    @property
    def spans(self) -> Int[Tensor, " vocabulary"]:
        return self._spans

    @cached_property
    def _spans(self) -> Int[Tensor, " vocabulary"]:
        return torch.tensor([len(letters) for letters in self._letters], device="cpu")

    @cached_property
    def _concatenated(self) -> Int[Tensor, " letters"]:
        """The integers of all tokens, concatenated."""
        integers = [ord(letter) - FIRST + self._range[0] for letter in "".join(self._letters)]
        return torch.tensor(integers, device="cpu")

    @cached_property
    def _model(self) -> "tokenizers.Tokenizer":
        try:
            import tokenizers  # an extra
        except ImportError as error:
            raise MissingExtraError("tokenizers", extra="tokens") from error
        try:
            return tokenizers.Tokenizer.from_str(self.tables["merges"].numpy().tobytes().decode())
        except Exception as error:  # the package raises nothing more special
            raise DataError(f"the merges of this tokenizer are damaged ({error}). Fit it again.") from error


def cosines(steps: int) -> Float[Tensor, "frequencies steps"]:
    """The orthonormal cosine transform (DCT-II) as a matrix, float64; its transpose is its inverse.

        C[k, t] = √(2/h) cos(π k (t + ½) / h),    C[0, t] = √(1/h)

    >>> C = cosines(5)
    >>> torch.allclose(C @ C.T, torch.eye(5, dtype=torch.float64))
    True
    """
    time = torch.arange(steps, dtype=torch.float64)
    matrix = math.sqrt(2 / steps) * torch.cos(math.pi / steps * time[:, None] * (time + 0.5))
    matrix[0] = math.sqrt(1 / steps)
    return matrix


def _centre_and_half(
    low: Float[Tensor, " w"], high: Float[Tensor, " w"]
) -> tuple[Float[Tensor, " w"], Float[Tensor, " w"]]:
    # a constant coordinate is only shifted
    return low + (high - low) / 2, torch.where(high > low, (high - low) / 2, torch.ones_like(low))


def _rounded(
    chunks: Float[Tensor, "b h w"], low: Float[Tensor, " w"], high: Float[Tensor, " w"], scale: float
) -> Float[Tensor, "b h w"]:
    """Rounded coefficients `[b, frequency, w]`."""
    centre, half = _centre_and_half(low, high)
    return (cosines(chunks.shape[1]).to(chunks) @ ((chunks - centre) / half) * scale).round()


def _written(integers: Int[Tensor, "b cells"]) -> list[str]:
    """Each row as a word with one letter per integer."""
    letters = (integers + FIRST).cpu().numpy().astype(np.dtype("<u4"))
    return [row.tobytes().decode("utf-32-le") for row in letters]


def _merged(words: list[str], letters: int, vocabulary: int) -> str:
    """A byte-pair model of words, as JSON; every letter is a token, even if it does not occur."""
    try:
        from tokenizers import Tokenizer as BytePairs  # an extra
        from tokenizers.models import BPE
        from tokenizers.trainers import BpeTrainer
    except ImportError as error:
        raise MissingExtraError("tokenizers", extra="tokens") from error
    model = BytePairs(BPE())
    alphabet = [chr(FIRST + letter) for letter in range(letters)]
    trainer = BpeTrainer(vocab_size=vocabulary, min_frequency=2, show_progress=False, initial_alphabet=alphabet)
    model.train_from_iterator(words, trainer)
    return model.to_str()
