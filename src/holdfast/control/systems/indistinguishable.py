"""Two systems, each with an expert, whose demonstrations are the same: what to do off the data cannot be learned.

In coordinates (p, q), for the signs s = +1 and s = −1,

    A_s = [ sρ  b ]     K_s = [ −sρ  −b ]     A_s + K_s = [ 0  0 ]     x' = A_s x + u,    u = K_s x
          [ −b  0 ]           [   b   λ ]                 [ 0  λ ]

**Same data.** A_s and K_s depend on s through their first column only. On V = span(e_q) both systems therefore move
alike and both experts act alike; x_1 ∈ V stays in V, as x' = λ x. So all demonstrations from V are equal, to the bit.

**Stable, with the expert and without.** The closed loop is [0 0; 0 λ] for both, λ < 1. Of A_s the trace is sρ and the
determinant b², so that for ρ < 2b its eigenvalues are complex with modulus b: both open loops are stable for b < 1.

**No linear law is safe in both.** A law that is exact on V has second column (−b, λ) and any first one, (k, κ). Its
loop [sρ + k, 0; κ − b, λ] has the eigenvalue sρ + k, and max(|ρ + k|, |ρ − k|) ≥ ρ. So for ρ > 1, whatever k is, an
error of ε in p grows as ρᵗ ε at least in one of the two: cancelling the coupling b is what data ask for, and what
takes away the open loop's stability.

The mechanism is that of Simchowitz, Pfrommer and Jadbabaie 2025 (arXiv 2503.09722): pairs (A_i, K_i) that cannot be
told apart on span(e_2), an imitator that acts as kx, growth by ρ + k or ρ − k. The matrices are ours, for those of the
paper were not at hand; and theirs is a statement on nonlinear experts, with an error that no learner can avoid.
"""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from ...errors import RecipeError
from ...types import Trajectory
from .linear import Linear

__all__ = ["SIGNS", "IndistinguishablePair", "Sign"]

Sign = Literal[1, -1]
SIGNS: tuple[Sign, Sign] = (1, -1)


@dataclass(frozen=True)
class IndistinguishablePair:
    """The pair, in coordinates that are turned by `angle`.

    Attributes:
        rho: ρ, the factor by which an error off V grows at least in one of the two.
        coupling: b, the modulus of the open loops' eigenvalues.
        decay: λ, of the expert's way to the origin.
        angle: By which states and actions are turned [rad], so that no coordinate is constant in the data and no
            scaling of coordinates knows V.

    Raises:
        RecipeError: An open loop or the expert's is not stable, or ρ is not above 1.

    >>> pair = IndistinguishablePair()
    >>> [round(float(torch.linalg.eigvals(pair.system(sign).A).abs().max()), 6) for sign in SIGNS]
    [0.7, 0.7]
    """

    rho: float = 1.2
    coupling: float = 0.7
    decay: float = 0.9
    angle: float = math.pi / 4

    def __post_init__(self) -> None:
        if not (1 < self.rho < 2 * self.coupling < 2 and 0 <= self.decay < 1):
            raise RecipeError(
                "expected 1 < rho < 2 coupling < 2 and a decay in [0, 1), so that both open loops and the expert's are "
                f"stable; got rho = {self.rho}, coupling = {self.coupling}, decay = {self.decay}."
            )

    @property
    def turn(self) -> Float[Tensor, "2 2"]:
        """From (p, q) to the coordinates of states and actions; its columns are e_p and e_q."""
        c, s = math.cos(self.angle), math.sin(self.angle)
        return torch.tensor([[c, -s], [s, c]], dtype=torch.float64)

    def system(self, sign: Sign) -> Linear:
        """`x' = A_s x + u`."""
        A = torch.tensor([[sign * self.rho, self.coupling], [-self.coupling, 0.0]], dtype=torch.float64)
        return Linear(self._turned(A), torch.eye(2, dtype=torch.float64), name=f"indistinguishable{sign:+d}")

    def gain(self, sign: Sign) -> Float[Tensor, "2 2"]:
        """`K_s` of the expert `u = K_s x`."""
        K = torch.tensor([[-sign * self.rho, -self.coupling], [self.coupling, self.decay]], dtype=torch.float64)
        return self._turned(K)

    def starts(self, count: int, *, rng: torch.Generator) -> Float[Tensor, "count 2"]:
        """Initial states on V, `q` uniform on [-1, 1]."""
        q = 2 * torch.rand(count, dtype=torch.float64, generator=rng) - 1
        return q[:, None] * self.turn[:, 1]

    def demonstrations(self, starts: Float[Tensor, "b 2"], steps: int) -> Trajectory:
        """What both experts show from states on V: `q_t = λᵗ q_0`, `u_t = (−b, λ) q_t`.

        Written out, so that p is 0 in them without rounding that a scale could blow up.
        """
        q = (starts @ self.turn[:, 1])[:, None, None] * self.decay ** torch.arange(steps + 1).double()[:, None]
        act = self.turn @ torch.tensor([-self.coupling, self.decay], dtype=torch.float64)
        return Trajectory(actions=q[:, :-1] * act, states=q * self.turn[:, 1])

    def off_data(self, states: Float[Tensor, "*b 2"]) -> Float[Tensor, "*b"]:
        """`|p|`: how far states are from V."""
        return (states @ self.turn[:, 0].to(states)).abs()

    def _turned(self, matrix: Float[Tensor, "2 2"]) -> Float[Tensor, "2 2"]:
        return self.turn @ matrix @ self.turn.mT
