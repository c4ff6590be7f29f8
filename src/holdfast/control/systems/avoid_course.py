"""The course of D3IL's obstacle avoidance: six cylinders in three rows, with 24 paths between them.

The tip of the arm is a rod that starts in front of the first row and must pass the finish line without touching a
cylinder. The *mode* of a path is the gap that it takes in each row: one of two in the first, of three in the second and
of four in the third; 2 · 3 · 4 = 24. (Jia et al. 2024, D3IL, arXiv 2402.14606; ALRhub/d3il: gym_avoiding.)
"""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor

AVOID_START = (0.525, -0.28)
"""Initial desired and actual position, x and y [m]."""

AVOID_FINISH = 0.35
"""An episode is successful if the actual y exceeds this value [m]."""

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
"""Radius of the rod [m]. In the human demonstrations its axis stays at least 11.6 mm from the cylinders."""

AVOID_MODES = 24

# The rod's axis is at one of the first two rows within 3 cm of its y, and at the third from its y on.
_ROWS, _BAND = (-0.10, 0.08, 0.26), 0.03
_SPLITS = ((0.5,), (0.425, 0.575), (0.35, 0.5, 0.65))


def clearance(before: Float[Tensor, "*b 2"], after: Float[Tensor, "*b 2"]) -> Float[Tensor, "*b"]:
    """Smallest distance [m] between the rod's axis and the surface of a cylinder on a straight path between two points.

    The rod touches a cylinder if this is below `AVOID_ROD`; inside a cylinder it is negative. The whole path counts, so
    that no step can jump over a cylinder.

    >>> clearance(torch.tensor([0.45, -0.1]), torch.tensor([0.55, -0.1]))
    tensor(-0.0300)
    """
    obstacles = before.new_tensor(AVOID_OBSTACLES)
    way = (after - before)[..., None, :]
    towards = obstacles[:, :2] - before[..., None, :]
    length = way.square().sum(-1)
    # a step of length 0 is its own nearest point
    share = ((towards * way).sum(-1) / length.clamp(min=torch.finfo(length.dtype).tiny)).clamp(0, 1)
    distance = (towards - share[..., None] * way).square().sum(-1).sqrt()
    return (distance - obstacles[:, 2]).amin(dim=-1)


def gaps_passed(position: Float[Tensor, "*b 2"]) -> Int[Tensor, "*b 3"]:
    """Gap of each row at a position, counted from the left (small x); −1 if the position is not at that row.

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
    """Mode of the gaps `(g₁, g₂, g₃)`: `12 g₁ + 4 g₂ + g₃`, from 0 to 23; NaN if one of them is −1.

    >>> mode_of_gaps(torch.tensor([[1, 2, 3], [0, 1, -1]]))
    tensor([23., nan], dtype=torch.float64)
    """
    mode = (gaps * gaps.new_tensor([12, 4, 1])).sum(-1).double()
    return mode.masked_fill((gaps < 0).any(dim=-1), math.nan)


def mode_of(path: Float[Tensor, "*b t 2"]) -> Float[Tensor, "*b"]:
    """Mode of paths of the actual position, 0 to 23; NaN for a path that does not reach all rows.

    The gap of a row is that of the first position at the row. Collisions are not checked.

    >>> mode_of(torch.tensor([[0.52, -0.28], [0.55, -0.1], [0.5, 0.08], [0.6, 0.27]]))
    tensor(18., dtype=torch.float64)
    """
    gaps = gaps_passed(path)
    first = (gaps >= 0).to(torch.int8).argmax(dim=-2, keepdim=True)
    return mode_of_gaps(gaps.gather(-2, first).squeeze(-2))
