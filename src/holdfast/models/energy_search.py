"""Search for chunks of low energy, among candidates `[n, b, h, w]` in the box [−r, r].

    derivative-free:  draw with probability ∝ exp(−E), move by σ ξ, halve σ, repeat
    Langevin:         a ← a − s (½ ∇E(a) + c ξ),    ξ ~ N(0, I),    s decreasing

With small, equal steps s the stationary distribution of the Langevin chain is ∝ exp(−E / (s c²)): decreasing steps cool
it down, and it ends near a minimum. Du and Mordatch 2019 (arXiv 1903.08689); both as in Florence et al. 2021 (arXiv
2109.00137), appendix B, and the authors' code.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor

from ..errors import RecipeError, at_least, positive
from ..seeding import drawn as random_numbers
from ..types import Prefix
from .base import standard_normal

Energies = Callable[[Tensor], Tensor]
"""Candidates `[n, b, h, w]` → their energies `[n, b]`."""
Anchor = Callable[[Tensor, float], Tensor]
"""(candidates, duration of a move) → candidates pulled towards the known steps."""


@dataclass(frozen=True)
class DerivativeFree:
    """Search by evaluations only; the negatives in training are uniform chunks.

    Attributes:
        negatives: Uniform negatives of each demonstrated chunk, as published.
        candidates: Chunks evaluated at once. The published 16384 are too slow on a workstation's CPU; in two or three
            dimensions a thousand find the minimum.
        iterations: Number of evaluations; candidates are resampled and moved in between.
        spread: Standard deviation of the first move, in normalised units; it halves with each move.
    """

    negatives: int = 256
    candidates: int = 1024
    iterations: int = 3
    spread: float = 0.33

    def __post_init__(self) -> None:
        at_least(1, negatives=self.negatives, candidates=self.candidates, iterations=self.iterations)
        positive(spread=self.spread)


@dataclass(frozen=True)
class Langevin:
    """Search along the gradient, with noise; the negatives in training are found by such a search.

    Attributes:
        negatives: Chains whose final states are the negatives of a demonstrated chunk, as published.
        training_iterations: Moves of a chain in training. Published are 100; each costs about as much as a training
            step of regression on all negatives.
        candidates: Chains in sampling; published are 512.
        iterations: Moves of a chain in sampling, as published.
        first_step: s of the first move.
        last_step: s of the last move.
        power: Exponent of the polynomial decay of s.
        noise: Noise scale c.
        largest_move: Bound of a coordinate's move, in half widths of the box.
        refinement: Additional moves in sampling, without noise, with the same steps.
        penalty: Weight of the mean of max(0, ‖∇E‖∞ − margin)² in the training objective: chains with bounded moves do
            not converge in an energy that is too steep.
        margin: Slope without a penalty, 1 as published. Shorter chains need a steeper energy: on the particle task,
            with chains of 10 moves and after 600 updates, 17 % of held-out actions were within 0.02 at 1, 56 % at 10.
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
        at_least(1, negatives=self.negatives, candidates=self.candidates)
        at_least(1, iterations=self.iterations, training_iterations=self.training_iterations)
        if not 0 < self.last_step <= self.first_step:
            raise RecipeError(
                f"expected 0 < last_step <= first_step, got first_step {self.first_step}, last_step {self.last_step}."
            )
        positive(largest_move=self.largest_move, power=self.power, first_step=self.first_step)
        at_least(0, noise=self.noise, refinement=self.refinement, penalty=self.penalty, margin=self.margin)


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
    """Final states of Langevin chains, anchored after each move; no gradient flows through them."""
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
    """Candidates after `iterations` − 1 rounds of resampling by their energies and moving.

    The published code resamples once more at the end, and then selects by the energies from before that; here the last
    candidates are returned.
    """
    chunks, spread = start, options.spread
    for _ in range(options.iterations - 1):
        chosen = drawn(energies(chunks), len(chunks), rng=rng)
        chunks = chunks.gather(0, chosen[..., None, None].expand_as(chunks))
        chunks = (chunks + spread * standard_normal(chunks.shape, chunks, rng=rng)).clamp(-bound, bound)
        chunks, spread = anchor(chunks, 0.0), spread / 2
    return chunks


def drawn(energy: Float[Tensor, "n b"], count: int, *, rng: torch.Generator) -> Tensor:
    """Indices `[count, b]` of candidates, drawn with probability ∝ exp(−E)."""
    odds = (-energy).softmax(dim=0).T.to(rng.device)
    return odds.multinomial(count, replacement=True, generator=rng).T.to(energy.device)


def uniform(shape: tuple[int, ...], like: Tensor, *, bound: float, rng: torch.Generator) -> Float[Tensor, "..."]:
    """Uniform numbers in [−r, r] with another tensor's dtype and device, drawn on the generator's device."""
    return bound * (2 * random_numbers("uniform", shape, rng=rng, dtype=like.dtype) - 1).to(like.device)


def pull(prefix: Prefix | None) -> Anchor:
    """Update of a chain by a prefix: a ← a + w τ / (1 − w + w τ) (Y − a) after a move of duration τ.

    This is the implicit step of the energy ½ w/(1 − w) ‖Y − a‖², stable for every weight. Steps of weight 1 are exactly
    Y, also at τ = 0.
    """
    if prefix is None:
        return lambda chunks, _: chunks
    weights, known = prefix.by_number, prefix.chunk

    def anchor(chunks: Tensor, time: float) -> Tensor:
        share = torch.where(weights == 1, 1.0, weights * time / (1 - weights + weights * time))
        return torch.where(weights == 1, known, chunks + share * (known - chunks))

    return anchor


def measured(energies: Energies, prefix: Prefix | None) -> Energies:
    """E + Σ ½ w/(1 − w) ‖Y − a‖² over the steps with 0 < w < 1: measurements of variance (1 − w)/w."""
    if prefix is None:
        return energies
    weights, known = prefix.by_number, prefix.chunk
    precision = torch.where(weights < 1, weights / (1 - weights), 0.0)
    return lambda chunks: energies(chunks) + 0.5 * (precision * (known - chunks) ** 2).sum((-2, -1))
