"""The course of D3IL's obstacle avoidance: six cylinders in three rows, and the 24 ways between them.

The tip of the arm is a rod that starts before the first row and is to pass the finish line without touching. A way
is named by its *mode*: left or right of the first row's cylinder, which of three gaps in the second row, which of four
in the third; 2 · 3 · 4 = 24. (Jia et al. 2024, D3IL, arXiv 2402.14606; ALRhub/d3il: gym_avoiding.)
"""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor

__all__ = [
    "AVOID_FINISH",
    "AVOID_MODES",
    "AVOID_OBSTACLES",
    "AVOID_ROD",
    "AVOID_START",
    "clearance",
    "gaps_passed",
    "mode_of",
    "mode_of_gaps",
]

AVOID_START = (0.525, -0.28)
"""Where desired and actual position begin, x and y [m]."""

AVOID_FINISH = 0.35
"""An episode is solved when the actual y is beyond this [m]."""

AVOID_OBSTACLES = (
    (0.500, -0.10, 0.030),
    (0.425, 0.08, 0.025),
    (0.575, 0.08, 0.025),
    (0.350, 0.26, 0.025),
    (0.500, 0.26, 0.025),
    (0.650, 0.26, 0.025),
)
"""The cylinders: x, y and radius [m]."""

AVOID_ROD = 0.010
"""Radius of the rod [m]. The human demonstrations keep its axis at least 11.6 mm off the cylinders."""

AVOID_MODES = 24

# Rows are told from the axis of the rod: the first two within 3 cm of their cylinders' y, the third from its y on.
_ROWS, _BAND = (-0.10, 0.08, 0.26), 0.03
_SPLITS = ((0.5,), (0.425, 0.575), (0.35, 0.5, 0.65))


def clearance(before: Float[Tensor, "*b 2"], after: Float[Tensor, "*b 2"]) -> Float[Tensor, "*b"]:
    """Smallest distance [m] of the rod's axis from a cylinder's surface, on the straight way from one point to another.

    The rod touches where this is below `AVOID_ROD`; inside a cylinder it is negative. The way counts, not its end
    alone, so that no step is long enough to jump over a cylinder.

    >>> clearance(torch.tensor([0.45, -0.1]), torch.tensor([0.55, -0.1]))
    tensor(-0.0300)
    """
    obstacles = before.new_tensor(AVOID_OBSTACLES)
    way = (after - before)[..., None, :]
    towards = obstacles[:, :2] - before[..., None, :]
    length = way.square().sum(-1)
    # a step of length 0 is its own nearest point
    share = ((towards * way).sum(-1) / length.clamp(min=torch.finfo(length.dtype).tiny)).clamp(0, 1)
    apart = (towards - share[..., None] * way).square().sum(-1).sqrt()
    return (apart - obstacles[:, 2]).amin(dim=-1)


def gaps_passed(position: Float[Tensor, "*b 2"]) -> Int[Tensor, "*b 3"]:
    """Gap of each row in which a position lies, counted from the left (small x); −1 where it is not at that row.

    >>> gaps_passed(torch.tensor([[0.46, -0.1], [0.5, 0.06], [0.7, 0.3]]))
    tensor([[ 0, -1, -1],
            [-1,  1, -1],
            [-1, -1,  3]])
    """
    x, y = position[..., 0].contiguous(), position[..., 1]
    gaps = torch.stack([torch.bucketize(x, x.new_tensor(splits), right=True) for splits in _SPLITS], dim=-1)
    first, second, third = _ROWS
    at_row = torch.stack([(y - first).abs() <= _BAND, (y - second).abs() <= _BAND, y >= third], dim=-1)
    return torch.where(at_row, gaps, -1)


def mode_of_gaps(gaps: Int[Tensor, "*b 3"]) -> Float[Tensor, "*b"]:
    """The mode of gaps `(g₁, g₂, g₃)`: `12 g₁ + 4 g₂ + g₃`, from 0 to 23; NaN while one of them is −1.

    >>> mode_of_gaps(torch.tensor([[1, 2, 3], [0, 1, -1]]))
    tensor([23., nan], dtype=torch.float64)
    """
    mode = (gaps * gaps.new_tensor([12, 4, 1])).sum(-1).double()
    return mode.masked_fill((gaps < 0).any(dim=-1), math.nan)


def mode_of(path: Float[Tensor, "*b t 2"]) -> Float[Tensor, "*b"]:
    """The mode of paths of the actual position, 0 to 23; NaN for a path that does not reach all rows.

    A row's gap is the one of the first position at that row. Whether the path touches is not asked.

    >>> mode_of(torch.tensor([[0.52, -0.28], [0.55, -0.1], [0.5, 0.08], [0.6, 0.27]]))
    tensor(18., dtype=torch.float64)
    """
    gaps = gaps_passed(path)
    first = (gaps >= 0).to(torch.int8).argmax(dim=-2, keepdim=True)
    return mode_of_gaps(gaps.gather(-2, first).squeeze(-2))
