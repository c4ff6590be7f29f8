"""Mixture density network: a mixture of Gaussians whose weights, means and widths a network says.

    p(a | o) = Σ_k π_k(o) N(a; μ_k(o), diag σ_k(o)²),     min_θ −E log p(a | o)

Over whole chunks ("chunk") the component is shared by all steps, so that a plan keeps to one way to go; or one mixture
a step ("step"), independent given the observation, as robomimic's. Bishop 1994 (NCRG/94/004); as a policy: Mandlekar et
al. 2021 (arXiv 2108.03298).
"""

from dataclasses import dataclass, field
from typing import Literal, assert_never, cast

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import softplus

from ..errors import RecipeError
from ..nn import Lstm, Network, ResidualMlp
from ..tokens import Tokenizer
from ..types import Batch, Observation, Prefix
from .base import ChunkModel, FamilyOptions, Sizes, standard_normal
from .mixture_law import GaussianMixture, pick

__all__ = ["LOW_NOISE", "Mixture", "MixtureModel", "lstm_gmm"]

LOW_NOISE = 1e-4
"""Standard deviation of "low_noise" sampling, in normalised units (robomimic's)."""


@dataclass(frozen=True)
class Mixture(FamilyOptions):
    """Options of a mixture density network.

    Attributes:
        network: Maps observations to weights, means and widths.
        components: Gaussians `k` of a mixture.
        scope: "chunk", one mixture over whole chunks, or "step", one for each of its steps.
        squash: Means end with tanh, as robomimic's, for codes in [-1, 1].
        min_std: What is added to softplus for a standard deviation: its floor, in normalised units. Where there is one
            answer, components narrow down to it, and means learn worse the lower it is: errors weigh 1/σ².
        sampling: "sample" draws from the mixture. "mode" answers the mean of the heaviest component (which need not be
            the density's maximum). "low_noise" draws a component by its weight, then around its mean with a standard
            deviation of 1e-4, or the component's own where that is smaller.
    """

    first_order = True

    network: Network = field(default_factory=ResidualMlp)
    components: int = 5
    scope: Literal["chunk", "step"] = "chunk"
    squash: bool = False
    min_std: float = 1e-2
    sampling: Literal["sample", "mode", "low_noise"] = "sample"

    def __post_init__(self) -> None:
        if self.components < 1:
            raise RecipeError(f"expected at least 1 component, got {self.components}.")
        if not 0 < self.min_std < float("inf"):
            raise RecipeError(
                f"expected min_std above 0, got {self.min_std}. Without a floor the density of a coordinate that never "
                "changes grows without bound."
            )

    def build(self, sizes: Sizes, *, tokenizer: Tokenizer | None = None) -> "MixtureModel":
        return MixtureModel(self, sizes)


def lstm_gmm() -> Mixture:
    """LSTM-GMM with robomimic's constants: 2 layers of 400 units, 5 squashed Gaussians a step, drawn with little noise.

    Published beside them: windows of 10 observations, one action planned at each, Adam at 1e-4, batches of 100, 2000
    epochs of 100 updates (Mandlekar et al. 2021, arXiv 2108.03298, appendix on hyperparameters).

    Different here: the published loss is a step's, this one is a number's, smaller by the width of the code, which Adam
    does not notice. The published recurrent state is carried from step to step and forgotten every 10; here it is
    computed from the window. A hidden layer lies between it and the mixture.
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

    def draw(self, shape: torch.Size, *, rng: torch.Generator) -> None:
        """Nothing: the loss has no randomness."""

    def loss(self, batch: Batch, draws: None) -> Float[Tensor, ""]:
        """−log p of the steps inside their episodes, for each of their numbers; the other steps are integrated out."""
        inside = batch.mask[..., None].expand(batch.chunk.shape)
        density = self.law(batch.observation.vector).log_density(self._events(batch.chunk), self._events(inside))
        return -density.sum() / inside.sum()

    def log_likelihood(self, observation: Observation, chunk: Float[Tensor, "b h w"]) -> Float[Tensor, " b"]:
        """Log p(chunk | observation) of the mixture itself, in normalised coordinates, whatever `sampling` makes of it.

        The laws of "mode" and "low_noise" are points, or nearly so, and are for acting; the density says how the
        demonstrations are explained.
        """
        density = self.law(observation.vector).log_density(self._events(chunk))
        return density.sum(-1) if self.options.scope == "step" else density

    def law(self, observation: Float[Tensor, "b o d"]) -> GaussianMixture:
        """The mixture of each observation window: `[b]` over `h w` numbers, or `[b, h]` over `w`."""
        memory = self.network.encode(observation)
        times = memory.new_zeros(memory.shape[0], 0)
        output = cast(Tensor, self.network(self.network.blank(memory), times, memory))
        count, width = self.options.components, self.sizes.width
        votes, shapes = output[..., :count], output[..., count:].view(*output.shape[:2], count, 2 * width)
        means, spreads = shapes[..., :width], shapes[..., width:]
        match self.options.scope:
            case "step":
                pass
            case "chunk":
                # every step has a vote; the component is common to all
                votes = votes.mean(1)
                means, spreads = means.transpose(1, 2).flatten(2), spreads.transpose(1, 2).flatten(2)
            case _:
                assert_never(self.options.scope)
        return GaussianMixture(
            log_weights=votes.log_softmax(-1),
            means=means.tanh() if self.options.squash else means,
            stds=softplus(spreads) + self.options.min_std,
        )

    def generate(
        self, observation: Float[Tensor, "b o d"], *, rng: torch.Generator, prefix: Prefix | None
    ) -> Float[Tensor, "b h w"]:
        """One chunk for each window, from the mixture's exact law given the prefix.

        With one mixture a step a prefix tells nothing of the other steps; over chunks it tells the component.
        """
        law = self.law(observation)
        if prefix is not None:
            weights = prefix.weights[:, None].expand(prefix.chunk.shape)
            law = law.given(self._events(prefix.chunk), self._events(weights))
        shape = (observation.shape[0], self.sizes.horizon, self.sizes.width)
        return self._sample(law, rng=rng).view(shape)

    def _sample(self, law: GaussianMixture, *, rng: torch.Generator) -> Tensor:
        if self.options.sampling == "mode":
            return law.component(law.log_weights.argmax(-1))[0]
        like = law.log_weights
        uniform = torch.rand(like.shape[:-1], generator=rng, device=rng.device, dtype=like.dtype).to(like.device)
        mean, std = law.component(pick(like, uniform))
        spread = std.clamp(max=LOW_NOISE) if self.options.sampling == "low_noise" else std
        return mean + spread * standard_normal(mean.shape, mean, rng=rng)

    def _events(self, chunk: Tensor) -> Tensor:
        """What one mixture is over: the whole chunk, or each of its steps."""
        return chunk.flatten(1) if self.options.scope == "chunk" else chunk
