"""Layout of rotations: which coordinates of an action or observation are a rotation, and in which representation.

    coordinates     0 1 2   3 4 5   6              Rotation(first=3, form="axis-angle")
    action          p p p   r r r   gripper
    encoded         p p p   c c c c c c   gripper  the network sees and generates six numbers

Six numbers are continuous: q and −q, or rotation vectors at both sides of a half turn, are one input of the network,
and what it generates becomes a rotation by Gram–Schmidt.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

from ..errors import RecipeError
from .conversions import (
    in_rows,
    matrix_from_quaternion,
    matrix_from_six,
    matrix_from_vector,
    quaternion_from_matrix,
    six_from_matrix,
    vector_from_matrix,
)

Form: TypeAlias = Literal["quaternion", "quaternion-wxyz", "axis-angle", "matrix", "6d"]

FORMS: tuple[Form, ...] = ("quaternion", "quaternion-wxyz", "axis-angle", "matrix", "6d")

SIX = 6
"""Numbers of a rotation that a network sees."""

_Conversion: TypeAlias = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Representation:
    """Numbers of a rotation: how many, and the way to the matrix and back."""

    width: int
    to_matrix: _Conversion
    from_matrix: _Conversion


TABLE: dict[Form, Representation] = {
    "quaternion": Representation(4, matrix_from_quaternion, quaternion_from_matrix),
    "quaternion-wxyz": Representation(
        4,
        lambda q: matrix_from_quaternion(q.roll(-1, -1)),
        lambda matrix: quaternion_from_matrix(matrix).roll(1, -1),
    ),
    "axis-angle": Representation(3, matrix_from_vector, vector_from_matrix),
    "matrix": Representation(9, lambda numbers: in_rows(numbers, 3), lambda matrix: matrix.flatten(-2)),
    "6d": Representation(SIX, matrix_from_six, six_from_matrix),
}
"""Representations; those of nine numbers are in the order of the rows."""


@dataclass(frozen=True)
class Rotation:
    """Coordinates that are a rotation.

    Attributes:
        first: Index of the first of them.
        form: Representation: `quaternion` (scalar last), `quaternion-wxyz` (scalar first), `axis-angle` (rotation
            vector [rad]), `matrix` (nine numbers, row by row) or `6d` (the first two columns).

    Raises:
        RecipeError: A negative index, or another representation.
    """

    first: int
    form: Form

    def __post_init__(self) -> None:
        if self.form not in TABLE:
            raise RecipeError(f"expected a rotation as {', '.join(FORMS)}, got {self.form!r:.80}.")
        if self.first < 0:
            raise RecipeError(f"expected the index of a rotation's first coordinate, 0 or above, got {self.first}.")

    @property
    def width(self) -> int:
        """Number of coordinates."""
        return TABLE[self.form].width

    @property
    def last(self) -> int:
        """Index after the last coordinate."""
        return self.first + self.width

    def of(self, values: Float[Tensor, "*b n"]) -> Float[Tensor, "*b w"]:
        """The coordinates of the rotation."""
        return values[..., self.first : self.last]

    def matrices(self, values: Float[Tensor, "*b n"]) -> Float[Tensor, "*b 3 3"]:
        """The rotation as a matrix."""
        return TABLE[self.form].to_matrix(self.of(values))

    def numbers(self, matrices: Float[Tensor, "*b 3 3"]) -> Float[Tensor, "*b w"]:
        """Numbers of a rotation that is given as a matrix."""
        return TABLE[self.form].from_matrix(matrices)


def check_rotations(rotations: Sequence[Rotation], count: int, what: str) -> None:
    """Refuse rotations that overlap, are out of order or reach beyond `count` coordinates.

    Raises:
        RecipeError: They do.
    """
    for before, after in pairwise(rotations):
        if after.first < before.last:
            raise RecipeError(
                f"rotations of {what} overlap or are out of order: {_shown(before)} and {_shown(after)}. Give each "
                "coordinate once, in ascending order."
            )
    if rotations and rotations[-1].last > count:
        raise RecipeError(
            f"the rotation {_shown(rotations[-1])} reaches beyond the {count} coordinates of {what}, counted from 0. "
            "`holdfast inspect` lists them."
        )


def encoded_width(rotations: Sequence[Rotation], count: int) -> int:
    """Number of coordinates after `encoded`.

    >>> encoded_width([Rotation(3, "axis-angle")], 7)
    10
    """
    return count + sum(SIX - one.width for one in rotations)


def encoded_names(names: Sequence[str], rotations: Sequence[Rotation]) -> list[str]:
    """Names of the coordinates after `encoded`.

    >>> encoded_names(["x", "q0", "q1", "q2", "q3"], [Rotation(1, "quaternion")])[:3]
    ['x', 'column 1 of q0, x', 'column 1 of q0, y']
    """
    found, reached = list[str](), 0
    for one in rotations:
        columns = [f"column {column} of {names[one.first]}, {axis}" for column in (1, 2) for axis in "xyz"]
        found += [*names[reached : one.first], *columns]
        reached = one.last
    return [*found, *names[reached:]]


def encoded(values: Float[Tensor, "*b n"], rotations: Sequence[Rotation]) -> Float[Tensor, "*b c"]:
    """Values with six numbers in place of each rotation.

    >>> encoded(torch.tensor([5.0, 0.0, 0.0, 0.0, 1.0]), [Rotation(1, "quaternion")])
    tensor([5., 1., 0., 0., 0., 1., 0.])
    """
    return _replaced(values, rotations, lambda one: one.width, lambda one, own: six_from_matrix(_matrix(one, own)))


def decoded(code: Float[Tensor, "*b c"], rotations: Sequence[Rotation]) -> Float[Tensor, "*b n"]:
    """Values whose rotations are in their own representation again, made valid by Gram–Schmidt.

    Quaternions have w ≥ 0, and rotation vectors a length of at most π: representatives of the rotation, not the numbers
    that were encoded.

    >>> decoded(torch.tensor([5.0, 2.0, 0.0, 0.0, 7.0, 1.0, 0.0]), [Rotation(1, "quaternion")])
    tensor([5., 0., 0., 0., 1.])
    """
    moved, gained = list[Rotation](), 0
    for one in rotations:
        moved.append(Rotation(one.first + gained, one.form))
        gained += SIX - one.width
    return _replaced(code, moved, lambda one: SIX, lambda one, own: one.numbers(matrix_from_six(own)))


def _matrix(one: Rotation, own: Tensor) -> Tensor:
    return TABLE[one.form].to_matrix(own)


def _replaced(
    values: Tensor,
    rotations: Sequence[Rotation],
    width: Callable[[Rotation], int],
    change: Callable[[Rotation, Tensor], Tensor],
) -> Tensor:
    if not rotations:
        return values
    parts, reached = list[Tensor](), 0
    for one in rotations:
        last = one.first + width(one)
        parts += [values[..., reached : one.first], change(one, values[..., one.first : last])]
        reached = last
    return torch.cat([*parts, values[..., reached:]], dim=-1)


def _shown(one: Rotation) -> str:
    return f"{one.form} of coordinates {one.first} to {one.last - 1}"
