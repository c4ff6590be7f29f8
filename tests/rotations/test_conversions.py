"""Conversions against SciPy, at the identity and at half turns, and their derivatives."""

import math

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation as Reference

from holdfast.rotations import (
    matrix_from_quaternion,
    matrix_from_six,
    matrix_from_vector,
    quaternion_from_matrix,
    quaternion_from_vector,
    six_from_matrix,
    vector_from_matrix,
    vector_from_quaternion,
)
from holdfast.seeding import stream


def drawn(count=500):
    """Unit quaternions, uniform over all rotations."""
    return torch.nn.functional.normalize(torch.randn(count, 4, generator=stream(0, "q"), dtype=torch.float64), dim=-1)


def hard_vectors():
    """Rotation vectors of every length from 1e-300 to π, close to π, and along the axes."""
    lengths = [*10.0 ** np.arange(-300, 0, 7), 0.0099, 0.0101, 1.0, math.pi / 2]
    lengths += [math.pi - 10.0**-digits for digits in range(1, 16)]
    axes = torch.cat([torch.eye(3, dtype=torch.float64), drawn(20)[:, :3]])
    axes = torch.nn.functional.normalize(axes, dim=-1)
    return (torch.tensor(lengths, dtype=torch.float64)[:, None, None] * axes).flatten(0, 1)


def test_as_scipy_converts():
    quaternions = drawn()
    reference = Reference.from_quat(quaternions.numpy())
    assert torch.allclose(matrix_from_quaternion(3 * quaternions), torch.tensor(reference.as_matrix()), atol=1e-15)
    vectors = torch.tensor(reference.as_rotvec())
    assert torch.allclose(vector_from_quaternion(-quaternions), vectors, atol=1e-14)
    assert torch.allclose(
        matrix_from_vector(vectors), torch.tensor(Reference.from_rotvec(vectors).as_matrix()), atol=1e-15
    )
    canonical = torch.tensor(reference.as_quat(canonical=True))
    assert torch.allclose(quaternion_from_matrix(torch.tensor(reference.as_matrix())), canonical, atol=1e-15)


def test_vectors_of_every_length_return():
    """To the last digits of each vector, not of 1: a small rotation keeps its relative precision."""
    vectors = hard_vectors()
    lengths = vectors.norm(dim=-1, keepdim=True)
    direct = vector_from_quaternion(quaternion_from_vector(vectors))
    # near a half turn, rounding may choose the other sign of the same rotation
    for found, within in ((direct, 1e-15), (vector_from_matrix(matrix_from_vector(vectors)), 4e-15)):
        other = found - 2 * math.pi * found / found.norm(dim=-1, keepdim=True).clamp(min=1e-300)
        error = torch.minimum((found - vectors).norm(dim=-1), (other - vectors).norm(dim=-1))
        assert float((error / lengths[:, 0].clamp(min=1e-2)).max()) < within * 100
        small = (lengths[:, 0] < 1e-2) & (lengths[:, 0] > 1e-150)
        assert float(((found - vectors).norm(dim=-1) / lengths[:, 0])[small].max()) < 1e-13


def test_half_turns_about_every_axis():
    for axis in torch.eye(3, dtype=torch.float64):
        matrix = 2 * torch.outer(axis, axis) - torch.eye(3, dtype=torch.float64)
        assert torch.equal(quaternion_from_matrix(matrix).abs(), torch.cat([axis, axis.new_zeros(1)]))
        assert torch.allclose(vector_from_matrix(matrix).abs(), math.pi * axis, atol=1e-15)


def test_the_first_columns_and_gram_schmidt():
    matrices = matrix_from_quaternion(drawn())
    six = six_from_matrix(matrices)
    assert torch.equal(six[:, :3], matrices[:, :, 0])
    assert torch.equal(six[:, 3:], matrices[:, :, 1])
    # lengths, and a part of the second column along the first, change nothing
    skewed = torch.cat([5 * six[:, :3], 0.1 * six[:, 3:] + 7 * six[:, :3]], dim=-1)
    assert torch.allclose(matrix_from_six(skewed), matrices, atol=1e-13)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_any_two_directions_give_a_rotation(dtype):
    noise = torch.randn(1000, 6, generator=stream(1, "six"), dtype=dtype)
    noise[:100, 3:] = noise[:100, :3] + 1e-3 * noise[:100, 3:]
    found = matrix_from_six(noise)
    eps = torch.finfo(dtype).eps
    assert float((found.transpose(-1, -2) @ found - torch.eye(3, dtype=dtype)).abs().max()) < 8 * eps
    assert torch.allclose(torch.linalg.det(found), torch.ones((), dtype=dtype), atol=16 * eps)


@pytest.mark.parametrize(
    "six", [(0, 0, 0, 0, 1, 0), (0, 1, 0, 0, 0, 0), (1, 2, 3, 2, 4, 6), (1, 2, 3, -0.1, -0.2, -0.3)]
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_numbers_of_no_rotation_give_nan(six, dtype):
    assert matrix_from_six(torch.tensor(six, dtype=dtype)).isnan().any()
    assert matrix_from_quaternion(torch.zeros(4, dtype=dtype)).isnan().any()


@pytest.mark.parametrize(
    "convert",
    [matrix_from_vector, quaternion_from_vector, lambda r: vector_from_matrix(matrix_from_vector(r))],
)
@pytest.mark.parametrize("length", [0.0, 1e-8, 0.0099, 0.0101, 1.0, 3.0])
def test_derivatives_of_vectors_at_the_identity_too(convert, length):
    vector = length * torch.tensor([[0.6, 0.0, 0.8], [2 / 3, -2 / 3, 1 / 3]], dtype=torch.float64)
    assert torch.autograd.gradcheck(convert, (vector.requires_grad_(),))


@pytest.mark.parametrize("convert", [matrix_from_quaternion, vector_from_quaternion])
def test_derivatives_of_quaternions(convert):
    ones = torch.cat([drawn(6), torch.tensor([[0.0, 0.0, 0.0, 1.0], [0.0, 1e-9, 0.0, -1.0]], dtype=torch.float64)])
    assert torch.autograd.gradcheck(convert, (ones.requires_grad_(),))


def test_derivatives_of_six_numbers_and_matrices():
    six = torch.randn(5, 6, generator=stream(2, "six"), dtype=torch.float64)
    assert torch.autograd.gradcheck(matrix_from_six, (six.requires_grad_(),))
    assert torch.autograd.gradcheck(lambda s: quaternion_from_matrix(matrix_from_six(s)), (six,))


def test_the_derivative_at_the_identity_is_that_of_the_exponential():
    """d exp([r]×)/dr at 0 are the generators of rotations about the axes."""
    found = torch.func.jacfwd(matrix_from_vector)(torch.zeros(3, dtype=torch.float64))
    expected = torch.zeros(3, 3, 3, dtype=torch.float64)
    for i, j, k in ((0, 1, 2), (1, 2, 0), (2, 0, 1)):
        expected[j, i, k], expected[i, j, k] = 1, -1
    assert torch.equal(found, expected)
