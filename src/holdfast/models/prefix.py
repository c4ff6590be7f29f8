"""What is known of a chunk before it is drawn, and the ways to hold on to it that several families share.

A step of weight w is a measurement of that step's code with variance (1 − w)/w, in normalised units: exact at 1, silent
at 0. Families that can condition do so by Bayes' rule; those that cannot project: they put the known steps in.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from ..errors import ShapeError
from ..types import Prefix

__all__ = ["checked", "guide", "misfit", "project"]


def checked(prefix: Prefix, observation: Float[Tensor, "b o d"], shape: tuple[int, int]) -> Prefix:
    """The prefix at the horizon's length and in the observation's precision; further steps are unknown.

    Raises:
        ShapeError: It is longer than the horizon, or of another batch or width.
    """
    horizon, width = shape
    batch, steps, numbers = prefix.chunk.shape
    if steps > horizon:
        raise ShapeError(
            f"the prefix holds {steps} steps, but the model plans chunks of {horizon}. Give at most {horizon} steps."
        )
    if (batch, numbers) != (observation.shape[0], width):
        raise ShapeError(
            f"expected a prefix of {observation.shape[0]} chunks with {width} numbers a step, got {batch} with "
            f"{numbers}. Encode it with the policy's own codec and scale, one for each observation."
        )
    chunk = observation.new_zeros(batch, horizon, width)
    chunk[:, :steps] = prefix.chunk.to(observation)
    weights = observation.new_zeros(horizon)
    weights[:steps] = prefix.weights.to(observation)
    # a step of no weight may hold anything, NaN included
    return Prefix(chunk=torch.where(weights[:, None] > 0, chunk, 0.0), weights=weights)


def project(chunk: Float[Tensor, "b h w"], prefix: Prefix | None) -> Float[Tensor, "b h w"]:
    """The chunk with its known steps put in: a + w (Y − a).

    For independent steps of unit variance this is the conditional mean, given measurements of variance (1 − w)/w.
    """
    if prefix is None:
        return chunk
    return chunk + prefix.weights[:, None] * (prefix.chunk - chunk)


def misfit(chunks: Float[Tensor, "*b h w"], prefix: Prefix) -> Float[Tensor, "*b"]:
    """Σ w ‖Y − a‖² of each chunk: how badly it fits what is known. Leading axes broadcast against the prefix's."""
    return (prefix.weights[:, None] * (prefix.chunk - chunks) ** 2).sum((-2, -1))


def guide(
    denoise: Callable[[Tensor], Tensor], noisy: Float[Tensor, "b h w"], prefix: Prefix, weight: float
) -> Float[Tensor, "b h w"]:
    """An estimate of the clean chunk, drawn softly towards a prefix Y with weights W (ΠGDM).

        x̂' = x̂ + λ (∂x̂/∂x)ᵀ W (Y − x̂),      x = c x₁ + b ε,      λ = (c² + b²) / c, at most as large as asked for

    The gradient is the true vector–Jacobian product through the denoiser. λ is exact for a Gaussian of unit variance.
    Pokle et al. 2023 (arXiv 2310.04432); Black et al. 2025 (arXiv 2506.07339), eq. 2–4, whose correction of the
    velocity is (1 − τ)⁻¹ times this one.

    Args:
        denoise: Noisy chunk → estimate of the clean one.
        noisy: Where on its path the chunk is.
        prefix: What is known.
        weight: λ.
    """
    with torch.enable_grad():
        leaf = noisy.detach().requires_grad_(True)
        clean = denoise(leaf)
        error = prefix.weights[:, None] * (prefix.chunk - clean)
        (correction,) = torch.autograd.grad(clean, leaf, error.detach())
    return (clean + weight * correction).detach()
