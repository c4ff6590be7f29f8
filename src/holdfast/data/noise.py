"""The observation noise of HINT: one Gaussian law, used as augmentation in training and by the policy in deployment.

    z' = z + σ ε,    ε ~ N(0, I)

`z` is a normalised observation, so σ is in units of a coordinate's half range: σ = 0.1 is a twentieth of the range that
the training episodes cover. A policy trained on noised observations and fed noised observations, fresh at each plan, is
the *replica* policy: it draws demonstrations that could have been recorded near where it stands. With noise in training
alone it is the *deconvolution* policy. (Block et al. 2023, arXiv 2307.14619, definitions 3.5 and 3.6.)
"""

import torch
from jaxtyping import Float
from torch import Tensor

from ..errors import RecipeError

__all__ = ["noised"]


def noised(z: Float[Tensor, "*b o d"], sigma: float, *, rng: torch.Generator) -> Float[Tensor, "*b o d"]:
    """A normalised observation window with Gaussian noise of standard deviation σ on every number.

    With σ = 0 it is `z` itself, and nothing is drawn from `rng`. A generator on another device than `z` is used where
    it lives, so that the noise does not depend on where the model runs.

    Raises:
        RecipeError: σ is negative or not a number.

    >>> window = torch.zeros(2, 3)
    >>> noised(window, 0.0, rng=torch.Generator()) is window
    True
    >>> noised(window, 0.1, rng=torch.Generator().manual_seed(0)).shape
    torch.Size([2, 3])
    """
    if not 0 <= sigma < float("inf"):
        raise RecipeError(f"sigma is the standard deviation of observation noise, 0 or above; got {sigma}.")
    if sigma == 0:
        return z
    noise = torch.randn(z.shape, generator=rng, dtype=z.dtype, device=rng.device)
    return z + sigma * noise.to(z.device)
