"""Differences, means and signs of rotations: what subtracting and adding their numbers would get wrong.

relative      log(Rᵧᵀ Rₓ)                     rotation vector from y to x [rad]
mean          argmin Σ w ‖R − Rᵢ‖_F            by the polar factor of Σ w Rᵢ
nearest       the representative of x closest to y:   −q for q,   r (1 − 2π/|r|) for r
continuous    q_t or −q_t, the nearest to q_{t−1};    the first of an episode has w ≥ 0
"""

import math
from collections.abc import Sequence
from typing import Any, cast

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from .conversions import in_rows, normalized, quaternion_from_matrix, vector_from_matrix
from .layout import Rotation

_linalg = cast(Any, torch.linalg)  # its functions carry no types


def relative(x: Float[Tensor, "*b n"], y: Float[Tensor, "*b n"], rotation: Rotation) -> Float[Tensor, "*b 3"]:
    """Rotation vector that turns y into x, in the axes of y [rad]; its length is the angle between both."""
    return vector_from_matrix(rotation.matrices(y).transpose(-1, -2) @ rotation.matrices(x))


def difference(
    x: Float[Tensor, "*b n"], y: Float[Tensor, "*b n"], rotations: Sequence[Rotation]
) -> Float[Tensor, "*b d"]:
    """The difference x − y, where each rotation is replaced by the three numbers of its `relative` rotation vector.

    >>> half_turn = torch.tensor([2.0, 0.0, 0.0, 3.1])
    >>> difference(half_turn, half_turn * torch.tensor([0.5, 1, 1, -1]), [Rotation(1, "axis-angle")])
    tensor([ 1.0000,  0.0000,  0.0000, -0.0832])
    """
    parts, reached = list[Tensor](), 0
    for one in rotations:
        parts += [x[..., reached : one.first] - y[..., reached : one.first], relative(x, y, one)]
        reached = one.last
    return torch.cat([*parts, x[..., reached:] - y[..., reached:]], dim=-1) if rotations else x - y


def nearest(
    x: Float[Tensor, "*b n"], to: Float[Tensor, "*b n"], rotations: Sequence[Rotation]
) -> Float[Tensor, "*b n"]:
    """The same rotations in the numbers that are closest to those of `to`.

    >>> nearest(torch.tensor([0.0, 0.0, 3.1]), torch.tensor([0.0, 0.0, -3.1]), [Rotation(0, "axis-angle")])
    tensor([ 0.0000,  0.0000, -3.1832])
    """
    parts, reached = list[Tensor](), 0
    for one in rotations:
        parts += [x[..., reached : one.first], _nearest(one.of(x), one.of(to), one)]
        reached = one.last
    return torch.cat([*parts, x[..., reached:]], dim=-1) if rotations else x


def _nearest(own: Tensor, other: Tensor, one: Rotation) -> Tensor:
    if one.form in ("quaternion", "quaternion-wxyz"):
        return torch.where((own * other).sum(-1, keepdim=True) < 0, -own, own)
    if one.form != "axis-angle":
        return own
    length = own.square().sum(-1, keepdim=True).sqrt()
    axis = own / length.where(length > 0, torch.ones_like(length))
    # representatives lie on the axis, 2π apart: the one nearest to the other's projection
    turns = (((axis * other).sum(-1, keepdim=True) - length) / (2 * math.pi)).round()
    return own + 2 * math.pi * turns * axis


def mean(
    values: Float[Tensor, "k *b n"], weights: Float[Tensor, "k *b"], rotations: Sequence[Rotation]
) -> Float[Tensor, "*b n"]:
    """Weighted mean over the first axis, of rotations in the group.

    The mean rotation is the one with the least weighted sum of squared Frobenius distances: the polar factor of the
    weighted sum of matrices (Moakher 2002, SIAM J. Matrix Anal. Appl. 24(1), proposition 3.3).

    Args:
        values: Values.
        weights: Weights, which sum to 1 over the first axis.
        rotations: Coordinates that are rotations.
    """
    found = (weights[..., None] * values).sum(0)
    parts, reached = list[Tensor](), 0
    for one in rotations:
        blended = (weights[..., None, None] * one.matrices(values)).sum(0)
        parts += [found[..., reached : one.first], one.numbers(_polar(blended))]
        reached = one.last
    return torch.cat([*parts, found[..., reached:]], dim=-1) if rotations else found


def _polar(matrix: Float[Tensor, "*b 3 3"]) -> Float[Tensor, "*b 3 3"]:
    """The nearest rotation matrix (Umeyama 1991, IEEE PAMI 13(4), lemma); NaN for a matrix that is not finite."""
    finite = matrix.isfinite().all(-1).all(-1)[..., None, None]
    # one matrix that is not finite would make the decomposition of the whole batch fail
    left, _, right = cast("tuple[Tensor, Tensor, Tensor]", _linalg.svd(matrix.where(finite, torch.zeros_like(matrix))))
    sign = cast("Tensor", _linalg.det(left @ right)).sign()
    ones = torch.ones_like(sign)
    found = left @ (torch.stack([ones, ones, sign], dim=-1)[..., None] * right)
    return found.masked_fill(~finite, torch.nan)


def continuous(
    quaternions: Float[Tensor, "rows 4"], lengths: Int[Tensor, " episodes"], *, scalar: int = 3
) -> Float[Tensor, "rows 4"]:
    """Quaternions without changes of sign within episodes: w ≥ 0 in the first row, then the nearest to the row before.

    Args:
        quaternions: Quaternions of all rows.
        lengths: Number of rows of each episode.
        scalar: Index of the scalar part w.

    >>> turning = torch.tensor([[0.0, 0.0, 0.6, -0.8], [0.0, 0.0, 0.8, -0.6], [0.0, 0.0, 0.6, 0.8]])
    >>> continuous(turning, torch.tensor([2, 1]))[:, 2:]
    tensor([[-0.6000,  0.8000],
            [-0.8000,  0.6000],
            [ 0.6000,  0.8000]])
    """
    starts = lengths.cumsum(0) - lengths
    flips = torch.zeros(len(quaternions), dtype=torch.long)
    flips[1:] = ((quaternions[1:] * quaternions[:-1]).sum(-1) < 0).long()
    flips[starts] = (quaternions[starts, scalar] < 0).long()
    counts = flips.cumsum(0)
    # flips before an episode do not count in it
    own = counts - (counts[starts] - flips[starts]).repeat_interleave(lengths)
    return torch.where((own % 2 == 1)[:, None], -quaternions, quaternions)


def angle(x: Float[Tensor, "*b n"], y: Float[Tensor, "*b n"], rotation: Rotation) -> Float[Tensor, "*b"]:
    """Angle between two rotations [rad], in [0, π].

        tan(θ/4) = |q − p| / |q + p|,      q, p their unit quaternions with q·p ≥ 0

    which has all digits at 0 and at π (Kahan 2006, "How futile are mindless assessments of roundoff", section 12).

    >>> x, y = torch.tensor([0.0, 0.0, 3.0]), torch.tensor([0.0, 0.0, -3.0])
    >>> angle(x, y, Rotation(0, "axis-angle"))
    tensor(0.2832)
    """
    first, second = (normalized(quaternion_from_matrix(rotation.matrices(values))) for values in (x, y))
    short, long = ((first - second).square().sum(-1).sqrt(), (first + second).square().sum(-1).sqrt())
    return 4 * torch.atan2(torch.minimum(short, long), torch.maximum(short, long))


def are_rotations(values: Float[Tensor, "rows n"], rotation: Rotation, *, within: float) -> Bool[Tensor, " rows"]:
    """Rows in which the numbers describe a rotation: a norm of 1, orthonormal columns; all rotation vectors do."""
    own = rotation.of(values)
    if rotation.form == "axis-angle":
        return own.isfinite().all(-1)
    if rotation.width == 4:
        return (own.square().sum(-1).sqrt() - 1).abs() <= within
    columns = in_rows(own, 2) if rotation.form == "6d" else in_rows(own, 3).transpose(-1, -2)
    gram = columns @ columns.transpose(-1, -2)
    return (gram - torch.eye(gram.shape[-1], dtype=gram.dtype)).abs().amax((-1, -2)) <= within
