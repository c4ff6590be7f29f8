"""How chunks of low energy are found, among candidates `[n, b, h, w]` in the box [−r, r].

    derivative-free:  draw with probability ∝ exp(−E), move by σ ξ, halve σ, and again
    Langevin:         a ← a − s (½ ∇E(a) + c ξ),    ξ ~ N(0, I),    s falling

With equal steps s and small ones, Langevin's chain has the law ∝ exp(−E / (s c²)): as the steps fall it cools down, and
ends near a minimum. Du and Mordatch 2019 (arXiv 1903.08689); both as in Florence et al. 2021 (arXiv 2109.00137),
appendix B, and the authors' code.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor

from ..errors import RecipeError
from ..types import Prefix
from .base import standard_normal

__all__ = ["DerivativeFree", "Langevin", "derivative_free", "langevin", "slopes", "steps_of", "uniform"]

Energies = Callable[[Tensor], Tensor]
"""Candidates `[n, b, h, w]` → their energies `[n, b]`."""
Anchor = Callable[[Tensor, float], Tensor]
"""(candidates, time that a move stands for) → candidates, with what is known of them put in."""


@dataclass(frozen=True)
class DerivativeFree:
    """Search by evaluations alone; the model is trained against uniform chunks.

    Attributes:
        negatives: Uniform chunks that a demonstrated one is told from, as published.
        candidates: Chunks that are tried at once. Published are 16384, which a workstation's processor does not give
            in time; in two or three dimensions a thousand find the minimum.
        iterations: How often they are evaluated; drawn again and moved in between.
        spread: Std of the first move, in normalised units; each later one is half as wide.
    """

    negatives: int = 256
    candidates: int = 1024
    iterations: int = 3
    spread: float = 0.33

    def __post_init__(self) -> None:
        _at_least_one(self.negatives, self.candidates, self.iterations)
        if not self.spread > 0:
            raise RecipeError(f"expected a spread above 0, got {self.spread}.")


@dataclass(frozen=True)
class Langevin:
    """Search along the gradient, with noise; the model is trained against what such a search finds.

    Attributes:
        negatives: Chains whose ends a demonstrated chunk is told from, as published.
        training_iterations: Moves of such a chain. Published are 100, of which each costs about as much as a training
            step of regression on all negatives.
        candidates: Chains in sampling; published are 512.
        iterations: Moves of such a chain, as published.
        first_step: s of the first move.
        last_step: s of the last one.
        power: Of the polynomial by which s falls from the one to the other.
        noise: c.
        largest_move: Bound of a coordinate's move, in half widths of the box.
        refinement: Further moves in sampling, without noise, through the same steps.
        penalty: Weight of the mean of max(0, ‖∇E‖∞ − margin)² in the training objective: moves of bounded length do
            not settle in an energy that is too steep.
        margin: Slope that is free, 1 as published. Shorter chains need a steeper energy: on the particle task, with
            chains of 10 moves and after 600 updates, 17 % of held-out actions were within 0.02 at 1, 56 % at 10.
    """

    negatives: int = 8
    training_iterations: int = 25
    candidates: int = 64
    iterations: int = 100
    first_step: float = 0.1
    last_step: float = 1e-5
    power: float = 2.0
    noise: float = 1.0
    largest_move: float = 0.1
    refinement: int = 0
    penalty: float = 1.0
    margin: float = 1.0

    def __post_init__(self) -> None:
        _at_least_one(self.negatives, self.candidates, self.iterations, self.training_iterations)
        if not 0 < self.last_step <= self.first_step:
            raise RecipeError(
                f"expected 0 < last_step <= first_step, got first_step {self.first_step}, last_step {self.last_step}."
            )
        if not (self.largest_move > 0 and self.power > 0):
            raise RecipeError(f"expected largest_move and power above 0, got {self.largest_move} and {self.power}.")
        if min(self.noise, self.refinement, self.penalty, self.margin) < 0:
            raise RecipeError(
                f"expected noise, refinement, penalty and margin of at least 0, got {self.noise}, {self.refinement}, "
                f"{self.penalty} and {self.margin}."
            )


def steps_of(options: Langevin, iterations: int) -> Float[Tensor, " iterations"]:
    """s_k = (s₀ − s₁) (1 − k/(K − 1))^p + s₁.

    >>> steps_of(Langevin(first_step=0.5, last_step=0.1), 3)
    tensor([0.5000, 0.2000, 0.1000], dtype=torch.float64)
    """
    left = 1 - torch.arange(iterations, dtype=torch.float64) / max(iterations - 1, 1)
    return (options.first_step - options.last_step) * left**options.power + options.last_step


def slopes(energies: Energies, candidates: Float[Tensor, "n b h w"]) -> Float[Tensor, "n b h w"]:
    """∇E of each candidate; differentiable in the network's parameters."""

    def total(chunks: Tensor) -> Tensor:
        return energies(chunks).sum()

    return cast(Tensor, torch.func.grad(total)(candidates))


def langevin(
    energies: Energies,
    start: Float[Tensor, "n b h w"],
    kicks: Iterable[Tensor | None],
    *,
    options: Langevin,
    iterations: int,
    bound: float,
    anchor: Anchor,
) -> Float[Tensor, "n b h w"]:
    """Chains from their starts; no gradient flows through them.

    Args:
        energies: Of candidates.
        start: Where the chains begin.
        kicks: ξ of each move; `None` for none.
        options: Steps and bounds.
        iterations: Moves.
        bound: r.
        anchor: Called after each move.
    """
    chunks, largest = start, options.largest_move * bound
    with torch.no_grad():
        for step, kick in zip(map(float, steps_of(options, iterations)), kicks, strict=True):
            move = 0.5 * step * slopes(energies, chunks)
            if kick is not None:
                move = move + step * options.noise * kick
            chunks = (chunks - move.clamp(-largest, largest)).clamp(-bound, bound)
            chunks = anchor(chunks, 0.5 * step)
    return chunks


def derivative_free(
    energies: Energies,
    start: Float[Tensor, "n b h w"],
    *,
    options: DerivativeFree,
    bound: float,
    anchor: Anchor,
    rng: torch.Generator,
) -> Float[Tensor, "n b h w"]:
    """Candidates that were drawn by their energies and moved, `iterations` − 1 times.

    The published code draws once more at the end, and then picks by the energies from before that; here the last
    candidates are what is returned.
    """
    chunks, spread = start, options.spread
    for _ in range(options.iterations - 1):
        chosen = drawn(energies(chunks), len(chunks), rng=rng)
        chunks = chunks.gather(0, chosen[..., None, None].expand_as(chunks))
        chunks = (chunks + spread * standard_normal(chunks.shape, chunks, rng=rng)).clamp(-bound, bound)
        chunks, spread = anchor(chunks, 0.0), spread / 2
    return chunks


def drawn(energy: Float[Tensor, "n b"], count: int, *, rng: torch.Generator) -> Tensor:
    """`[count, b]` candidates of each column, with probability ∝ exp(−E)."""
    odds = (-energy).softmax(dim=0).T.to(rng.device)
    return odds.multinomial(count, replacement=True, generator=rng).T.to(energy.device)


def uniform(shape: tuple[int, ...], like: Tensor, *, bound: float, rng: torch.Generator) -> Float[Tensor, "..."]:
    """Uniform numbers in [−r, r] of another tensor's precision and device, drawn where the generator lives."""
    return bound * (2 * torch.rand(shape, generator=rng, device=rng.device, dtype=like.dtype) - 1).to(like.device)


def pull(prefix: Prefix | None) -> Anchor:
    """What a chain does about a prefix: a ← a + w τ / (1 − w + w τ) (Y − a) after a move that stands for a time τ.

    It is the implicit step of the energy ½ w/(1 − w) ‖Y − a‖², stable however firm the prefix is. Steps of weight 1
    are exactly Y, also at τ = 0.
    """
    if prefix is None:
        return lambda chunks, _: chunks
    weights, known = prefix.weights[:, None], prefix.chunk

    def anchor(chunks: Tensor, time: float) -> Tensor:
        share = torch.where(weights == 1, 1.0, weights * time / (1 - weights + weights * time))
        return torch.where(weights == 1, known, chunks + share * (known - chunks))

    return anchor


def measured(energies: Energies, prefix: Prefix | None) -> Energies:
    """E + Σ ½ w/(1 − w) ‖Y − a‖² over the steps with 0 < w < 1: the law given measurements of variance (1 − w)/w."""
    if prefix is None:
        return energies
    weights, known = prefix.weights, prefix.chunk
    precision = torch.where(weights < 1, weights / (1 - weights), 0.0)[:, None]
    return lambda chunks: energies(chunks) + 0.5 * (precision * (known - chunks) ** 2).sum((-2, -1))


def _at_least_one(*counts: int) -> None:
    if min(counts) < 1:
        raise RecipeError(
            f"expected at least one negative, candidate and iteration, got {', '.join(map(str, counts))}."
        )
