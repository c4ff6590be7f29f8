"""Implicit behavior cloning: an energy of chunks, low for demonstrated ones, and a search for its minimum.

    E(o, a) = mean over chunk steps of net_θ(o, a),        p(a | o) ∝ exp(−E(o, a))
    loss    = −log [exp(−E(o, a)) / (exp(−E(o, a)) + Σ_i exp(−E(o, a_i)))]            (InfoNCE; negatives a_i)
    chunk   = argmin_a E(o, a)

The minimum of a continuous energy can be discontinuous in the observation, so the policy can choose where regression
averages. The cost is the search: it works for an action or a short chunk and becomes unreliable in higher dimensions;
at 16 steps of 20 numbers it is far worse than diffusion. Florence et al. 2021 (arXiv 2109.00137); van den Oord et al.
2018 (arXiv 1807.03748), eq. 4.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import assert_never, cast

import torch
from jaxtyping import Float
from torch import Tensor

from ..errors import at_least
from ..nn import FilmMlp, Network
from ..tokens import Tokenizer
from ..types import Batch, Chunks, Prefix, Window
from .base import ChunkModel, Conditioning, FamilyOptions, Sizes, standard_normal
from .energy_search import (
    Anchor,
    DerivativeFree,
    Energies,
    Langevin,
    derivative_free,
    drawn,
    langevin,
    measured,
    pull,
    slopes,
    uniform,
)

ROWS = 2**16
"""Limit on the candidates of all observations that are evaluated at once."""


@dataclass(frozen=True)
class Energy(FamilyOptions):
    """Options of an energy model.

    Attributes:
        network: Network from observations and chunks to one number per step, whose mean is the energy.
        search: Search for negatives in training and for chunks in sampling.
        boundary: Relative margin of the box of candidates around the data's [-1, 1], so that a demonstration at the
            border has negatives on both sides; samples lie in [-1, 1].
        greedy: Return the best candidate, as published; otherwise draw one of the last candidates by exp(−E).
    """

    network: Network = field(default_factory=FilmMlp)
    search: DerivativeFree | Langevin = field(default_factory=Langevin)
    boundary: float = 0.05
    greedy: bool = True

    def __post_init__(self) -> None:
        at_least(0, boundary=self.boundary)

    def build(self, sizes: Sizes, *, tokenizer: Tokenizer | None = None) -> "EnergyModel":
        return EnergyModel(self, sizes)


@dataclass(frozen=True)
class EnergyDraws:
    """The randomness of one loss: uniform starts of the chains, steps beyond the episode, and noise of the moves."""

    start: Float[Tensor, "n b h w"]
    beyond: Chunks
    kicks: Float[Tensor, "moves n b h w"]


class EnergyModel(ChunkModel):
    """An energy of chunks given observation windows.

    Chunk steps beyond the end of an episode are the same random numbers in the demonstrated chunk and its negatives:
    they do not distinguish the two, and the energy learns to ignore them.
    """

    def __init__(self, options: Energy, sizes: Sizes) -> None:
        super().__init__()
        self.options = options
        self.sizes = sizes
        self.bound = 1 + options.boundary
        self.network = options.network.build(sizes.ports(n_out=1, any_range=True))

    def draw(self, shape: torch.Size, *, rng: torch.Generator) -> EnergyDraws:
        """Initial states and noise of the chains."""
        search = self.options.search
        moves = search.training_iterations if isinstance(search, Langevin) else 0
        box = self.bound * (2 * torch.rand((search.negatives + 1, *shape), generator=rng, device=rng.device) - 1)
        kicks = torch.randn((moves, search.negatives, *shape), generator=rng, device=rng.device)
        return EnergyDraws(start=box[:-1], beyond=box[-1], kicks=kicks)

    def loss(self, batch: Batch, draws: EnergyDraws) -> Float[Tensor, ""]:
        """InfoNCE over chunks, plus the penalty on steep energies for gradient-based search."""
        memory = self.network.encode(batch.observation.vector)
        inside, beyond = batch.mask[..., None], draws.beyond
        demonstrated = torch.where(inside, batch.chunk, beyond)
        negatives = self._negatives(memory, draws, lambda chunks, _: torch.where(inside, chunks, beyond))
        candidates = torch.cat([demonstrated[None], negatives])
        energies = self._energies(memory, len(candidates))
        energy = energies(candidates)
        loss = (energy[0] + (-energy).logsumexp(dim=0)).mean()
        search = self.options.search
        if isinstance(search, Langevin) and search.penalty > 0:
            steep = slopes(energies, candidates).abs().amax((-2, -1)) - search.margin
            loss = loss + search.penalty * steep.clamp(min=0).square().mean()
        return loss

    def energy(self, observation: Window, chunks: Float[Tensor, "n b h w"]) -> Float[Tensor, "n b"]:
        """The energy of each of `n` candidates for each observation window."""
        return self._energies(self.network.encode(observation), len(chunks))(chunks)

    @property
    def conditioning(self) -> Conditioning:
        return "exact"

    def generate(self, observation: Window, *, rng: torch.Generator, prefix: Prefix | None) -> Chunks:
        """The chunk of least energy found for each window.

        A prefix is a measurement in the sense of Bayes' rule: steps of weight 1 are fixed, others add to the energy.
        """
        found = list[Tensor]()
        size = max(1, ROWS // self.options.search.candidates)
        for first in range(0, len(observation), size):
            rows = slice(first, first + size)
            known = None if prefix is None else prefix.rows(rows)
            found.append(self._search(observation[rows], rng=rng, prefix=known))
        return torch.cat(found)

    def _negatives(self, memory: Tensor, draws: EnergyDraws, anchor: Anchor) -> Float[Tensor, "n b h w"]:
        start = anchor(draws.start, 0.0)
        match self.options.search:
            case DerivativeFree():
                return start
            case Langevin() as search:
                return langevin(
                    self._energies(memory, len(start)),
                    start,
                    draws.kicks.unbind(0),
                    options=search,
                    iterations=search.training_iterations,
                    bound=self.bound,
                    anchor=anchor,
                )
            case _:
                assert_never(self.options.search)

    def _search(self, observation: Tensor, *, rng: torch.Generator, prefix: Prefix | None) -> Chunks:
        count, anchor = self.options.search.candidates, pull(prefix)
        raw = self._energies(self.network.encode(observation), count)
        energies = measured(raw, prefix)
        shape = (count, len(observation), self.sizes.horizon, self.sizes.width)
        start = anchor(uniform(shape, observation, bound=self.bound, rng=rng), 0.0)
        match self.options.search:
            case DerivativeFree() as search:
                last = derivative_free(energies, start, options=search, bound=self.bound, anchor=anchor, rng=rng)
            case Langevin() as search:
                # the chain includes the prefix's energy implicitly, through its anchor
                last = self._chains(raw, start, search, anchor, rng)
            case _:
                assert_never(self.options.search)
        last = anchor(last.clamp(-1, 1), 0.0)
        energy = energies(last)
        best = energy.argmin(dim=0)[None] if self.options.greedy else drawn(energy, 1, rng=rng)
        return last.gather(0, best[..., None, None].expand(1, *shape[1:]))[0]

    def _chains(
        self, energies: Energies, start: Tensor, search: Langevin, anchor: Anchor, rng: torch.Generator
    ) -> Tensor:
        def chain(start: Tensor, kicks: Iterator[Tensor | None], iterations: int) -> Tensor:
            return langevin(
                energies, start, kicks, options=search, iterations=iterations, bound=self.bound, anchor=anchor
            )

        kicks = (standard_normal(start.shape, start, rng=rng) for _ in range(search.iterations))
        found = chain(start, kicks, search.iterations)
        still = (None for _ in range(search.refinement))
        return chain(found, still, search.refinement) if search.refinement else found

    def _energies(self, memory: Tensor, count: int) -> Energies:
        """A function for the energies of `count` candidates per encoded observation, which is copied once."""
        copied = memory.expand(count, *memory.shape).flatten(0, 1)
        times = copied.new_zeros(len(copied), 0)

        def energies(chunks: Tensor) -> Tensor:
            output = cast(Tensor, self.network(chunks.flatten(0, 1), times, copied))
            return output.mean((-2, -1)).view(count, -1)

        return energies
