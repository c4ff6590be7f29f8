"""What a tokenizer does to chunks: how long codes are, what they lose, and what one wrong token costs.

A policy that writes tokens errs by whole tokens. Two numbers say what that means for actions: *sensitivity*, how far
the decoded chunk moves when one token is replaced by another that keeps the code whole, and *smoothness*, how often
a small change of the chunk changes its code, and how far the decoded chunk then jumps. Errors and jumps are in
normalised units; those of a chunk are the largest, over its steps, of the Euclidean distance.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ..errors import DataError
from .base import Tokenizer, Tokens

__all__ = ["Smoothness", "TokenizerReport", "report"]

SIZES = (0.001, 0.01, 0.1)
MOST_REPLACED = 256
"""Chunks whose every token is replaced in turn."""
MOST_MOVED = 2048
MANY_CELLS = 2**22
"""Numbers of chunks decoded at a time."""


@dataclass(frozen=True, kw_only=True)
class Smoothness:
    """What changes of a given size do.

    Attributes:
        size: Of the change: each number of the chunk goes up or down by so much.
        changed: Share of chunks whose code changed.
        jump: Mean distance that the decoded chunk moved where the code changed; 0 where none did.
        largest_jump: The largest of those.
    """

    size: float
    changed: float
    jump: float
    largest_jump: float


@dataclass(frozen=True, kw_only=True)
class TokenizerReport:
    """What a tokenizer does to some chunks.

    Attributes:
        chunks: How many were encoded.
        tokens: Mean tokens a chunk.
        fewest_tokens: Of any chunk.
        most_tokens: Of any chunk.
        naive_tokens: One a number, h · w.
        compression: `naive_tokens / tokens`.
        rms_error: Root mean square round-trip error of each coordinate.
        largest_error: Largest round-trip error of each coordinate.
        error_at_step: Root mean square round-trip error of each chunk step, over coordinates.
        saturated: Share of each coordinate that lies beyond what tokens can say.
        vocabulary: How many tokens there are.
        used: Share of them that occur.
        perplexity: exp of the entropy of how often each occurs: as many equally frequent tokens say as much.
        sensitivity: Mean distance that the decoded chunk moves for one wrong token.
        sensitivity_95: What 95 % of wrong tokens stay below.
        sensitivity_at: Mean by place in the code; NaN where no token could be replaced.
        smoothness: For each size of change.
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


def report(
    tokenizer: Tokenizer,
    chunks: Float[Tensor, "n h w"],
    *,
    rng: torch.Generator,
    sizes: Sequence[float] = SIZES,
) -> TokenizerReport:
    """Measure a tokenizer on chunks, best on ones that it was not fitted on.

    Lengths, errors and counts are of all chunks; one wrong token is tried at every place of 256 of them, small changes
    on 2048.

    Raises:
        DataError: No chunks, or a number that is not finite.
        ShapeError: Chunks of other steps or widths than the tokenizer was fitted on.
    """
    if not len(chunks):
        raise DataError("cannot measure a tokenizer on no chunks. Give at least one.")
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
    """How far each chunk's decoded form moves when the token at each place is another; NaN where it cannot be."""
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
    """For each token another one of the same span, drawn evenly; the token itself where there is none."""
    order = spans.argsort(stable=True)
    place = torch.empty_like(order)
    place[order] = torch.arange(len(order), device=order.device)
    counts = torch.bincount(spans)
    first = (counts.cumsum(0) - counts)[spans[ids]]
    alike = counts[spans[ids]]
    # by 1 to alike − 1 places further round the circle of those with this span: never the token itself
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
    laid = [
        torch.nn.functional.pad(torch.where(tokens.mask, tokens.ids, -1), (0, longest - tokens.ids.shape[1]), value=-1)
        for tokens in (one, other)
    ]
    return (laid[0] != laid[1]).any(1)


def _decoded(tokenizer: Tokenizer, tokens: Tokens) -> Float[Tensor, "b h w"]:
    """Decoded in blocks, so that tens of thousands of long chunks need little memory beside themselves."""
    block = max(1, MANY_CELLS // (tokenizer.horizon * tokenizer.width))
    # one block at the least: no codes decode to no chunks
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
