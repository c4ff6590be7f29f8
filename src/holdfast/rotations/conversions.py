"""Conversions between quaternions, rotation vectors, matrices and six numbers.

    quaternion        q = (x, y, z, w), scalar last;  q and −q are one rotation
    rotation vector   r = θ n, θ in [0, π]             (axis-angle)
    matrix            R, whose columns are the turned axes
    six numbers       (R e₁, R e₂), the first two columns (Zhou et al. 2019, arXiv 1812.07035, eq. 14–16)

Conversions take any leading axes, keep the precision of their input and have derivatives, at the identity too. They go
through quaternions, which are well-conditioned everywhere: an angle taken from the trace of a matrix loses half of the
digits near 0 and near π. Numbers that describe no rotation (a zero quaternion, two parallel columns) give NaN.
"""

import torch
from jaxtyping import Float
from torch import Tensor

SMALL = 1e-4
"""Square of the angle below which series replace quotients; their error is below 1e-17."""
PARALLEL = 8.0
"""Sine of the angle between two columns, in units of rounding, below which they are one direction, not two."""


def quaternion_from_vector(vector: Float[Tensor, "*b 3"]) -> Float[Tensor, "*b 4"]:
    """Quaternion of a rotation vector [rad].

        q = (sin(θ/2) n, cos(θ/2))

    >>> quaternion_from_vector(torch.tensor([0.0, 0.0, torch.pi])).round(decimals=6).abs()
    tensor([0., 0., 1., 0.])
    """
    square = vector.square().sum(-1, keepdim=True)
    small = square < SMALL
    angle = torch.where(small, 1.0, square).sqrt()
    ratio = torch.where(small, 0.5 - square / 48 + square.square() / 3840, (angle / 2).sin() / angle)
    scalar = torch.where(small, 1 - square / 8 + square.square() / 384 - square**3 / 46080, (angle / 2).cos())
    return torch.cat([ratio * vector, scalar], dim=-1)


def vector_from_quaternion(quaternion: Float[Tensor, "*b 4"]) -> Float[Tensor, "*b 3"]:
    """Rotation vector [rad] of a quaternion of any norm above 0, of length at most π.

        r = 2 atan2(|v|, w) v / |v|,      q = (v, w) with w ≥ 0

    >>> vector_from_quaternion(torch.tensor([0.0, 0.0, 1.0, 1.0]))
    tensor([0.0000, 0.0000, 1.5708])
    """
    unit = positive(normalized(quaternion))
    part, scalar = unit[..., :3], unit[..., 3:]
    square = part.square().sum(-1, keepdim=True)
    small = square < SMALL
    length = torch.where(small, 1.0, square).sqrt()
    series = 2 + square / 3 + 3 * square.square() / 20 + 5 * square**3 / 56
    return torch.where(small, series, 2 * torch.atan2(length, scalar) / length) * part


def matrix_from_quaternion(quaternion: Float[Tensor, "*b 4"]) -> Float[Tensor, "*b 3 3"]:
    """Matrix of a quaternion of any norm above 0.

    >>> matrix_from_quaternion(torch.tensor([0.0, 0.0, 1.0, 1.0])).round(decimals=6).abs()
    tensor([[0., 1., 0.],
            [1., 0., 0.],
            [0., 0., 1.]])
    """
    x, y, z, w = normalized(quaternion).unbind(-1)
    rows = [
        *(1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)),
        *(2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)),
        *(2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)),
    ]
    return in_rows(torch.stack(rows, dim=-1), 3)


def quaternion_from_matrix(matrix: Float[Tensor, "*b 3 3"]) -> Float[Tensor, "*b 4"]:
    """Unit quaternion of a rotation matrix, with w ≥ 0.

    Of the matrix 4 q qᵀ, whose entries are sums of entries of R, the column with the largest diagonal entry is used
    (Shepperd 1978, Journal of Guidance and Control 1(3)); its norm is at least 1, so nothing cancels.

    >>> quaternion_from_matrix(torch.diag(torch.tensor([1.0, -1.0, -1.0])))
    tensor([1., 0., 0., 0.])
    """
    (xx, xy, xz), (yx, yy, yz), (zx, zy, zz) = (row.unbind(-1) for row in matrix.unbind(-2))
    columns = [
        *(1 + xx - yy - zz, xy + yx, xz + zx, zy - yz),
        *(xy + yx, 1 - xx + yy - zz, yz + zy, xz - zx),
        *(xz + zx, yz + zy, 1 - xx - yy + zz, yx - xy),
        *(zy - yz, xz - zx, yx - xy, 1 + xx + yy + zz),
    ]
    products = in_rows(torch.stack(columns, dim=-1), 4)
    largest = products.diagonal(dim1=-2, dim2=-1).argmax(-1)
    chosen = products.gather(-2, largest[..., None, None].expand(*largest.shape, 1, 4)).squeeze(-2)
    return positive(normalized(chosen))


def matrix_from_vector(vector: Float[Tensor, "*b 3"]) -> Float[Tensor, "*b 3 3"]:
    """Matrix exp([r]×) of a rotation vector [rad]."""
    return matrix_from_quaternion(quaternion_from_vector(vector))


def vector_from_matrix(matrix: Float[Tensor, "*b 3 3"]) -> Float[Tensor, "*b 3"]:
    """Rotation vector [rad] of a rotation matrix, of length at most π."""
    return vector_from_quaternion(quaternion_from_matrix(matrix))


def six_from_matrix(matrix: Float[Tensor, "*b 3 3"]) -> Float[Tensor, "*b 6"]:
    """The first two columns of a matrix, one after the other.

    No representation of fewer numbers is continuous (Zhou et al. 2019, section 4). Diffusion Policy and robomimic store
    the first two rows instead, which are the columns of the inverse rotation.

    >>> six_from_matrix(torch.eye(3))
    tensor([1., 0., 0., 0., 1., 0.])
    """
    return matrix[..., :2].transpose(-1, -2).flatten(-2)


def matrix_from_six(six: Float[Tensor, "*b 6"]) -> Float[Tensor, "*b 3 3"]:
    """Matrix of six numbers by Gram–Schmidt (Zhou et al. 2019, eq. 15).

        b₁ = a₁ / |a₁|,      b₂ ∝ a₂ − (b₁ᵀa₂) b₁,      b₃ = b₁ × b₂

    Parallel a₁ and a₂, or a zero one, give NaN.

    >>> matrix_from_six(torch.tensor([2.0, 0.0, 0.0, 5.0, 3.0, 0.0]))
    tensor([[1., 0., 0.],
            [0., 1., 0.],
            [0., 0., 1.]])
    """
    first, given = normalized(six[..., :3]), normalized(six[..., 3:])
    rest = given - (first * given).sum(-1, keepdim=True) * first
    least = (PARALLEL * torch.finfo(six.dtype).eps) ** 2
    rest = rest.masked_fill(rest.square().sum(-1, keepdim=True) < least, torch.nan)
    second = normalized(rest)
    # a second pass removes what rounding left of the first column where both were nearly parallel
    second = normalized(second - (first * second).sum(-1, keepdim=True) * first)
    return torch.stack([first, second, torch.cross(first, second, dim=-1)], dim=-1)


def in_rows(numbers: Float[Tensor, "*b n"], count: int) -> Float[Tensor, "*b r c"]:
    """Numbers as matrices with `count` rows."""
    return numbers.reshape(*numbers.shape[:-1], count, numbers.shape[-1] // count)


def normalized(values: Float[Tensor, "*b n"]) -> Float[Tensor, "*b n"]:
    """Vectors of length 1; NaN for a zero vector, which has no direction."""
    return values / values.square().sum(-1, keepdim=True).sqrt()


def positive(quaternion: Float[Tensor, "*b 4"]) -> Float[Tensor, "*b 4"]:
    """The one of q and −q with w ≥ 0; half turns (w = 0) keep their sign.

    >>> positive(torch.tensor([0.0, 0.6, 0.0, -0.8]))
    tensor([-0.0000, -0.6000, -0.0000, 0.8000])
    """
    return torch.where(quaternion[..., 3:] < 0, -quaternion, quaternion)
