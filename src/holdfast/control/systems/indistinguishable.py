"""Two systems, each with an expert, that share their demonstrations but not the safe behaviour off the data.

In coordinates (p, q), for the signs s = +1 and s = −1,

    A_s = [ sρ  b ]     K_s = [ −sρ  −b ]     A_s + K_s = [ 0  0 ]     x' = A_s x + u,    u = K_s x
          [ −b  0 ]           [   b   λ ]                 [ 0  λ ]

**Same data.** A_s and K_s depend on s through their first column only. On V = span(e_q) both systems therefore move
equally and both experts act equally, and V is invariant, since x' = λ x there. So all demonstrations from V are
identical, bit for bit.

**Stable in open and in closed loop.** The closed loop is [0 0; 0 λ] for both, with λ < 1. A_s has trace sρ and
determinant b², so for ρ < 2b its eigenvalues are complex with modulus b: both open loops are stable for b < 1.

**No linear policy is safe for both.** The matrix of a policy that is exact on V has second column (−b, λ) and an
arbitrary first column (k, κ). The closed loop [sρ + k, 0; κ − b, λ] has the eigenvalue sρ + k, and
max(|ρ + k|, |ρ − k|) ≥ ρ. So for ρ > 1 and any k, an error ε in p grows as ρᵗ ε in at least one of the two systems:
the data demand that the policy cancels the coupling b, which removes the stability of the open loop.

The mechanism is that of Simchowitz, Pfrommer and Jadbabaie 2025 (arXiv 2503.09722): pairs (A_i, K_i) that are
indistinguishable on span(e_2), an imitator that acts as kx, and growth by ρ + k or ρ − k. The matrices are our own.
The result of the paper is stronger: it concerns nonlinear experts and an error that no learner can avoid.
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

Sign = Literal[1, -1]
SIGNS: tuple[Sign, Sign] = (1, -1)


@dataclass(frozen=True)
class IndistinguishablePair:
    """The pair, in coordinates rotated by `angle`.

    Attributes:
        rho: ρ, the factor by which an error off V grows in at least one of the two systems.
        coupling: b, the modulus of the open-loop eigenvalues.
        decay: λ, the expert's convergence rate to the origin.
        angle: Rotation of states and actions [rad], so that no coordinate is constant in the data and no scaling of
            coordinates reveals V.

    Raises:
        RecipeError: An open loop or the expert's closed loop is unstable, or ρ is not above 1.

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
    def rotation(self) -> Float[Tensor, "2 2"]:
        """Rotation from (p, q) to the coordinates of states and actions; its columns are e_p and e_q."""
        c, s = math.cos(self.angle), math.sin(self.angle)
        return torch.tensor([[c, -s], [s, c]], dtype=torch.float64)

    def system(self, sign: Sign) -> Linear:
        """`x' = A_s x + u`."""
        A = torch.tensor([[sign * self.rho, self.coupling], [-self.coupling, 0.0]], dtype=torch.float64)
        return Linear(self._rotated(A), torch.eye(2, dtype=torch.float64), name=f"indistinguishable{sign:+d}")

    def gain(self, sign: Sign) -> Float[Tensor, "2 2"]:
        """Gain `K_s` of the expert `u = K_s x`."""
        K = torch.tensor([[-sign * self.rho, -self.coupling], [self.coupling, self.decay]], dtype=torch.float64)
        return self._rotated(K)

    def initial_states(self, count: int, *, rng: torch.Generator) -> Float[Tensor, "count 2"]:
        """Initial states on V, with `q` uniform on [-1, 1]."""
        q = 2 * torch.rand(count, dtype=torch.float64, generator=rng) - 1
        return q[:, None] * self.rotation[:, 1]

    def demonstrations(self, initial_states: Float[Tensor, "b 2"], steps: int) -> Trajectory:
        """Demonstrations of both experts from states on V: `q_t = λᵗ q_0`, `u_t = (−b, λ) q_t`.

        Computed in closed form, so that p is exactly 0: a scaling could amplify rounding errors.
        """
        q = (initial_states @ self.rotation[:, 1])[:, None, None] * self.decay ** torch.arange(steps + 1).double()[
            :, None
        ]
        act = self.rotation @ torch.tensor([-self.coupling, self.decay], dtype=torch.float64)
        return Trajectory(actions=q[:, :-1] * act, states=q * self.rotation[:, 1])

    def distance_from_data(self, states: Float[Tensor, "*b 2"]) -> Float[Tensor, "*b"]:
        """Distance `|p|` of states from V."""
        return (states @ self.rotation[:, 0].to(states)).abs()

    def _rotated(self, matrix: Float[Tensor, "2 2"]) -> Float[Tensor, "2 2"]:
        return self.rotation @ matrix @ self.rotation.mT
