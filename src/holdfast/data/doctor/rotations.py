"""Rotations whose numbers jump while the rotation does not: quaternions and rotation vectors that change sign.

quaternion        four neighboring coordinates of norm 1;   q and −q are one rotation
rotation vector   three, of norm up to π;                   r and r (1 − 2π/|r|) are one rotation
"""

import math
from collections.abc import Iterator

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from .recording import Quantity, Recording

UNIT = 1e-2
"""Largest distance of a quaternion's norm from 1, as for numbers that are stored with two digits."""
OPPOSITE = -0.8
NEAR_TURN = 0.8
"""Fraction of π from which on the norm of a rotation vector counts as near a half turn."""
LIKE = 0.7
SOME = 1000


def sign_changes(
    item: Quantity, recording: Recording, rows: Int[ndarray, " k"]
) -> Iterator[tuple[int, int, ndarray, bool]]:
    """First coordinate and width of each rotation that changes sign, the rows before, and whether between episodes."""
    first = 0
    while first + 3 <= len(item.labels):
        found = _of(item, recording, rows, first)
        if found is not None:
            yield found
        first += 1 if found is None else found[1]


def _of(
    item: Quantity, recording: Recording, rows: Int[ndarray, " k"], first: int
) -> tuple[int, int, ndarray, bool] | None:
    if first + 4 <= len(item.labels) and _is_unit(item, rows, first):
        four = item.values[:, first : first + 4].astype(np.float64)
        turned = (four[rows] * four[rows + 1]).sum(axis=1) < OPPOSITE
        return _placed(four, recording, rows, turned, first, math.inf)
    three = item.values[:, first : first + 3].astype(np.float64)
    norms = np.linalg.norm(three, axis=1)
    if not NEAR_TURN * math.pi < float(norms.max()) <= 1.02 * math.pi:
        return None
    far = (norms > NEAR_TURN * math.pi)[rows] & (norms > NEAR_TURN * math.pi)[rows + 1]
    cosine = (three[rows] * three[rows + 1]).sum(axis=1) / np.maximum(norms[rows] * norms[rows + 1], 1e-300)
    turned = far & (cosine < OPPOSITE)
    # the step must vanish on the other side of the half turn
    other = three[rows] * (1 - 2 * math.pi / np.maximum(norms[rows], 1e-300))[:, None]
    steps = np.linalg.norm(np.diff(three, axis=0)[rows], axis=1)
    small = np.linalg.norm(three[rows + 1] - other, axis=1) < 0.25 * steps
    return _placed(three, recording, rows, turned & small, first, NEAR_TURN * math.pi)


def _is_unit(item: Quantity, rows: Int[ndarray, " k"], first: int) -> bool:
    some = item.values[rows[:: max(1, len(rows) // SOME)], first : first + 4].astype(np.float64)
    # one number of ±1 beside constant zeros is a switch
    rotates = (np.abs(some).max(axis=0) > UNIT).sum() > 1
    return bool(np.abs(np.linalg.norm(some, axis=1) - 1).max() < UNIT and some.std(axis=0).max() > 0 and rotates)


def _placed(
    values: Float[ndarray, "rows w"],
    recording: Recording,
    rows: Int[ndarray, " k"],
    turned: Bool[ndarray, " k"],
    first: int,
    far: float,
) -> tuple[int, int, ndarray, bool] | None:
    """Sign changes within episodes, or else between the starts of episodes that begin in a like rotation."""
    width = values.shape[1]
    if turned.any():
        return first, width, rows[turned], False
    starts = values[recording.starts]
    norms = np.linalg.norm(starts, axis=1)
    if math.isfinite(far) and not (norms > far).all():
        return None
    unit = starts / np.maximum(norms, 1e-300)[:, None]
    # the axis that all starts share up to sign
    axis = np.linalg.eigh(unit.T @ unit)[1][:, -1]
    along = unit @ axis
    if len(along) < 4 or float(np.abs(along).min()) < LIKE or min((along > 0).sum(), (along < 0).sum()) < 1:
        return None
    fewer = along < 0 if (along < 0).sum() <= (along > 0).sum() else along > 0
    return first, width, recording.starts[fewer] - 1, True
