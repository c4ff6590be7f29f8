"""Rotations: conversions, differences and means, and the layout of coordinates that are rotations."""

from .conversions import (
    matrix_from_quaternion,
    matrix_from_six,
    matrix_from_vector,
    quaternion_from_matrix,
    quaternion_from_vector,
    six_from_matrix,
    vector_from_matrix,
    vector_from_quaternion,
)
from .group import angle, are_rotations, continuous, difference, mean, nearest, relative
from .layout import FORMS, SIX, Form, Rotation, check_rotations, decoded, encoded, encoded_names, encoded_width

__all__ = [
    "FORMS",
    "SIX",
    "Form",
    "Rotation",
    "angle",
    "are_rotations",
    "check_rotations",
    "continuous",
    "decoded",
    "difference",
    "encoded",
    "encoded_names",
    "encoded_width",
    "matrix_from_quaternion",
    "matrix_from_six",
    "matrix_from_vector",
    "mean",
    "nearest",
    "quaternion_from_matrix",
    "quaternion_from_vector",
    "relative",
    "six_from_matrix",
    "vector_from_matrix",
    "vector_from_quaternion",
]
