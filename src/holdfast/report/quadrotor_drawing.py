"""The quadrotor's body as lines: an arm that tilts with the pitch, a rotor on either end."""

from typing import TypeAlias

import numpy as np
from jaxtyping import Float
from numpy import ndarray

__all__ = ["Lines", "arms", "rotors"]

Lines: TypeAlias = Float[ndarray, "points 2"]
"""Polylines in the x-z plane [m], laid end to end with a row of NaN after each."""

_BREAK = (np.nan, np.nan)
_ARM = np.array([(-1.0, 0.0), (1.0, 0.0), _BREAK])
# Two masts, and on each a rotor that reaches beyond the arm.
_ROTORS = np.array(
    [
        [(-1.0, 0.0), (-1.0, 0.38), _BREAK, (-1.55, 0.38), (-0.45, 0.38), _BREAK],
        [(1.0, 0.0), (1.0, 0.38), _BREAK, (0.45, 0.38), (1.55, 0.38), _BREAK],
    ]
).reshape(-1, 2)


def arms(states: Float[ndarray, "b n"], size: float) -> Lines:
    """The bars between the rotors; `size` is half a bar's length [m].

    >>> arms(np.array([[1.0, 2.0, 0.0, 0.0, 0.0, 0.0]]), size=0.5)[:2]
    array([[0.5, 2. ],
           [1.5, 2. ]])
    """
    return _placed(_ARM, states, size)


def rotors(states: Float[ndarray, "b n"], size: float) -> Lines:
    """The masts and rotors above the bars of `arms`."""
    return _placed(_ROTORS, states, size)


def _placed(shape: Float[ndarray, "corners 2"], states: Float[ndarray, "b n"], size: float) -> Lines:
    # A positive pitch turns the thrust towards −x: ẍ = −F sin φ / m. So it is counter-clockwise in the x-z plane.
    cos, sin = np.cos(states[:, 2]), np.sin(states[:, 2])
    turn = np.stack([np.stack([cos, -sin], -1), np.stack([sin, cos], -1)], -2)
    placed = states[:, None, :2] + size * np.einsum("bij,pj->bpi", turn, shape)
    return placed.reshape(-1, 2)
