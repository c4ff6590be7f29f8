"""Coordinates that checks must treat apart: goals that stand still within episodes, and those that a check condemns."""

from collections.abc import Collection

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from .recording import Recording

WITHIN = 1e-3
"""A coordinate is a goal if its variance within episodes is below this fraction of its variance."""
HELD = 0.95
"""A coordinate is held if it does not change in this fraction of the steps, as a goal that is set now and then."""


def goals(values: Float[ndarray, "rows n"], recording: Recording) -> Bool[ndarray, " n"]:
    """Which coordinates stand still within episodes, or change in few steps only, and thus respond to no action."""
    owner, counts = recording.owner, recording.lengths[:, None]
    # centred first: a large mean would cancel the digits of small variances
    centred = values - values.mean(axis=0)
    means = np.add.reduceat(centred, recording.starts, axis=0) / counts
    total, within = (centred**2).mean(axis=0), ((centred - means[owner]) ** 2).mean(axis=0)
    inside = recording.pairs()
    held = (np.diff(values, axis=0)[inside] == 0).mean(axis=0) if inside.any() else np.zeros(values.shape[1])
    varies = total > 0
    return varies & ((within < WITHIN * total) | (held >= HELD))


def without_labels(recording: Recording, labels: Collection[str]) -> Recording:
    """The recording without the named coordinates."""
    drop = {item.name: np.array([label in labels for label in item.labels]) for item in recording.quantities}
    return recording.without(drop)
