"""How errors of the targets become errors of the position: the amplification of a servo.

Independent errors ε_t of the targets, of covariance Σ, move a servo with the linear loop x' = A x + B a by

    X_0 = 0,   X_{t+1} = A X_t Aᵀ + B Σ Bᵀ,   position errors of covariance C X_t Cᵀ

(Seo 2026, arXiv 2604.14484: the failure tail over a horizon grows with the amplification of the servo times the
validation loss). The bound is increasing in that product, which therefore ranks servos whatever its constants are; it
is computed here as the largest mean variance of a position coordinate within the horizon.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from ...errors import positive


def error_variance(
    A: Float[Tensor, "n k"],
    B: Float[Tensor, "r m"],
    C: Float[Tensor, "p s"],
    errors: Float[Tensor, " m"],
    steps: int,
) -> float:
    """Largest of `tr(C X_t Cᵀ) / p` over t = 1 … steps.

    Args:
        A: Loop of the servo over one control step.
        B: Effect of the target over one control step.
        C: Rows that read the position from the state.
        errors: Variance of the error of each coordinate of the target: Σ is diagonal.
        steps: Horizon in control steps.

    >>> half, one = torch.tensor([[0.5]]), torch.ones(1, 1)
    >>> error_variance(half, one, one, torch.tensor([2.0]), steps=2)  # 2 (1 + 0.25)
    2.5
    """
    loop, effect, read = A.double(), B.double(), C.double()
    injected = effect @ errors.double().diag() @ effect.mT
    covariance, largest = torch.zeros_like(loop), 0.0
    for _ in range(steps):
        covariance = loop @ covariance @ loop.mT + injected
        largest = max(largest, float((read @ covariance @ read.mT).diagonal().mean()))
    return largest


def amplification(A: Float[Tensor, "n k"], B: Float[Tensor, "r m"], C: Float[Tensor, "p s"], steps: int) -> float:
    """Largest mean variance of the position for errors of unit variance in each coordinate of the target."""
    return error_variance(A, B, C, B.new_ones(B.shape[1]), steps)


def stationary_amplification(stiffness: float, damping: float) -> float:
    """Stationary variance of the position of q'' = k_p (a − q) − k_d q' for white noise a of unit intensity [1/s].

        k_p / (2 k_d)

    It rises with the stiffness and falls with the damping (Seo 2026, arXiv 2604.14484, canonical second-order servo).

    Raises:
        RecipeError: A gain is not positive.

    >>> stationary_amplification(100.0, 20.0)
    2.5
    """
    positive(stiffness=stiffness, damping=damping)
    return stiffness / (2 * damping)
