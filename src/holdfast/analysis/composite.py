"""Distance of distributions of composite actions: Δ_ε under d_max.

    d_max(a, a') = max_k (‖ū_k − ū'_k‖ + ‖x̄_k − x̄'_k‖ + ‖K_k − K'_k‖)     (K in the operator norm)
    Δ_ε(P, Q)    = inf_μ P_μ[d_max > ε] ≤ W₁(P, Q) / ε

(Block et al. 2023, arXiv 2307.14619, sections 2 and 3.)
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from ..errors import ShapeError
from ..types import PrimitiveControllers
from .matching import BLOCK_SIZE, pairwise


def composite_distances(
    one: PrimitiveControllers,
    other: PrimitiveControllers,
    *,
    difference: Callable[[Tensor, Tensor], Tensor] = torch.sub,
) -> Float[Tensor, "*b k j"]:
    """d_max between all composite actions of two sets; its `total_variation` is Δ_ε.

    Args:
        one: Composite actions `[*b, k, h, ·]`, such as k samples of a policy at one observation.
        other: Composite actions `[*b, j, h, ·]`.
        difference: Difference of two states.

    Raises:
        ShapeError: The chunks differ in length, dimension or leading axes.

    >>> gains = torch.tensor([2.0, 0.0]).reshape(1, 2, 1, 1)  # sample, step, action, state
    >>> chunk = PrimitiveControllers(actions=torch.tensor([[[0.0], [1.0]]]), states=torch.zeros(1, 2, 1), gains=gains)
    >>> composite_distances(chunk, PrimitiveControllers.open_loop(torch.zeros(1, 2, 1), torch.ones(1, 2, 1)))
    tensor([[3.]], dtype=torch.float64)
    """
    _check(one, other)
    leading, steps = one.actions.shape[:-3], one.actions.shape[-2]
    rows = [_flat(chunks) for chunks in (one, other)]
    tables = list[Tensor]()
    for mine, theirs in zip(*rows, strict=True):
        parts = list[Tensor]()
        for step in range(steps):
            a, b = mine.at(step), theirs.at(step)
            parts.append(
                pairwise(a.actions, b.actions)
                + pairwise(a.states, b.states, difference)
                + _gain_distances(a.gains.double(), b.gains.double())
            )
        tables.append(torch.stack(parts).amax(dim=0))
    return torch.stack(tables).reshape(*leading, *tables[0].shape)


def _gain_distances(one: Float[Tensor, "i m n"], other: Float[Tensor, "j m n"]) -> Float[Tensor, "i j"]:
    if min(one.shape[1:]) == 1:
        # the operator norm of a single row or column is its Euclidean norm
        return pairwise(one.flatten(1), other.flatten(1))
    rows = max(1, BLOCK_SIZE // other.numel())
    parts = [_norm(one[begin : begin + rows, None] - other) for begin in range(0, len(one), rows)]
    return torch.cat(parts)


def _norm(gains: Float[Tensor, "*b m n"]) -> Float[Tensor, "*b"]:
    return torch.linalg.matrix_norm(gains, ord=2)  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]


def _flat(chunks: PrimitiveControllers) -> list[PrimitiveControllers]:
    """The sets as a list, `[k, h, ·]` each."""
    actions = chunks.actions.reshape(-1, *chunks.actions.shape[-3:])
    states = chunks.states.reshape(-1, *chunks.states.shape[-3:])
    gains = chunks.gains.reshape(-1, *chunks.gains.shape[-4:])
    return [PrimitiveControllers(actions=u, states=x, gains=k) for u, x, k in zip(actions, states, gains, strict=True)]


def _check(one: PrimitiveControllers, other: PrimitiveControllers) -> None:
    shapes = [[tuple(part.shape) for part in (c.actions, c.states)] for c in (one, other)]
    for name, a, b in zip(("actions", "states"), *shapes, strict=True):
        if len(a) < 3 or a[:-3] != b[:-3] or a[-2:] != b[-2:]:
            raise ShapeError(
                f"expected two sets of composite actions [*, samples, steps, coordinates] that differ in the number of "
                f"samples at most, got {name} {list(a)} and {list(b)}."
            )
