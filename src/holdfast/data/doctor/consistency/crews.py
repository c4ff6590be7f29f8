"""Two clusters of episodes in several manners at once: two demonstrators whom no column names.

What the distance to go explains of each manner is removed, the rest is whitened, and the direction is sought along
which the best split in two has most of the variance between its parts,

    η² = max over directions d and cuts of  Var(between the parts of d · z) / Var(d · z)

in turn: the cut along a direction, and the difference of the means of its parts as the next direction (Peña and Prieto
2001 pursue clusters by projections in a similar way). Any cloud has a direction that looks split, so η² must exceed
that of clouds without clusters, normal and uniform, of as many episodes and manners.
"""

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy import ndarray

from ....seeding import stream
from .manners import Manners

USED = (
    "speed",
    "motion of the action",
    "roughness of the action",
    "noise of the hand",
    "size of the action for equal observations",
)
"""Manners that are compared: those that have no clusters in good demonstrations of one demonstrator."""
ENOUGH, SMALLEST = 20, 0.25
"""Smallest number of episodes, and of the fraction of them in the smaller cluster."""
FLOOR, MARGIN = 0.82, 0.015
"""Smallest η², which spares most sets the comparison with clouds, and by how much it must exceed theirs."""
CLOUDS, STARTS, TURNS = 40, 12, 8
OWN = 0.02
"""Smallest eigenvalue of the correlation of the manners that is whitened: below, two manners are one."""


def crews_of(manners: Manners) -> Bool[ndarray, " episodes"] | None:
    """Which episodes are in the second of two clusters; `None` if there are none."""
    used = [n for n, name in enumerate(manners.names) if name in USED]
    if len(manners.reach) < ENOUGH or not used:
        return None
    z = _whitened(manners.values[:, used], manners.reach)
    rng = stream(0, "doctor", "consistency", "crews")
    eta, second = _pursued(z, rng)
    if eta < FLOOR:
        return None
    for _ in range(CLOUDS):
        shape = (len(z), z.shape[1])
        clouds = torch.randn(shape, generator=rng).double(), torch.rand(shape, generator=rng).double() - 0.5
        if any(eta < _pursued(cloud.numpy(), rng)[0] + MARGIN for cloud in clouds):
            return None
    return second


def _whitened(values: Float[ndarray, "episodes k"], reach: Float[ndarray, " episodes"]) -> Float[ndarray, "episodes w"]:
    """The manners without what the distance to go explains, uncorrelated and of variance 1."""
    known = np.column_stack([np.ones(len(reach)), np.log(np.maximum(reach, 1e-6))])
    left = values - known @ np.linalg.lstsq(known, values, rcond=None)[0]
    left = left / np.maximum(left.std(axis=0), 1e-12)
    spread, axes = np.linalg.eigh(left.T @ left / len(left))
    kept = spread > OWN
    return left @ axes[:, kept] / np.sqrt(spread[kept])


def _pursued(z: Float[ndarray, "episodes w"], rng: torch.Generator) -> tuple[float, Bool[ndarray, " episodes"]]:
    """η² of the direction that looks most split, and the cut along it."""
    width = z.shape[1]
    along = np.concatenate([np.eye(width), torch.randn(STARTS, width, generator=rng).double().numpy()])
    eta, second = _cut(along @ z.T)
    for _ in range(TURNS):
        along = second @ z / second.sum(axis=1, keepdims=True) - ~second @ z / (~second).sum(axis=1, keepdims=True)
        eta, second = _cut(along @ z.T)
    best = int(eta.argmax())
    return float(eta[best]), second[best]


def _cut(along: Float[ndarray, "s episodes"]) -> tuple[Float[ndarray, " s"], Bool[ndarray, "s episodes"]]:
    """η² of the best cut of each row, and which episodes are above it."""
    count = along.shape[1]
    order, rows = np.argsort(along, axis=1), np.array(range(1, count))
    sorted_ = np.take_along_axis(along, order, axis=1)
    sorted_ = sorted_ - sorted_.mean(axis=1, keepdims=True)
    sums: Float[ndarray, "s cuts"] = np.cumsum(sorted_, axis=1)[:, :-1]
    between: ndarray = sums**2 * (1 / rows + 1 / (count - rows))
    between[:, np.minimum(rows, count - rows) < SMALLEST * count] = 0.0
    best = between.argmax(axis=1)
    second = np.zeros(along.shape, dtype=bool)
    above: ndarray = np.array(range(count))[None] > best[:, None]
    np.put_along_axis(second, order, above, axis=1)
    return between.max(axis=1) / np.maximum((sorted_**2).sum(axis=1), 1e-300), second
