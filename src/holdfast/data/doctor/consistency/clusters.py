"""Two clusters of a distance: episodes that end at their goal, and episodes that do not, whatever their labels say.

The logarithms of the distances are split where the variance between the groups is largest. A normal distribution has
2/π of its variance between the halves; two outcomes have far more, and few values between them.
"""

from collections.abc import Mapping

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy import ndarray

from ....seeding import stream

SPLIT, APART = 0.74, 4.0
"""Smallest fraction of the variance between the clusters, and ratio of their medians."""
AGREES, ORDERS, RANDOM = 0.75, 399, 199
"""Smallest fraction of labels that agree with the clusters, and random assignments of the labels that agree less, or
that a threshold of another feature is compared with."""


def far_of(distances: Float[ndarray, " e"], smallest: int) -> tuple[Bool[ndarray, " e"], float] | None:
    """Which values are in the upper of two clusters, and the threshold between them; `None` without clusters."""
    count = len(distances)
    if count < 2 * smallest or float(distances.max()) <= 0:
        return None
    logs = np.log(np.maximum(distances, 1e-3 * float(np.median(distances[distances > 0]))))
    order, rows = np.argsort(logs), np.arange(1, count)
    centred = logs[order] - logs.mean()
    between = np.cumsum(centred)[:-1] ** 2 * (1 / rows + 1 / (count - rows)) / max(float((centred**2).sum()), 1e-300)
    between[np.minimum(rows, count - rows) < smallest] = 0.0
    best = int(between.argmax())
    far = np.zeros(count, dtype=bool)
    far[order[best + 1 :]] = True
    if between[best] < SPLIT or float(np.median(distances[far])) < APART * float(np.median(distances[~far])):
        return None
    return far, float(np.exp((logs[order[best]] + logs[order[best + 1]]) / 2))


def agrees(far: Bool[ndarray, " e"], failed: Bool[ndarray, " e"]) -> bool:
    """Whether labels of failure agree with the upper cluster, more than random assignments of the labels do."""
    own = float((far == failed).mean())
    if own < AGREES:
        return False
    rng = stream(0, "doctor", "consistency", "clusters")
    orders = (torch.randperm(len(failed), generator=rng).numpy() for _ in range(ORDERS))
    return all(float((far == failed[order]).mean()) < own for order in orders)


def by_chance(features: Mapping[str, ndarray], failed: Bool[ndarray, " e"]) -> float:
    """The largest fraction of right labels of both kinds that a threshold of any feature reaches for random labels."""
    rng = stream(0, "doctor", "consistency", "labels")
    mixed = np.stack([failed[torch.randperm(len(failed), generator=rng).numpy()] for _ in range(RANDOM)])
    bad, good = int(failed.sum()), int((~failed).sum())
    rows, best = np.arange(1, len(failed)), 0.0
    for values in features.values():
        order = np.argsort(values)
        apart = np.diff(values[order]) > 0
        below = np.cumsum(mixed[:, order], axis=1)[:, :-1]
        above_bad = np.minimum((bad - below) / bad, (rows - below) / good)
        below_bad = np.minimum(below / bad, (good - (rows - below)) / good)
        best = max(best, float((np.maximum(above_bad, below_bad) * apart).max()))
    return best
