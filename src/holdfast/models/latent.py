"""Conditional variational autoencoder (CVAE): a latent variable selects among several ways.

    min_θ E ℓ(decode(z, o) − a) + β KL(q(z | a, o) ‖ N(0, I)),      z = μ(a, o) + σ(a, o) ε,   q = N(μ, diag σ²)

Kingma and Welling 2014 (arXiv 1312.6114), eq. 10; conditioned: Sohn et al. 2015 (NeurIPS 28); as a policy: Zhao et al.
2023 (arXiv 2304.13705, ACT).
"""

from dataclasses import dataclass, field
from typing import Literal, cast

import torch
from jaxtyping import Float
from torch import Tensor

from ..errors import RecipeError, at_least, positive
from ..nn import Network, ResidualMlp, Transformer
from ..seeding import drawn
from ..tokens import Tokenizer
from ..types import Batch, Chunks, Prefix, Window
from .base import ChunkModel, Conditioning, FamilyOptions, Sizes, masked_mean, standard_normal
from .mixture_law import pick
from .prefix import misfit, project


@dataclass(frozen=True)
class Cvae(FamilyOptions):
    """Options of a conditional variational autoencoder.

    The penalty is a mean over the chunk, the divergence a sum over the latent: β is the price of a nat in mean error.
    Distinguishing two ways costs ln 2 nats; if that reduces the error by much less than 0.7 β, the latent is hardly
    used. The evidence bound for noise of scale s has β = s/(h w) with the absolute value, 2 s²/(h w) with the square.

    Attributes:
        encoder: Network from the chunk and the observation to the latent's mean and width; for training only.
        decoder: Network from the latent, repeated at every step, and the observation to the chunk.
        latent: Size of z.
        kl_weight: β. ACT's value is 10, with which the latent is almost unused in normalised units.
        penalty: ℓ: the absolute value "l1" or the square "l2".
        deploy: Latent in sampling: drawn from N(0, I) ("prior"), or its mean ("zero", as in ACT).
        candidates: Number of latents drawn for a chunk with a prefix, of which one is selected.
        tolerance: Standard deviation r of a decoded chunk from the demonstrated one, in normalised units: a candidate
            is selected with weight exp(−Σ w ‖Y − a‖² / 2r²).
    """

    encoder: Network = field(default_factory=ResidualMlp)
    decoder: Network = field(default_factory=ResidualMlp)
    latent: int = 32
    kl_weight: float = 0.01
    penalty: Literal["l1", "l2"] = "l1"
    deploy: Literal["prior", "zero"] = "prior"
    candidates: int = 16
    tolerance: float = 0.05

    def __post_init__(self) -> None:
        at_least(1, latent=self.latent, candidates=self.candidates)
        if not 0 <= self.kl_weight < float("inf"):
            raise RecipeError(f"expected kl_weight of 0 or above, got {self.kl_weight}.")
        positive(tolerance=self.tolerance)

    def build(self, sizes: Sizes, *, tokenizer: Tokenizer | None = None) -> "CvaeModel":
        return CvaeModel(self, sizes)


def act() -> Cvae:
    """Action chunking with transformers, with the published constants (Zhao et al. 2023, arXiv 2304.13705, table III).

    Layers of width 512 with 8 heads: 4 encode the chunk, 4 the observation, and one decodes (the published code has 7
    but uses the output of the first). The latent has 32 numbers, β is 10, the penalty is the absolute value, and z is
    zero at deployment. Also published: chunks of 100 steps, one observation, AdamW with learning rate 1e-5 and weight
    decay 1e-4, batch size 8, 2000 epochs, temporal ensembling with m = 0.01.

    Differences: steps beyond an episode's end are excluded from the penalty (the published code averages zeros over
    them); the encoder's output is a mean over the steps instead of a separate token; feed-forward layers have four
    times the width instead of 3200 units; no dropout; pre-norm.
    """
    encoder = Transformer(layers=4, heads=8, width=512)
    decoder = Transformer(layers=1, heads=8, width=512, encoder_layers=4)
    return Cvae(encoder=encoder, decoder=decoder, latent=32, kl_weight=10.0, penalty="l1", deploy="zero")


class CvaeModel(ChunkModel):
    """A conditional variational autoencoder of chunks given observation windows."""

    def __init__(self, options: Cvae, sizes: Sizes) -> None:
        super().__init__()
        self.options = options
        self.sizes = sizes
        # one more input of the encoder: whether the step lies inside its episode
        self.encoder = options.encoder.build(
            sizes.ports(n_in=sizes.width + 1, n_out=2 * options.latent, any_range=True)
        )
        self.decoder = options.decoder.build(sizes.ports(n_in=options.latent))

    def draw(self, shape: torch.Size, *, rng: torch.Generator) -> Float[Tensor, "b latent"]:
        """The noise ε of each chunk's latent."""
        return torch.randn(shape[0], self.options.latent, generator=rng, device=rng.device)

    def loss(self, batch: Batch, draws: Float[Tensor, "b latent"]) -> Float[Tensor, ""]:
        """The penalty over chunk steps and coordinates, plus β times the divergence."""
        mean, log_variance = self.posterior(batch)
        latent = mean + (0.5 * log_variance).exp() * draws
        error = self.decode(latent, self.decoder.encode(batch.observation.vector)) - batch.chunk
        penalty = error.abs() if self.options.penalty == "l1" else error**2
        bound = self.options.kl_weight * divergence(mean, log_variance).mean()
        return masked_mean(penalty, batch.mask) + bound

    def posterior(self, batch: Batch) -> tuple[Float[Tensor, "b latent"], Float[Tensor, "b latent"]]:
        """Mean and log variance of q(z | chunk, observation): the encoder's output averaged over the steps inside.

        Steps outside the episode are zeros in the input.
        """
        inside = batch.mask[..., None].to(batch.chunk)
        inputs = torch.cat([torch.where(batch.mask[..., None], batch.chunk, 0.0), inside], dim=-1)
        memory = self.encoder.encode(batch.observation.vector)
        output = cast(Tensor, self.encoder(inputs, inputs.new_zeros(inputs.shape[0], 0), memory))
        pooled = (output * inside).sum(1) / inside.sum(1)
        return pooled[:, : self.options.latent], pooled[:, self.options.latent :]

    def decode(self, latent: Float[Tensor, "b latent"], memory: Float[Tensor, "b ..."]) -> Chunks:
        """The chunk of each latent, for observations encoded by the decoder."""
        repeated = latent[:, None].expand(-1, self.sizes.horizon, -1)
        return cast(Tensor, self.decoder(repeated, latent.new_zeros(latent.shape[0], 0), memory))

    @property
    def conditioning(self) -> Conditioning:
        return "projection" if self.options.deploy == "zero" else "selection"

    def generate(self, observation: Window, *, rng: torch.Generator, prefix: Prefix | None) -> Chunks:
        """One chunk for each window; with a prefix, one of several candidates that fits it, and the known steps."""
        memory = self.decoder.encode(observation)
        if self.options.deploy == "zero":
            latent = observation.new_zeros(observation.shape[0], self.options.latent)
            return project(self.decode(latent, memory), prefix)
        if prefix is None:
            shape = (observation.shape[0], self.options.latent)
            return self.decode(standard_normal(shape, observation, rng=rng), memory)
        return project(self._fitting(memory, prefix, rng=rng), prefix)

    def _fitting(self, memory: Float[Tensor, "b ..."], prefix: Prefix, *, rng: torch.Generator) -> Tensor:
        """One of the candidates, drawn by its importance weight; exact in the limit of many candidates.

        If none fits, the closest one has nearly all the weight.
        """
        count, batch = self.options.candidates, memory.shape[0]
        latent = standard_normal((count * batch, self.options.latent), memory, rng=rng)
        decoded = self.decode(latent, memory.repeat(count, *[1] * (memory.dim() - 1)))
        decoded = decoded.view(count, batch, *decoded.shape[1:])
        importance = -misfit(decoded, prefix) / (2 * self.options.tolerance**2)
        uniform = drawn("uniform", (batch,), rng=rng, dtype=memory.dtype).to(memory.device)
        return decoded[pick(importance.T, uniform), torch.arange(batch, device=memory.device)]


def divergence(mean: Float[Tensor, "b latent"], log_variance: Float[Tensor, "b latent"]) -> Float[Tensor, " b"]:
    """KL(N(μ, diag σ²) ‖ N(0, I)) = ½ Σ (μ² + σ² − log σ² − 1) [nats].

    >>> divergence(torch.tensor([[0.0, 3.0]]), torch.zeros(1, 2))
    tensor([4.5000])
    """
    return 0.5 * (mean**2 + log_variance.exp() - log_variance - 1).sum(-1)
