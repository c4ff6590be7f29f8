"""Mixture density network: a Gaussian mixture whose weights, means and widths are a network's output.

    p(a | o) = Σ_k π_k(o) N(a; μ_k(o), diag σ_k(o)²),     min_θ −E log p(a | o)

One mixture over the whole chunk ("chunk"), so that all steps share a component; or one mixture per step ("step"),
independent given the observation, as in robomimic. Bishop 1994 (NCRG/94/004); as a policy: Mandlekar et al. 2021 (arXiv
2108.03298).
"""

from dataclasses import dataclass, field
from typing import Literal, assert_never, cast

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import softplus

from ..errors import RecipeError, at_least
from ..nn import Lstm, Network, ResidualMlp
from ..seeding import drawn
from ..tokens import Tokenizer
from ..types import Batch, Chunks, Observation, Prefix, Window
from .base import ChunkModel, Conditioning, FamilyOptions, Sizes, standard_normal
from .mixture_law import DiagonalMixture, pick

LOW_NOISE = 1e-4
"""Standard deviation of "low_noise" sampling, in normalised units (robomimic's)."""


@dataclass(frozen=True)
class Mixture(FamilyOptions):
    """Options of a mixture density network.

    Attributes:
        network: Network from observations to weights, means and widths.
        components: Number of Gaussians `k`.
        scope: "chunk" for one mixture over the whole chunk, or "step" for one per step.
        squash: Apply tanh to the means, as in robomimic, for codes in [-1, 1].
        min_std: Lower bound of the standard deviations, added to softplus, in normalised units. For unimodal data the
            components shrink to it, and the means are harder to learn the lower it is: errors are weighted by 1/σ².
        sampling: "sample" draws from the mixture. "mode" returns the mean of the component with the largest weight
            (which need not be the density's maximum). "low_noise" draws a component by its weight, then around its mean
            with a standard deviation of 1e-4, or the component's if that is smaller.
    """

    first_order = True

    network: Network = field(default_factory=ResidualMlp)
    components: int = 5
    scope: Literal["chunk", "step"] = "chunk"
    squash: bool = False
    min_std: float = 1e-2
    sampling: Literal["sample", "mode", "low_noise"] = "sample"

    def __post_init__(self) -> None:
        at_least(1, components=self.components)
        if not 0 < self.min_std < float("inf"):
            raise RecipeError(
                f"expected min_std above 0, got {self.min_std}. Without a lower bound the density of a constant "
                "coordinate is unbounded."
            )

    def build(self, sizes: Sizes, *, tokenizer: Tokenizer | None = None) -> "MixtureModel":
        return MixtureModel(self, sizes)


def lstm_gmm() -> Mixture:
    """LSTM-GMM with robomimic's constants: 2 layers of 400 units, 5 squashed Gaussians per step, low-noise sampling.

    Also published: windows of 10 observations with one planned action each, Adam with learning rate 1e-4, batch size
    100, 2000 epochs of 100 updates (Mandlekar et al. 2021, arXiv 2108.03298, appendix on hyperparameters).

    Differences: the loss is averaged over the width of a code, to which Adam is invariant. The published recurrent
    state is carried from step to step and reset every 10; here it is computed from the window. There is a hidden layer
    between the state and the mixture.
    """
    network = Lstm(layers=2, width=400)
    return Mixture(network=network, components=5, scope="step", squash=True, min_std=1e-4, sampling="low_noise")


class MixtureModel(ChunkModel):
    """A mixture density network of chunks given observation windows."""

    def __init__(self, options: Mixture, sizes: Sizes) -> None:
        super().__init__()
        self.options = options
        self.sizes = sizes
        n_out = options.components * (1 + 2 * sizes.width)
        self.network = options.network.build(sizes.ports(n_out=n_out, any_range=True))

    def loss(self, batch: Batch, draws: None) -> Float[Tensor, ""]:
        """−log p of the steps inside their episodes, per number; the other steps are marginalised."""
        inside = batch.mask[..., None].expand(batch.chunk.shape)
        density = self.law(batch.observation.vector).log_density(self._events(batch.chunk), self._events(inside))
        return -density.sum() / inside.sum()

    def log_likelihood(self, observation: Observation, chunk: Chunks) -> Float[Tensor, " b"]:
        """Log p(chunk | observation) of the mixture in normalised coordinates, for every value of `sampling`."""
        density = self.law(observation.vector).log_density(self._events(chunk))
        return density.sum(-1) if self.options.scope == "step" else density

    def law(self, observation: Window) -> DiagonalMixture:
        """The mixture of each observation window: `[b]` over `h w` numbers, or `[b, h]` over `w`."""
        memory = self.network.encode(observation)
        times = memory.new_zeros(memory.shape[0], 0)
        output = cast(Tensor, self.network(self.network.blank(memory), times, memory))
        count, width = self.options.components, self.sizes.width
        logits, shapes = output[..., :count], output[..., count:].view(*output.shape[:2], count, 2 * width)
        means, spreads = shapes[..., :width], shapes[..., width:]
        match self.options.scope:
            case "step":
                pass
            case "chunk":
                # all steps contribute to the weights of their common component
                logits = logits.mean(1)
                means, spreads = means.transpose(1, 2).flatten(2), spreads.transpose(1, 2).flatten(2)
            case _:
                assert_never(self.options.scope)
        return DiagonalMixture(
            log_weights=logits.log_softmax(-1),
            means=means.tanh() if self.options.squash else means,
            stds=softplus(spreads) + self.options.min_std,
        )

    @property
    def conditioning(self) -> Conditioning:
        return "exact"

    def generate(self, observation: Window, *, rng: torch.Generator, prefix: Prefix | None) -> Chunks:
        """One chunk for each window, from the exact conditional distribution given the prefix.

        With one mixture per step a prefix does not inform the other steps; over chunks it informs the component.
        """
        law = self.law(observation)
        if prefix is not None:
            weights = prefix.by_number.expand(prefix.chunk.shape)
            law = law.given(self._events(prefix.chunk), self._events(weights))
        shape = (observation.shape[0], self.sizes.horizon, self.sizes.width)
        return self._sample(law, rng=rng).view(shape)

    def _sample(self, law: DiagonalMixture, *, rng: torch.Generator) -> Tensor:
        if self.options.sampling == "mode":
            return law.component(law.log_weights.argmax(-1))[0]
        like = law.log_weights
        uniform = drawn("uniform", like.shape[:-1], rng=rng, dtype=like.dtype).to(like.device)
        mean, std = law.component(pick(like, uniform))
        spread = std.clamp(max=LOW_NOISE) if self.options.sampling == "low_noise" else std
        return mean + spread * standard_normal(mean.shape, mean, rng=rng)

    def _events(self, chunk: Tensor) -> Tensor:
        """The values of one mixture: the whole chunk, or each of its steps."""
        return chunk.flatten(1) if self.options.scope == "chunk" else chunk
