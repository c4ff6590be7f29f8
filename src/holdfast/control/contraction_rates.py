"""Contraction of a system over one step, in open loop or under feedback.

    |f(x', u') − f(x, u)|_P  ≤  α |x' − x|_P + β |u' − u|,        |x|_P = √(xᵀPx)

With α < 1, two trajectories from one initial state stay within β/(1 − α) of the largest difference of their actions.
(Block et al. 2023, talk on arXiv 2307.14619: "(α, β)-contractive".)
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

Linearizer: TypeAlias = Callable[[System, Tensor, Tensor], Linearization]
"""A method that computes Jacobians: `linearize` or `finite_differences`."""

_linalg = cast(Any, torch.linalg)  # its stubs leave these functions untyped

# A doubling step squares the loop: after 60 of them a loop of spectral radius 1 - 1e-15 has decayed.
_DOUBLINGS = 60
# Margins in the search for a common metric, as shares of the mean loop's distance from instability.
_MARGINS = (0.0, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9, 0.99)


@dataclass(frozen=True, eq=False)
class Metric:
    """A quadratic norm `|x|_P = √(xᵀPx)`.

    Attributes:
        P: Symmetric positive definite matrix.

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
            raise DataError("expected a symmetric positive definite P. Use contraction_metric.")

    @property
    def root(self) -> Float[Tensor, "n n"]:
        """`S` with `P = SᵀS`, so that `|x|_P = |S x|`."""
        return _linalg.cholesky(self.P).mT

    @property
    def distortion(self) -> float:
        """`√cond(P)`: largest ratio of a matrix norm in the Euclidean norm to that in this norm."""
        spread = eigh(self.P)[0]
        return float((spread[-1] / spread[0]).sqrt())

    def norm(self, x: Float[Tensor, "*b n"]) -> Float[Tensor, "*b"]:
        """`|x|_P` in float64."""
        return (x.double() @ self.root.mT).square().sum(-1).sqrt()

    def transform_loops(self, loops: Float[Tensor, "*b n n"]) -> Float[Tensor, "*b n n"]:
        """`S M S⁻¹`: loops in coordinates in which this norm is Euclidean."""
        return _linalg.solve_triangular(self.root, self.root @ loops.double(), upper=True, left=False)

    def transform_inputs(self, inputs: Float[Tensor, "*b n m"]) -> Float[Tensor, "*b n m"]:
        """`S B`: input matrices in coordinates in which this norm is Euclidean."""
        return self.root @ inputs.double()


@dataclass(frozen=True)
class Contraction:
    """`|f(x', u') − f(x, u)|_P ≤ alpha |x' − x|_P + beta |u' − u|`.

    Attributes:
        alpha: Contraction factor of state differences.
        beta: Gain from action differences.
        metric: Norm of the states; `None` for the Euclidean norm. Actions are measured in the Euclidean norm.
        points: Number of points at which the system was linearised.
        exact: Whether `alpha` and `beta` are the smallest constants in this metric, as for linear systems under one
            gain. Otherwise they are maxima over the points: an estimate without guarantee between or beyond them.

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
        return self.alpha < 1

    @property
    def gain(self) -> float:
        """`β/(1 − α)`: largest distance of states per unit of action difference; infinite if `α ≥ 1`."""
        return self.beta / (1 - self.alpha) if self.contracting else float("inf")


def contraction(
    system: System,
    states: Float[Tensor, "*b n"],
    actions: Float[Tensor, "*b m"],
    *,
    gains: Float[Tensor, "*k m n"] | None = None,
    metric: Metric | None = None,
    derivatives: Linearizer = linearize,
) -> Contraction:
    """(α, β)-contraction of a system, in open loop or under feedback, over a set of points.

        α = max_i |A_i + B_i K_i|_P,        β = max_i |B_i|_{2→P}

    Exact for a `Linear` system under one gain. For other systems the maximum over the points is an estimate, not a
    bound (a differentiable system contracts on a convex set if its Jacobians do at every point of the set).

    Args:
        system: System.
        states: States at which to linearise.
        actions: Action in each state.
        gains: Feedback gains K, one for all points or one for each point. Default: open loop.
        metric: Norm of the states. Default: Euclidean.
        derivatives: `linearize`, or `finite_differences` for a system that cannot be differentiated.

    Raises:
        DataError: The system has no derivatives, or they are not finite.
        ShapeError: There are no points.

    >>> from holdfast.control.systems import scalar
    >>> point = torch.zeros(1), torch.zeros(1)
    >>> found = contraction(scalar(0.9), *point, gains=torch.tensor([[-0.5]]))
    >>> round(found.alpha, 9), found.beta, found.exact
    (0.4, 1.0, True)
    """
    if not states.numel():
        raise ShapeError("expected at least one point to linearize at, got none. Give states and actions of a rollout.")
    along = _jacobians(system, states.double(), actions.double(), derivatives)
    loops = along.A if gains is None else along.A + along.B @ gains.double()
    A, B = (loops, along.B) if metric is None else (metric.transform_loops(loops), metric.transform_inputs(along.B))
    one_loop = gains is None or gains.dim() == 2 or bool((gains == gains.reshape(-1, *gains.shape[-2:])[0]).all())
    exact = type(system) is Linear and one_loop and derivatives is linearize
    return Contraction(_largest(A), _largest(B), metric, states.shape[:-1].numel(), exact)


def contraction_metric(A: Float[Tensor, "n n"], *, margin: float = 1e-3) -> Metric:
    """Metric in which the loop `A` contracts nearly as fast as its spectral radius ρ(A) allows.

        P = Σ_k (Aᵀ)ᵏ Aᵏ / r²ᵏ,    r = max(ρ(A), 1e-3) (1 + margin),     AᵀPA = r² (P − I)     so  |A|_P < r

    No metric has α < ρ(A), so α is optimal up to the factor `1 + margin`. Other quantities are not optimised: a small
    margin makes P ill-conditioned if A is nearly defective, and other metrics have a smaller β/(1 − α) or a smaller
    distortion. Compare several margins if these matter.

    Raises:
        RecipeError: `margin` is not positive.

    >>> A = torch.tensor([[0.5, 10.0], [0.0, 0.5]])
    >>> bool(torch.linalg.matrix_norm(contraction_metric(A).transform_loops(A.double()), 2) < 0.5006)
    True
    """
    if not margin > 0:
        raise RecipeError(f"expected margin > 0, got {margin}. At 0 the metric exists only for some loops.")
    radius = max(float(eigenvalues(A.double()).abs().max()), 1e-3) * (1 + margin)
    return Metric(_lyapunov(A.double() / radius))


def common_metric(loops: Float[Tensor, "*t n n"]) -> tuple[Metric, float] | None:
    """Metric in which all loops contract, with their largest factor α; `None` if none was found.

    Evaluates `contraction_metric` of the mean loop with increasing margins and returns the metric with the smallest α
    over all loops if this α is below 1. `None` does not prove that no such metric exists.

    >>> common_metric(torch.tensor([[[0.5]], [[-0.8]]]))[1] < 0.81
    True
    """
    flat = loops.double().reshape(-1, *loops.shape[-2:])
    mean = flat.mean(0)
    radius = max(float(eigenvalues(mean).abs().max()), 1e-3)
    if not radius < 1:
        return None
    margins = [(1 - radius) * share / radius or 1e-3 for share in _MARGINS]
    metrics = [contraction_metric(mean, margin=margin) for margin in margins]
    candidates = [(metric, _largest(metric.transform_loops(flat))) for metric in metrics]
    best = min(candidates, key=lambda found: found[1])
    return best if best[1] < 1 else None


def _lyapunov(A: Float[Tensor, "n n"]) -> Float[Tensor, "n n"]:
    """`P = I + AᵀPA` by doubling, for a loop with spectral radius below 1."""
    total, power = torch.eye(len(A)).to(A), A
    for _ in range(_DOUBLINGS):
        rise = power.mT @ total @ power
        total, power = total + (rise + rise.mT) / 2, power @ power
        if rise.abs().amax() <= 1e-16 * total.abs().amax():
            break
    return total


def _largest(matrices: Float[Tensor, "*b n k"]) -> float:
    return float(operator_norm(matrices).amax())


def _jacobians(system: System, states: Tensor, actions: Tensor, derivatives: Linearizer) -> Linearization:
    way_out = (
        f"{system.name} has no derivatives that automatic differentiation can compute. "
        "Pass derivatives=finite_differences, which only calls its step."
    )
    try:
        along = derivatives(system, states, actions)
    except (RuntimeError, NotImplementedError, TypeError) as error:
        raise DataError(f"{way_out} ({str(error).splitlines()[0]})") from error
    if not (along.A.isfinite().all() and along.B.isfinite().all()):
        raise DataError(f"expected finite derivatives of {system.name}, got NaN or infinity. Look for them in states.")
    # a step whose graph is detached raises no error; its derivatives are 0
    if derivatives is linearize and not along.A.any() and not along.B.any():
        checked = finite_differences(system, states, actions)
        if checked.A.any() or checked.B.any():
            raise DataError(way_out)
    return along
