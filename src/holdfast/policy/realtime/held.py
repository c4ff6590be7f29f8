"""Prefix of the next plan: the part of the running plan that it continues.

    W_i = 1                                  i < d                 executed before the new plan can arrive
    W_i = c_i (exp(c_i) − 1) / (e − 1)       d ≤ i < H − s         c_i = (H − s − i) / (H − s − d + 1)
    W_i = 0                                  H − s ≤ i             beyond the end of the running plan

(Black et al. 2025, arXiv 2506.07339, eq. 5; H = steps of a chunk, s = steps executed between plans, d = delay.)
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ...types import Chunks, Prefix


@dataclass(frozen=True)
class Held:
    """The running plan from now on, in normalised codes.

    Attributes:
        codes: Codes of its steps, padded to the horizon.
        left: Number of its steps in each episode; the others are padding.
        delay: Forecast of the delay of the plan to be made: the number of steps that are certainly executed.
    """

    codes: Chunks
    left: Int[Tensor, " b"]
    delay: Int[Tensor, " b"]

    def firm(self) -> Prefix:
        """The steps that are executed before the new plan can arrive, given exactly."""
        index = torch.arange(self.codes.shape[1])
        return Prefix(chunk=self.codes, weights=(index < torch.minimum(self.delay, self.left)[:, None]).to(self.codes))

    def soft(self, *, jacobian: bool = True) -> Prefix:
        """All steps of the running plan, with weights that fall from 1 at the delay to 0 at its end."""
        weights = [soft_mask(self.codes.shape[1], int(n), int(d)) for n, d in zip(self.left, self.delay, strict=True)]
        return Prefix(chunk=self.codes, weights=torch.stack(weights).to(self.codes), jacobian=jacobian)


def soft_mask(horizon: int, left: int, delay: int) -> Float[Tensor, " h"]:
    """Weights W of the steps of a running plan of which `left` = H − s steps are left.

    >>> soft_mask(8, 5, 2)
    tensor([1.0000, 1.0000, 0.4876, 0.1888, 0.0413, 0.0000, 0.0000, 0.0000],
           dtype=torch.float64)
    """
    index = torch.arange(horizon, dtype=torch.float64)
    slope = (left - index) / (left - delay + 1)
    falling = slope * torch.expm1(slope) / (math.e - 1)
    weights = torch.where(index < delay, 1.0, falling)
    return torch.where(index < left, weights, 0.0)
