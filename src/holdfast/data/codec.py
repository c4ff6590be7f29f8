"""Codes of composite actions: the vector that a generative model produces at each step of a chunk.

    codec       code of a step          numbers per step      decoded
    Actions()   ū                       m (+ 6 − w)           K = 0, x̄ = 0: an ordinary open-loop chunk
    Affine()    [ū, x̄, vec K]           m + n + m·n           the same primitive controllers
    Waypoints() [v*, p*(, log k/k₀)]    2 m (3 m)             a PD cascade with these set-points

Rotations of an action, which `Actions` names, are six numbers in its code, in place of w.

`vec K` concatenates the rows of K [m, n]. (Block et al. 2023, arXiv 2307.14619, section 2:
d_A = d_u + d_x + d_u d_x.)
"""

from dataclasses import dataclass
from typing import assert_never

import torch
from jaxtyping import Float
from torch import Tensor

from ..errors import ShapeError
from ..rotations import Rotation, decoded, encoded, encoded_width
from ..types import PrimitiveControllers
from .waypoints import Waypoints


@dataclass(frozen=True)
class Actions:
    """Code of the actions alone; the decoded controllers have no feedback.

    Attributes:
        rotations: Coordinates of an action that are rotations. The model generates six numbers for each, from which
            decoding makes a rotation in the action's own representation (`rotations.encoded`, `rotations.decoded`).
    """

    rotations: tuple[Rotation, ...] = ()


@dataclass(frozen=True)
class Affine:
    """Code of the whole primitive controller: action, reference state and gain."""


Codec = Actions | Affine | Waypoints


def feeds_back(codec: Codec) -> bool:
    """Whether controllers of this codec answer the state of their step, so that a plan is more than its actions."""
    return not isinstance(codec, Actions)


def rotations_of(codec: Codec) -> tuple[Rotation, ...]:
    """Coordinates of an action that the codec knows to be rotations."""
    return codec.rotations if isinstance(codec, Actions) else ()


def copied_width(codec: Codec, n_states: int, n_actions: int) -> int:
    """Number of leading code entries that are made of recorded values alone, not of synthesised gains."""
    match codec:
        case Actions():
            return encoded_width(codec.rotations, n_actions)
        case Affine():
            return n_actions + n_states
        case Waypoints():
            # a planned stiffness moves the position set-point too
            return n_actions if codec.plans_stiffness else codec.width
        case _:
            assert_never(codec)


def width(codec: Codec, n_states: int, n_actions: int) -> int:
    """Number of code entries per step.

    >>> width(Actions(), n_states=6, n_actions=2), width(Affine(), n_states=6, n_actions=2)
    (2, 20)
    """
    match codec:
        case Actions():
            return encoded_width(codec.rotations, n_actions)
        case Affine():
            return n_actions + n_states + n_actions * n_states
        case Waypoints():
            return codec.width
        case _:
            assert_never(codec)


def encode(codec: Codec, controllers: PrimitiveControllers) -> Float[Tensor, "*b w"]:
    """Code of each primitive controller.

    >>> one = PrimitiveControllers(
    ...     actions=torch.tensor([1.0]), states=torch.tensor([2.0, 3.0]), gains=torch.tensor([[4.0, 5.0]])
    ... )
    >>> encode(Affine(), one)
    tensor([1., 2., 3., 4., 5.])
    >>> encode(Actions(), one)
    tensor([1.])
    """
    match codec:
        case Actions():
            return encoded(controllers.actions, codec.rotations)
        case Affine():
            return torch.cat([controllers.actions, controllers.states, controllers.gains.flatten(-2)], dim=-1)
        case Waypoints():
            return codec.encode(controllers)
        case _:
            assert_never(codec)


def decode(codec: Codec, code: Float[Tensor, "*b w"], *, n_states: int, n_actions: int) -> PrimitiveControllers:
    """Primitive controllers of a code; the inverse of `encode` for `Affine` and for the controllers of `Waypoints`.

    Raises:
        ShapeError: The width of the code does not fit the codec and these numbers of states and actions.

    >>> law = decode(Affine(), torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0]), n_states=2, n_actions=1)
    >>> law(torch.tensor([3.0, 3.0]))
    tensor([5.])
    """
    expected = width(codec, n_states, n_actions)
    if code.shape[-1] != expected:
        raise ShapeError(
            f"{codec} with {n_states} states and {n_actions} actions has codes of {expected} numbers per step, got "
            f"{code.shape[-1]}. Decode with the codec and the sizes that the code was made with."
        )
    match codec:
        case Actions():
            actions = decoded(code, codec.rotations)
            return PrimitiveControllers.open_loop(actions, code.new_zeros(*code.shape[:-1], n_states))
        case Affine():
            gains = code[..., n_actions + n_states :].reshape(*code.shape[:-1], n_actions, n_states)
            states = code[..., n_actions : n_actions + n_states]
            return PrimitiveControllers(actions=code[..., :n_actions], states=states, gains=gains)
        case Waypoints():
            return codec.decode(code, n_states=n_states)
        case _:
            assert_never(codec)
