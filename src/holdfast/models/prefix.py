"""Conditioning on a prefix, the known steps of a chunk: methods shared by several families.

A step of weight w is a measurement of that step's code with variance (1 − w)/w, in normalised units: exact for 1,
without effect for 0. Families condition by Bayes' rule if they can; others project: they replace the known steps.
"""

from collections.abc import Callable
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from ..errors import ShapeError
from ..types import Chunks, Prefix, Window


def checked(prefix: Prefix, observation: Window, shape: tuple[int, int]) -> Prefix:
    """The prefix padded to the horizon with unknown steps, in the observation's dtype."""
    horizon, width = shape
    batch, steps, numbers = prefix.chunk.shape
    if steps > horizon:
        raise ShapeError(
            f"the prefix holds {steps} steps, but the model plans chunks of {horizon}. Give at most {horizon} steps."
        )
    if (batch, numbers) != (observation.shape[0], width):
        raise ShapeError(
            f"expected a prefix of {observation.shape[0]} chunks with {width} numbers per step, got {batch} with "
            f"{numbers}. Encode it with the policy's own codec and scale, one for each observation."
        )
    chunk = observation.new_zeros(batch, horizon, width)
    chunk[:, :steps] = prefix.chunk.to(observation)
    weights = observation.new_zeros(*prefix.weights.shape[:-1], horizon)
    weights[..., :steps] = prefix.weights.to(observation)
    # a step of weight 0 may have any value, including NaN
    return replace(prefix, chunk=torch.where(weights[..., None] > 0, chunk, 0.0), weights=weights)


def project(chunk: Chunks, prefix: Prefix | None) -> Chunks:
    """Replace the known steps of a chunk: a + w (Y − a).

    For independent steps of unit variance this is the conditional mean, given measurements of variance (1 − w)/w.
    """
    if prefix is None:
        return chunk
    return chunk + prefix.by_number * (prefix.chunk - chunk)


def misfit(chunks: Float[Tensor, "*b h w"], prefix: Prefix) -> Float[Tensor, "*b"]:
    """Weighted squared distance Σ w ‖Y − a‖² of each chunk to the prefix. Leading axes broadcast."""
    return (prefix.by_number * (prefix.chunk - chunks) ** 2).sum((-2, -1))


def guide(denoise: Callable[[Tensor], Tensor], noisy: Chunks, prefix: Prefix, weight: float) -> Chunks:
    """An estimate of the clean chunk, guided towards a prefix Y with weights W (ΠGDM).

        x̂' = x̂ + λ (∂x̂/∂x)ᵀ W (Y − x̂),      x = c x₁ + b ε,      λ = (c² + b²) / c, or a smaller bound

    The gradient is the exact vector–Jacobian product through the denoiser, unless the prefix asks for none: then the
    Jacobian is taken for the identity. λ is exact for a Gaussian of unit variance.
    Pokle et al. 2023 (arXiv 2310.04432); Black et al. 2025 (arXiv 2506.07339), eq. 2–4, whose correction of the
    velocity is (1 − τ)⁻¹ times this one.
    """
    if not prefix.jacobian:
        clean = denoise(noisy)
        return clean + weight * prefix.by_number * (prefix.chunk - clean)
    with torch.enable_grad():
        leaf = noisy.detach().requires_grad_(True)
        clean = denoise(leaf)
        error = prefix.by_number * (prefix.chunk - clean)
        (correction,) = torch.autograd.grad(clean, leaf, error.detach())
    return (clean + weight * correction).detach()
