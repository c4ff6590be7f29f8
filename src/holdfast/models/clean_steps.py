"""Clean first steps: chunks whose first d steps carry no noise, so that the others are learned given them.

    min_θ E Σ_{i ≥ d} ‖net_θ(x, τ, o)_i − target_i‖²,     x_i = a_i, τ_i that of data, for i < d;     τ_i = τ for i ≥ d

A chunk is sampled with its known steps in place in every network call. It then follows the conditional distribution as
far as the network has learned it; guidance does not, however well the network is trained. Black et al. 2025 (arXiv
2512.05964).
"""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor

from ..types import Batch, Chunks, Prefix


@dataclass(frozen=True)
class CleanSteps:
    """Known steps of chunks to be sampled.

    Attributes:
        chunk: Codes; only those of known steps matter.
        firm: True for known steps, in all chunks or one row per chunk.
    """

    chunk: Chunks
    firm: Bool[Tensor, "*b h"]

    def put(self, chunk: Chunks) -> Chunks:
        """The chunk with the known steps in place."""
        return torch.where(self.firm[..., None], self.chunk, chunk)

    def times(self, times: Shaped[Tensor, "b h"], clean: float | int) -> Shaped[Tensor, "b h"]:
        """The generative times with that of clean steps in place."""
        return torch.where(self.firm, clean, times)


def divided(prefix: Prefix | None) -> tuple[CleanSteps | None, Prefix | None]:
    """Steps of weight 1, and the others as a prefix by which the chunk is guided; `None` for none.

    A prefix that is not `asked` for its weights, as of a traced plan, always gives both.
    """
    if prefix is None:
        return None, None
    firm = prefix.weights == 1
    soft = replace(prefix, weights=torch.where(firm, 0, prefix.weights))
    known = CleanSteps(prefix.chunk, firm)
    if not prefix.asked:
        return known, soft
    return known if bool(firm.any()) else None, soft if bool((soft.weights > 0).any()) else None


def clean_in(batch: Batch) -> Bool[Tensor, "b h"]:
    """True for the steps of a training batch that carry no noise."""
    if batch.known is None:
        return torch.zeros_like(batch.mask)
    return torch.arange(batch.mask.shape[1], device=batch.mask.device) < batch.known[:, None]


def mean_where(error: Float[Tensor, "b h w"], counted: Bool[Tensor, "b h"]) -> Float[Tensor, ""]:
    """Mean over the counted steps and all coordinates; 0 where no step is counted."""
    inside = counted.to(error)[..., None]
    return (error * inside).sum() / (inside.sum() * error.shape[-1]).clamp(min=1)
