"""The observation noise of HINT: one law, used as augmentation in training and by the policy in deployment.

    z' = z + σ ε,    ε ~ N(0, I)

`z` is a normalised observation, so σ is in units of a coordinate's half range: σ = 0.1 is a twentieth of the range that
the training episodes cover. A policy trained on noised observations and fed noised observations, fresh at each plan, is
the *replica* policy: it draws demonstrations that could have been recorded near where it stands. With noise in training
alone it is the *deconvolution* policy. (Block et al. 2023, arXiv 2307.14619, definitions 3.5 and 3.6.)

Other laws exist to read published figures: the code behind the paper's Figure 6 draws `ε ~ U[0, 1)`, whose mean shifts
every observation by σ/2, in training *and* for the replica, but not for the deconvolution policy.
"""

from typing import Literal, assert_never

import torch
from jaxtyping import Float
from torch import Tensor

from ..errors import RecipeError

__all__ = ["NoiseLaw", "noised"]

NoiseLaw = Literal["gaussian", "uniform", "shift"]
"""Of ε: N(0, 1) as in the paper; U[0, 1) as in its published code; or ½, the mean of the latter without its spread."""


def noised(
    z: Float[Tensor, "*b o d"], sigma: float, *, rng: torch.Generator, law: NoiseLaw = "gaussian"
) -> Float[Tensor, "*b o d"]:
    """A normalised observation window with noise of scale σ on every number.

    With σ = 0 it is `z` itself, and nothing is drawn from `rng`. A generator on another device than `z` is used where
    it lives, so that the noise does not depend on where the model runs.

    Args:
        z: Normalised observations.
        sigma: Scale of the noise; its standard deviation for the Gaussian law, σ/√12 for the uniform one.
        rng: Source of the noise.
        law: What ε is.

    Raises:
        RecipeError: σ is negative or not a number.

    >>> window = torch.zeros(2, 3)
    >>> noised(window, 0.0, rng=torch.Generator()) is window
    True
    >>> noised(window, 0.1, rng=torch.Generator().manual_seed(0)).shape
    torch.Size([2, 3])
    """
    if not 0 <= sigma < float("inf"):
        raise RecipeError(f"sigma is the scale of observation noise, 0 or above; got {sigma}.")
    if sigma == 0:
        return z
    match law:
        case "gaussian":
            noise = torch.randn(z.shape, generator=rng, dtype=z.dtype, device=rng.device)
        case "uniform":
            noise = torch.rand(z.shape, generator=rng, dtype=z.dtype, device=rng.device)
        case "shift":
            return z + sigma / 2
        case _:
            assert_never(law)
    return z + sigma * noise.to(z.device)
