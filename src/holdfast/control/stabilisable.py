"""Stabilisability of a linear system: the mode that the actions cannot reach.

A mode `wᴴA = λ wᴴ` with `wᴴB = 0` evolves autonomously, `wᴴx_{t+1} = λ wᴴx_t`, under any feedback.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from ._typed import eigenvalues, svd


@dataclass(frozen=True)
class Mode:
    """An uncontrollable mode of `x' = A x + B u`.

    Attributes:
        eigenvalue: λ, the factor by which the mode grows at each step.
        direction: Left eigenvector w of length 1; `wᴴx` evolves autonomously.
    """

    eigenvalue: complex
    direction: Complex[Tensor, " n"]

    def describe(self, state_names: tuple[str, ...] = ()) -> str:
        """Description of the mode: its eigenvalue, and the state with the largest weight."""
        leader = int(self.direction.abs().argmax())
        state = state_names[leader] if leader < len(state_names) else f"state {leader}"
        value = f"{self.eigenvalue.real:.4g}" if abs(self.eigenvalue.imag) < 1e-9 else f"{self.eigenvalue:.4g}"
        return f"the mode with eigenvalue {value} (|eigenvalue| {abs(self.eigenvalue):.4g}), mostly {state}"


def unreachable_mode(
    A: Float[Tensor, "n n"], B: Float[Tensor, "n m"], *, tolerance: float = 1e-7, margin: float = 1e-9
) -> Mode | None:
    """An uncontrollable mode with `|λ| ≥ 1`, at which `[A − λI, B]` loses rank, or `None`.

    The pair is stabilisable if and only if there is none (Popov–Belevitch–Hautus test; Hautus 1969). Computed
    eigenvalues of Jordan blocks have errors of `eps^(1/size)` (a hovering quadrotor has six equal to 1), so each
    candidate is first refined by the Rayleigh quotient of its left singular vector; true modes are fixed points.

    Args:
        A: State matrix.
        B: Action matrix.
        tolerance: Smallest singular value, relative to the largest, below which the rank is considered lost.
        margin: Distance from the unit circle within which a mode is considered not to decay.

    >>> A = torch.diag(torch.tensor([0.5, 1.2]))
    >>> mode = unreachable_mode(A, torch.tensor([[1.0], [0.0]]))
    >>> mode.describe(("speed", "drift"))
    'the mode with eigenvalue 1.2 (|eigenvalue| 1.2), mostly drift'
    >>> unreachable_mode(A, torch.tensor([[0.0], [1.0]])) is None
    True
    """
    pair = A.to(torch.complex128), B.to(torch.complex128)
    # Slack of 1e-3: a defective eigenvalue on the circle may be computed inside; refinement then decides.
    candidates = [_refine(*pair, value) for value in eigenvalues(pair[0]) if float(value.abs()) > 1 - 1e-3]
    lost = [mode for rank, mode in candidates if rank < tolerance and abs(mode.eigenvalue) >= 1 - margin]
    return max(lost, key=lambda mode: abs(mode.eigenvalue), default=None)


def _refine(A: Tensor, B: Tensor, value: Tensor, rounds: int = 10) -> tuple[float, Mode]:
    """Relative smallest singular value of `[A − λI, B]` near λ, and its mode."""
    for _ in range(rounds):
        w, _ = _last_singular(A, B, value)
        value = w.conj() @ A @ w
    w, relative = _last_singular(A, B, value)
    return relative, Mode(complex(value.item()), w)


def _last_singular(A: Tensor, B: Tensor, value: Tensor) -> tuple[Tensor, float]:
    """Left singular vector of the smallest singular value of `[A − λI, B]`, and that value relative to the largest."""
    left, singular, _ = svd(torch.cat([A - value * torch.eye(len(A)).to(A), B], -1))
    return left[:, -1], float(singular[-1] / singular[0].clamp(min=1e-300))
