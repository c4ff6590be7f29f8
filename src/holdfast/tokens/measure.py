"""Measures of a tokenizer: length of codes, round-trip error, and the effect of a wrong token.

The errors of a policy over tokens are wrong tokens. Two measures give their effect on actions: *sensitivity*, the
distance that the decoded chunk moves when one token is replaced by another of the same span, and *smoothness*, how
often a small change of the chunk changes its code, and how far the decoded chunk then jumps. Errors and jumps are in
normalised units; the distance of two chunks is the largest Euclidean distance of their steps.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ..errors import DataError
from .base import Tokenizer, Tokens

SIZES = (0.001, 0.01, 0.1)
MOST_REPLACED = 256
"""Number of chunks for sensitivity."""
MOST_MOVED = 2048
MANY_CELLS = 2**22
"""Limit on the numbers decoded at once."""


@dataclass(frozen=True, kw_only=True)
class Smoothness:
    """Effect of small changes of a chunk.

    Attributes:
        size: Size of the change: each number of the chunk changes by ± size.
        changed: Share of chunks whose code changed.
        jump: Mean distance that the decoded chunk moved if its code changed; 0 if none did.
        largest_jump: Largest such distance.
    """

    size: float
    changed: float
    jump: float
    largest_jump: float


@dataclass(frozen=True, kw_only=True)
class TokenizerReport:
    """Measures of a tokenizer on a set of chunks.

    Attributes:
        chunks: Number of chunks.
        tokens: Mean number of tokens per chunk.
        fewest_tokens: Smallest number of tokens of a chunk.
        most_tokens: Largest number of tokens of a chunk.
        naive_tokens: Number of tokens with one token per number, h · w.
        compression: `naive_tokens / tokens`.
        rms_error: Root mean square round-trip error of each coordinate.
        largest_error: Largest round-trip error of each coordinate.
        error_at_step: Root mean square round-trip error of each chunk step, over coordinates.
        saturated: Share of each coordinate's values that are clipped in encoding.
        vocabulary: Number of different tokens.
        used: Share of the vocabulary that occurs.
        perplexity: Effective number of tokens, exp of the entropy of their frequencies.
        sensitivity: Mean distance that the decoded chunk moves by one wrong token.
        sensitivity_95: 95 % quantile of that distance.
        sensitivity_at: Mean by position in the code; NaN if no token could be replaced.
        smoothness: Smoothness for each size of change.
    """

    chunks: int
    tokens: float
    fewest_tokens: int
    most_tokens: int
    naive_tokens: int
    compression: float
    rms_error: tuple[float, ...]
    largest_error: tuple[float, ...]
    error_at_step: tuple[float, ...]
    saturated: tuple[float, ...]
    vocabulary: int
    used: float
    perplexity: float
    sensitivity: float
    sensitivity_95: float
    sensitivity_at: tuple[float, ...]
    smoothness: tuple[Smoothness, ...]


def measure_tokenizer(
    tokenizer: Tokenizer, chunks: Float[Tensor, "n h w"], *, rng: torch.Generator, sizes: Sequence[float] = SIZES
) -> TokenizerReport:
    """Measure a tokenizer on chunks, preferably held-out ones.

    Lengths, errors and counts use all chunks, sensitivity a sample of 256, smoothness one of 2048.

    Raises:
        DataError: There are no chunks, or a number is not finite.
        ShapeError: The chunks have another horizon or width than those of the fit.
    """
    if not len(chunks):
        raise DataError("cannot measure a tokenizer on no chunks. Provide at least one.")
    tokens = tokenizer.encode(chunks)
    errors = _decoded(tokenizer, tokens).to(chunks) - chunks
    squares = errors.double().square()
    counts = torch.bincount(tokens.ids[tokens.mask].flatten(), minlength=tokenizer.vocabulary)
    lengths = tokens.lengths
    mean = float(lengths.double().mean())
    naive = tokenizer.horizon * tokenizer.width
    moves = _moves(tokenizer, chunks[_some(len(chunks), MOST_REPLACED, rng)], rng)
    moved = moves[~moves.isnan()]
    some = chunks[_some(len(chunks), MOST_MOVED, rng)]
    return TokenizerReport(
        chunks=len(chunks),
        tokens=mean,
        fewest_tokens=int(lengths.min()),
        most_tokens=int(lengths.max()),
        naive_tokens=naive,
        compression=naive / mean,
        rms_error=_floats(squares.mean((0, 1)).sqrt()),
        largest_error=_floats(errors.abs().amax((0, 1))),
        error_at_step=_floats(squares.mean((0, 2)).sqrt()),
        saturated=_floats(tokenizer.saturated(chunks)),
        vocabulary=tokenizer.vocabulary,
        used=float((counts > 0).double().mean()),
        perplexity=_perplexity(counts),
        sensitivity=float(moved.mean()) if len(moved) else 0.0,
        sensitivity_95=float(moved.quantile(0.95)) if len(moved) else 0.0,
        sensitivity_at=_floats(moves.nanmean(0)),
        smoothness=tuple(_smoothness(tokenizer, some, size, rng) for size in sizes),
    )


def _moves(tokenizer: Tokenizer, chunks: Float[Tensor, "n h w"], rng: torch.Generator) -> Float[Tensor, "n l"]:
    """Distance that each decoded chunk moves when the token at each position is replaced; NaN if it cannot be."""
    tokens = tokenizer.encode(chunks)
    others = _others(tokens.ids, tokenizer.spans.to(tokens.ids.device), rng)
    replaceable = tokens.mask & (others != tokens.ids)
    rows, places = replaceable.nonzero(as_tuple=True)
    wrong = tokens.ids[rows]
    wrong[torch.arange(len(rows), device=rows.device), places] = others[rows, places]
    right = _decoded(tokenizer, tokens)
    moves = torch.full(tokens.ids.shape, torch.nan, dtype=right.dtype, device=right.device)
    moves[rows, places] = _distance(_decoded(tokenizer, Tokens(ids=wrong, mask=tokens.mask[rows])), right[rows])
    return moves


def _others(ids: Int[Tensor, "b l"], spans: Int[Tensor, " vocabulary"], rng: torch.Generator) -> Int[Tensor, "b l"]:
    """For each token another one of the same span, drawn uniformly; the token itself if there is none."""
    order = spans.argsort(stable=True)
    place = torch.empty_like(order)
    place[order] = torch.arange(len(order), device=order.device)
    counts = torch.bincount(spans)
    first = (counts.cumsum(0) - counts)[spans[ids]]
    alike = counts[spans[ids]]
    # 1 to alike − 1 positions ahead in the cycle of tokens with this span: never the token itself
    ahead = 1 + torch.rand(ids.shape, generator=rng, dtype=torch.float64).to(ids.device) * (alike - 1)
    return order[first + (place[ids] - first + ahead.long()) % alike]


def _smoothness(tokenizer: Tokenizer, chunks: Float[Tensor, "n h w"], size: float, rng: torch.Generator) -> Smoothness:
    signs = torch.randint(0, 2, chunks.shape, generator=rng).to(chunks) * 2 - 1
    before, after = tokenizer.encode(chunks), tokenizer.encode(chunks + size * signs)
    changed = _differ(before, after)
    jumps = _distance(_decoded(tokenizer, before), _decoded(tokenizer, after))[changed]
    return Smoothness(
        size=size,
        changed=float(changed.double().mean()),
        jump=float(jumps.mean()) if len(jumps) else 0.0,
        largest_jump=float(jumps.max()) if len(jumps) else 0.0,
    )


def _differ(one: Tokens, other: Tokens) -> Bool[Tensor, " b"]:
    longest = max(one.ids.shape[1], other.ids.shape[1])
    padded = [
        torch.nn.functional.pad(torch.where(tokens.mask, tokens.ids, -1), (0, longest - tokens.ids.shape[1]), value=-1)
        for tokens in (one, other)
    ]
    return (padded[0] != padded[1]).any(1)


def _decoded(tokenizer: Tokenizer, tokens: Tokens) -> Float[Tensor, "b h w"]:
    """Decode in blocks, which limits the memory for many long chunks."""
    block = max(1, MANY_CELLS // (tokenizer.horizon * tokenizer.width))
    # at least one block: zero codes decode to zero chunks
    blocks = [slice(start, start + block) for start in range(0, max(1, len(tokens.ids)), block)]
    return torch.cat([tokenizer.decode(Tokens(ids=tokens.ids[rows], mask=tokens.mask[rows])) for rows in blocks])


def _distance(one: Float[Tensor, "b h w"], other: Float[Tensor, "b h w"]) -> Float[Tensor, " b"]:
    """Largest Euclidean distance of two chunks' steps."""
    return (one - other).square().sum(2).sqrt().amax(1)


def _perplexity(counts: Int[Tensor, " vocabulary"]) -> float:
    shares = counts[counts > 0].double() / counts.sum()
    return float((-(shares * shares.log()).sum()).exp())


def _some(count: int, most: int, rng: torch.Generator) -> Int[Tensor, " some"]:
    return torch.randperm(count, generator=rng)[:most]


def _floats(values: Float[Tensor, " d"]) -> tuple[float, ...]:
    return tuple(float(value) for value in values)
