"""How strongly one step of a system, open or under feedback, draws states together.

    |f(x', u') − f(x, u)|_P  ≤  α |x' − x|_P + β |u' − u|,        |x|_P = √(xᵀPx)

With α < 1 two runs from one start that act differently stay within β/(1 − α) of the largest difference of their
actions. (Block et al. 2023, talk on arXiv 2307.14619: "(α, β)-contractive".)
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias, cast

import torch
from jaxtyping import Float
from torch import Tensor

from ..errors import DataError, RecipeError, ShapeError
from ._typed import cholesky_failures, eigenvalues, eigh
from .linearization import Linearization, finite_differences, linearize
from .stability import operator_norm
from .systems.base import System
from .systems.linear import Linear

__all__ = ["Contraction", "Differentiates", "Metric", "common_metric", "contraction", "contraction_metric"]

Differentiates: TypeAlias = Callable[[System, Tensor, Tensor], Linearization]
"""How Jacobians are found: `linearize`, or `finite_differences`."""

_linalg = cast(Any, torch.linalg)  # its stubs leave these functions untyped

# A doubling step squares the loop: after 60 of them one of radius 1 - 1e-15 has died out.
_DOUBLINGS = 60
# How much slower than its mean loop a time-varying loop may be given leave to decay, where a common metric is sought.
_SLOWER = (0.0, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9, 0.99)


@dataclass(frozen=True, eq=False)
class Metric:
    """A quadratic norm `|x|_P = √(xᵀPx)`.

    Attributes:
        P: Symmetric positive definite.

    Raises:
        ShapeError: `P` is not square.
        DataError: `P` is not symmetric positive definite.

    >>> float(Metric(torch.tensor([[4.0]])).norm(torch.tensor([3.0])))
    6.0
    """

    P: Float[Tensor, "n k"]

    def __post_init__(self) -> None:
        if self.P.shape[0] != self.P.shape[1]:
            raise ShapeError(f"expected P [n, n], got {list(self.P.shape)}.")
        object.__setattr__(self, "P", self.P.double())
        symmetric = bool(((self.P - self.P.mT).abs() <= 1e-9 * self.P.abs().amax()).all())
        if not self.P.isfinite().all() or not symmetric or cholesky_failures(self.P).any():
            raise DataError("expected a symmetric positive definite P. Take contraction_metric.")

    @property
    def root(self) -> Float[Tensor, "n n"]:
        """`S` with `P = SᵀS`, so that `|x|_P = |S x|`."""
        return _linalg.cholesky(self.P).mT

    @property
    def distortion(self) -> float:
        """`√cond(P)`: by how much a factor in this norm is worse in the Euclidean one."""
        spread = eigh(self.P)[0]
        return float((spread[-1] / spread[0]).sqrt())

    def norm(self, x: Float[Tensor, "*b n"]) -> Float[Tensor, "*b"]:
        """`|x|_P` in float64."""
        return (x.double() @ self.root.mT).square().sum(-1).sqrt()

    def of_loops(self, loops: Float[Tensor, "*b n n"]) -> Float[Tensor, "*b n n"]:
        """`S M S⁻¹`: loops in coordinates where this norm is the Euclidean one."""
        return _linalg.solve_triangular(self.root, self.root @ loops.double(), upper=True, left=False)

    def of_inputs(self, inputs: Float[Tensor, "*b n m"]) -> Float[Tensor, "*b n m"]:
        """`S B`."""
        return self.root @ inputs.double()


@dataclass(frozen=True)
class Contraction:
    """`|f(x', u') − f(x, u)|_P ≤ alpha |x' − x|_P + beta |u' − u|`.

    Attributes:
        alpha: Share of a difference of states that is left after a step.
        beta: What a difference of actions adds.
        metric: The norm of states; Euclidean where it is `None`. Actions are measured in the Euclidean norm.
        points: At how many points the system was linearised.
        exact: True for linear systems under one gain: `alpha` and `beta` are the smallest constants in this metric.
            False elsewhere: the largest over the points, an estimate that proves nothing between and beyond them.

    >>> toy = Contraction(alpha=0.9, beta=1.0, metric=None, points=1, exact=True)
    >>> round(toy.gain, 9)
    10.0
    """

    alpha: float
    beta: float
    metric: Metric | None
    points: int
    exact: bool

    @property
    def contracting(self) -> bool:
        """Whether `alpha < 1`."""
        return self.alpha < 1

    @property
    def gain(self) -> float:
        """`β/(1 − α)`: the largest distance of states for actions that differ by 1; infinite where `α ≥ 1`."""
        return self.beta / (1 - self.alpha) if self.contracting else float("inf")


def contraction(
    system: System,
    states: Float[Tensor, "*b n"],
    actions: Float[Tensor, "*b m"],
    *,
    gains: Float[Tensor, "*k m n"] | None = None,
    metric: Metric | None = None,
    derivatives: Differentiates = linearize,
) -> Contraction:
    """The (α, β)-contraction of a system, or of its loop under feedback, over a set of points.

        α = max_i |A_i + B_i K_i|_P,        β = max_i |B_i|_{2→P}

    Exact for a `Linear` system under one gain, wherever the points lie. For others it is the largest over the points:
    an estimate, no proof (a differentiable system contracts so on a convex set if every point of it does).

    Args:
        system: What to measure.
        states: Where to linearise.
        actions: The action in each state.
        gains: Feedback `u = … + K x`, one for all points or one each; the open loop if nothing is said.
        metric: The norm of states; Euclidean if nothing is said.
        derivatives: `linearize`, or `finite_differences` for a system that cannot be differentiated.

    Raises:
        DataError: The system has no derivatives, or they are not finite.
        ShapeError: No points.

    >>> from holdfast.control.systems import scalar
    >>> point = torch.zeros(1), torch.zeros(1)
    >>> found = contraction(scalar(0.9), *point, gains=torch.tensor([[-0.5]]))
    >>> round(found.alpha, 9), found.beta, found.exact
    (0.4, 1.0, True)
    """
    if not states.numel():
        raise ShapeError("expected at least one point to linearise at, got none. Give states and actions of a run.")
    along = _jacobians(system, states.double(), actions.double(), derivatives)
    loops = along.A if gains is None else along.A + along.B @ gains.double()
    A, B = (loops, along.B) if metric is None else (metric.of_loops(loops), metric.of_inputs(along.B))
    one_loop = gains is None or gains.dim() == 2 or bool((gains == gains.reshape(-1, *gains.shape[-2:])[0]).all())
    exact = type(system) is Linear and one_loop and derivatives is linearize
    return Contraction(_largest(A), _largest(B), metric, states.shape[:-1].numel(), exact)


def contraction_metric(A: Float[Tensor, "n n"], *, margin: float = 1e-3) -> Metric:
    """A metric in which the loop `A` contracts nearly as fast as its spectral radius ρ(A) allows.

        P = Σ_k (Aᵀ)ᵏ Aᵏ / r²ᵏ,    r = max(ρ(A), 1e-3) (1 + margin),     AᵀPA = r² (P − I)     so  |A|_P < r

    No metric has α < ρ(A), so α is optimal to within the factor `1 + margin`. Nothing else is: a small margin makes P
    ill-conditioned where A is nearly defective, and the metric with the smallest β/(1 − α), or the smallest distortion
    on the way back to the Euclidean norm, is another one. Compare a few margins where those matter.

    Raises:
        RecipeError: `margin` is not positive.

    >>> A = torch.tensor([[0.5, 10.0], [0.0, 0.5]])
    >>> bool(torch.linalg.matrix_norm(contraction_metric(A).of_loops(A.double()), 2) < 0.5006)
    True
    """
    if not margin > 0:
        raise RecipeError(f"expected margin > 0, got {margin}. At 0 the metric exists for few loops only.")
    radius = max(float(eigenvalues(A.double()).abs().max()), 1e-3) * (1 + margin)
    return Metric(_lyapunov(A.double() / radius))


def common_metric(loops: Float[Tensor, "*t n n"]) -> tuple[Metric, float] | None:
    """A metric in which every one of the loops contracts, with the largest factor α; `None` where none was found.

    Tries the metrics of the mean loop, `contraction_metric` with wider and wider margins, and keeps the one with the
    smallest α over all loops, if that is below 1. `None` proves nothing: another metric may do.

    >>> common_metric(torch.tensor([[[0.5]], [[-0.8]]]))[1] < 0.81
    True
    """
    flat = loops.double().reshape(-1, *loops.shape[-2:])
    mean = flat.mean(0)
    radius = max(float(eigenvalues(mean).abs().max()), 1e-3)
    if not radius < 1:
        return None
    margins = [(1 - radius) * slower / radius or 1e-3 for slower in _SLOWER]
    metrics = [contraction_metric(mean, margin=margin) for margin in margins]
    tried = [(metric, _largest(metric.of_loops(flat))) for metric in metrics]
    best = min(tried, key=lambda found: found[1])
    return best if best[1] < 1 else None


def _lyapunov(A: Float[Tensor, "n n"]) -> Float[Tensor, "n n"]:
    """`P = I + AᵀPA` by doubling, for a loop inside the unit circle."""
    total, power = torch.eye(len(A)).to(A), A
    for _ in range(_DOUBLINGS):
        rise = power.mT @ total @ power
        total, power = total + (rise + rise.mT) / 2, power @ power
        if rise.abs().amax() <= 1e-16 * total.abs().amax():
            break
    return total


def _largest(matrices: Float[Tensor, "*b n k"]) -> float:
    return float(operator_norm(matrices).amax())


def _jacobians(system: System, states: Tensor, actions: Tensor, derivatives: Differentiates) -> Linearization:
    way_out = (
        f"{system.name} has no derivatives that automatic differentiation can find. "
        "Give derivatives=finite_differences, which only calls its step."
    )
    try:
        along = derivatives(system, states, actions)
    except (RuntimeError, NotImplementedError, TypeError) as error:
        raise DataError(f"{way_out} ({str(error).splitlines()[0]})") from error
    if not (along.A.isfinite().all() and along.B.isfinite().all()):
        raise DataError(f"expected finite derivatives of {system.name}, got NaN or infinity. Look for them in states.")
    # a step that leaves the tape says nothing, and its derivative comes out as 0
    if derivatives is linearize and not along.A.any() and not along.B.any():
        checked = finite_differences(system, states, actions)
        if checked.A.any() or checked.B.any():
            raise DataError(way_out)
    return along
