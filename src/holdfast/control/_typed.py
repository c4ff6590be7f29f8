"""Typed wrappers of torch functions whose stubs lack types."""

from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor
from torch.func import grad, jacrev, vmap  # pyright: ignore[reportUnknownVariableType]

_linalg = cast(Any, torch.linalg)


def solve(matrix: Tensor, right: Tensor) -> Tensor:
    """`matrix⁻¹ right`, batched; infinite for singular matrices, because checking costs more than solving."""
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
    """Jacobians of `[n], [m] → [k]` by both arguments at a batch of points `[b, n], [b, m]`, by reverse mode."""
    return cast(Callable[[Tensor, Tensor], tuple[Tensor, Tensor]], vmap(jacrev(function, argnums=(0, 1))))


def gradient_and_hessian(function: Callable[[Tensor], Tensor]) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
    """Gradient and Hessian of `[d] → []` at a batch of points `[b, d]`."""
    gradient = cast(Callable[[Tensor], Tensor], grad(function))

    def value_twice(point: Tensor) -> tuple[Tensor, Tensor]:
        value = gradient(point)
        return value, value

    hessian_and_gradient = cast(Callable[[Tensor], tuple[Tensor, Tensor]], vmap(jacrev(value_twice, has_aux=True)))

    def both(points: Tensor) -> tuple[Tensor, Tensor]:
        hessians, gradients = hessian_and_gradient(points)
        return gradients, hessians

    return both
