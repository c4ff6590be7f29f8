"""Those functions of torch that its stubs leave untyped, with the types that are used here."""

from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor
from torch.func import grad, jacrev, vmap  # pyright: ignore[reportUnknownVariableType]

__all__ = ["cholesky_failures", "eigenvalues", "eigh", "jacobians", "slope_and_curvature", "solve", "svd"]

_linalg = cast(Any, torch.linalg)


def solve(matrix: Tensor, right: Tensor) -> Tensor:
    """`matrix⁻¹ right`, batched. Singular matrices give infinities: the check for them costs more than the solution."""
    return _linalg.solve_ex(matrix, right)[0]


def eigenvalues(matrix: Tensor) -> Tensor:
    """Eigenvalues, complex, batched."""
    return _linalg.eigvals(matrix)


def eigh(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Eigenvalues and eigenvectors of symmetric matrices, batched."""
    return _linalg.eigh(matrix)


def svd(matrix: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Thin singular value decomposition, batched."""
    return _linalg.svd(matrix, full_matrices=False)


def cholesky_failures(matrix: Tensor) -> Tensor:
    """True where a symmetric matrix is not positive definite, batched."""
    return _linalg.cholesky_ex(matrix)[1] > 0


def jacobians(function: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Both Jacobians of `[n], [m] → [k]` at each of many points `[b, n], [b, m]`, by reverse mode."""
    return cast(Callable[[Tensor, Tensor], tuple[Tensor, Tensor]], vmap(jacrev(function, argnums=(0, 1))))


def slope_and_curvature(function: Callable[[Tensor], Tensor]) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
    """Gradient and Hessian of `[d] → []` at each of many points `[b, d]`."""
    slope = cast(Callable[[Tensor], Tensor], grad(function))

    def twice(point: Tensor) -> tuple[Tensor, Tensor]:
        value = slope(point)
        return value, value

    curvature_and_slope = cast(Callable[[Tensor], tuple[Tensor, Tensor]], vmap(jacrev(twice, has_aux=True)))

    def both(points: Tensor) -> tuple[Tensor, Tensor]:
        curvature, slopes = curvature_and_slope(points)
        return slopes, curvature

    return both
