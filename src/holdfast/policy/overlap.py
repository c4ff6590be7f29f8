"""Weights of overlapping plans in temporal ensembling."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ..errors import RecipeError


@dataclass(frozen=True)
class Ensemble:
    """Temporal ensembling: an average of all plans that reach the current step (Zhao et al. 2023).

        w_i ∝ exp(−m i),     i = 0 for the oldest plan that reaches the current step, as published

    Attributes:
        decay: Rate m [1/step]; 0 gives equal weights.
        newest_first: Count from the newest plan instead, which then has the largest weight.
    """

    decay: float = 0.01
    newest_first: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.decay < float("inf"):
            raise RecipeError(
                f"expected a decay of 0 or above, got {self.decay}. To weigh new plans most, give newest_first=True."
            )

    def weights(self, count: int) -> Float[Tensor, " count"]:
        """Weights of `count` plans, oldest first; their sum is 1.

        >>> 7 * Ensemble(decay=0.693147).weights(3)
        tensor([4.0000, 2.0000, 1.0000], dtype=torch.float64)
        """
        weights = torch.softmax(-self.decay * torch.arange(count, dtype=torch.float64), dim=0)
        return weights.flip(0) if self.newest_first else weights
