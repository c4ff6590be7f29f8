"""Propagation of deviations by closed loops along a trajectory.

δx_{t+k} ≈ (A + BK)_{t+k−1} ⋯ (A + BK)_t  δx_t
"""

from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor

from ..errors import ShapeError

_linalg = cast(Any, torch.linalg)  # its stubs leave norms untyped


def closed_loop(
    A: Float[Tensor, "*b n n"], B: Float[Tensor, "*b n m"], K: Float[Tensor, "*b m n"]
) -> Float[Tensor, "*b n n"]:
    """The Jacobian `A + BK` of a step under feedback."""
    return A + B @ K


def products(jacobians: Float[Tensor, "*b t n n"], steps: int) -> Float[Tensor, "*b windows n n"]:
    """Products of `steps` consecutive Jacobians, later ones on the left.

    Window `i` of `t − steps + 1` covers steps `i..i+steps−1`.

    Raises:
        ShapeError: `steps` is not in `1..t`.

    >>> products(torch.tensor([2.0, 3.0, 5.0]).reshape(3, 1, 1), steps=2).flatten()
    tensor([ 6., 15.])
    """
    total = jacobians.shape[-3]
    if not 1 <= steps <= total:
        raise ShapeError(f"expected 1 to {total} steps, at most the number of Jacobians, got {steps}. Lower steps.")
    windows = total - steps + 1
    product = jacobians[..., :windows, :, :]
    for offset in range(1, steps):
        product = jacobians[..., offset : offset + windows, :, :] @ product
    return product


def operator_norm(matrix: Float[Tensor, "*b n k"]) -> Float[Tensor, "*b"]:
    """The largest singular value.

    >>> operator_norm(torch.tensor([[3.0, 0.0], [0.0, -4.0]]))
    tensor(4.)
    """
    return _linalg.matrix_norm(matrix, 2)
