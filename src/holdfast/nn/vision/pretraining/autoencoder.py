"""Autoencoders: the features must suffice to draw the picture again.

    Kingma and Welling 2014 (arXiv 1312.6114), eq. 3, with β (Higgins et al. 2017), of a picture x of D colour values

    −ELBO = D/2 log(2π v) + ‖x − x̂(z)‖² / (2 v) + β KL,      z = μ + s ε,  ε ~ N(0, 1),  (μ, log s²) = W features + b
    KL(N(μ, s²) ‖ N(0, 1)) = ½ Σ (μ² + s² − 1 − log s²)

All pixels have one variance v: a fixed one, or the one that is most likely for the batch, v = mean (x − x̂)² (Rybkin et
al. 2021, arXiv 2006.13202, eq. 5), at least that of the rounding of pixels to bytes. Without z's noise and KL it is an
autoencoder, and with positions as features the one of Finn et al. 2016 (arXiv 1509.06113).
"""

import math
from dataclasses import dataclass
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ....errors import RecipeError, at_least, positive
from ..encoder import Pixels
from ..vision import Vision
from .decoder import PictureDecoder
from .method import Bytes, Draws, Method, PretrainingModel, Rows

ROUNDING = (2 / 255) ** 2 / 12
"""Variance of the rounding of pixels in [-1, 1] to 256 values, which no picture can show better."""
LARGEST_LOG_VARIANCE = 10.0


def gaussian_kl(mean: Float[Tensor, "b z"], log_variance: Float[Tensor, "b z"]) -> Float[Tensor, " b"]:
    """KL(N(μ, s²) ‖ N(0, 1)) = ½ Σ (μ² + s² − 1 − log s²) in nats (Kingma and Welling 2014, appendix B).

    >>> gaussian_kl(torch.tensor([[1.0, 0.0]]), torch.zeros(1, 2))
    tensor([0.5000])
    """
    return 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(-1)


def negative_log_likelihood(error: Float[Tensor, "b ..."], variance: float | None) -> Float[Tensor, ""]:
    """−log N(x; x̂, v) of a colour value in nats, on average over all: ½ log(2π v) + mean (x − x̂)² / (2 v).

    Args:
        error: Differences x − x̂ of pixels in [-1, 1].
        variance: Variance v. Default: the one that is most likely, which is mean (x − x̂)², at least that of rounding.
    """
    square = error.float().square().mean()
    found = square.clamp(min=ROUNDING) if variance is None else torch.as_tensor(variance, device=error.device)
    return 0.5 * ((2 * math.pi * found).log() + square / found)


@dataclass(frozen=True, kw_only=True)
class Autoencoder(Method):
    """An autoencoder: mean squared error of the decoded picture, in pixels from −1 to 1.

    Attributes:
        latent: Numbers from which a picture is decoded.
    """

    latent: int = 64

    def __post_init__(self) -> None:
        at_least(1, latent=self.latent)

    def build(self, vision: Vision) -> "AutoencoderNet":
        return AutoencoderNet(self, vision)


@dataclass(frozen=True, kw_only=True)
class VariationalAutoencoder(Method):
    """A variational autoencoder: −ELBO / D, in nats for each colour value.

    Attributes:
        latent: Numbers of the latent variable z.
        beta: Weight of the KL divergence; 1 is the evidence lower bound.
        variance: Variance of the pixels around the decoded ones, in pixels from −1 to 1. Default: the one that is most
            likely for each batch.
    """

    latent: int = 64
    beta: float = 1.0
    variance: float | None = None

    def __post_init__(self) -> None:
        at_least(1, latent=self.latent)
        if not 0 <= self.beta < math.inf:
            raise RecipeError(f"expected a beta of 0 or above, got {self.beta}.")
        if self.variance is not None:
            positive(variance=self.variance)

    def build(self, vision: Vision) -> "VariationalNet":
        return VariationalNet(self, vision)


class AutoencoderNet(PretrainingModel):
    """An encoder, a linear layer to the latent numbers, and a decoder of pictures."""

    def __init__(self, options: Autoencoder, vision: Vision) -> None:
        super().__init__(vision)
        self.to_latent = nn.Linear(vision.encoder.n_features, options.latent)
        self.decoder = PictureDecoder(options.latent, self.view.channels, self.view.encoded)

    def forward(self, pictures: Bytes, draws: Draws) -> Float[Tensor, ""]:
        pixels = self.crops(pictures, draws["places"])
        return (pixels - self._again(pixels)).float().square().mean()

    def shown(self, pictures: Bytes, draws: Draws) -> Rows:
        pixels = self.crops(pictures)
        return {"picture": pixels, "decoded": self._again(pixels)}

    def _again(self, pixels: Pixels) -> Pixels:
        return cast(Tensor, self.decoder(self.to_latent(self.encoder(pixels))))


class VariationalNet(PretrainingModel):
    """An encoder, a linear layer to mean and log variance of z, and a decoder of pictures."""

    def __init__(self, options: VariationalAutoencoder, vision: Vision) -> None:
        super().__init__(vision)
        self.options = options
        self.to_latent = nn.Linear(vision.encoder.n_features, 2 * options.latent)
        self.decoder = PictureDecoder(options.latent, self.view.channels, self.view.encoded)

    def draw(self, count: int, *, rng: torch.Generator) -> Draws:
        noise = torch.randn(count, self.options.latent, generator=rng, device=rng.device)
        return {**super().draw(count, rng=rng), "noise": noise}

    def forward(self, pictures: Bytes, draws: Draws) -> Float[Tensor, ""]:
        pixels = self.crops(pictures, draws["places"])
        mean, log_variance = self.posterior(pixels)
        decoded = cast(Tensor, self.decoder(mean + (log_variance / 2).exp() * draws["noise"]))
        per_value = gaussian_kl(mean, log_variance).mean() / pixels[0].numel()
        return negative_log_likelihood(pixels - decoded, self.options.variance) + self.options.beta * per_value

    def posterior(self, pixels: Pixels) -> tuple[Float[Tensor, "b z"], Float[Tensor, "b z"]]:
        """Mean and log variance of z given pictures."""
        mean, log_variance = cast(Tensor, self.to_latent(self.encoder(pixels))).float().chunk(2, dim=-1)
        return mean, log_variance.clamp(-LARGEST_LOG_VARIANCE, LARGEST_LOG_VARIANCE)

    def shown(self, pictures: Bytes, draws: Draws) -> Rows:
        pixels = self.crops(pictures)
        mean, _ = self.posterior(pixels)
        decoded = cast(Tensor, self.decoder(mean))
        return {
            "picture": pixels,
            "decoded from the mean": decoded,
            "decoded from N(0, 1)": cast(Tensor, self.decoder(draws["noise"])),
        }
