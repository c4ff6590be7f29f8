"""The statistics that LeRobot stores with a data set: of each feature, over each episode and over all rows.

    min, max, mean, std, count, and the quantiles q01, q10, q50, q90, q99

Here they are exact for episodes and for the whole data set, except for pictures, which are sampled.
(Cadene et al. 2024, LeRobot, `datasets/compute_stats.py`: names, shapes, pictures scaled to [0, 1].)
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from jaxtyping import Int
from numpy.typing import NDArray
from torch import Tensor

from ....types import Pictures

QUANTILES = {"q01": 0.01, "q10": 0.1, "q50": 0.5, "q90": 0.9, "q99": 0.99}
# pictures in a sample, and about how many rows and columns of each are used
SAMPLE, SIDE = 100, 150
# numbers sorted at once
AT_ONCE = 1 << 22

Statistics = dict[str, list[Any]]


def of_numbers(columns: Mapping[str, NDArray[Any]], rows: slice) -> dict[str, Statistics]:
    """Statistics of each coordinate of some rows of columns `[·, width]`.

    >>> of_numbers({"action": np.array([[1.0], [3.0], [9.0]])}, slice(0, 2))["action"]["mean"]
    [2.0]
    """
    coordinates = [(name, place) for name, values in columns.items() for place in range(values.shape[1])]
    # all coordinates of an episode in one call saves time, few of a large data set memory: they become float64
    step = max(1, AT_ONCE // (rows.stop - rows.start))
    found: dict[str, Statistics] = {name: {"count": [rows.stop - rows.start]} for name in columns}
    for first in range(0, len(coordinates), step):
        chosen = coordinates[first : first + step]
        values = np.stack([columns[name][rows, place].astype(np.float64) for name, place in chosen], axis=1)
        for statistic, numbers in _of_coordinates(values).items():
            for (name, _), number in zip(chosen, numbers, strict=True):
                found[name].setdefault(statistic, []).append(number)
    return found


def of_pictures(pictures: Pictures, rows: Int[Tensor, " b"]) -> Statistics:
    """Statistics of each channel of a sample of pictures, values in [0, 1], shape [channels, 1, 1]."""
    sample = rows[torch.linspace(0, len(rows) - 1, min(len(rows), SAMPLE)).round().long()]
    height, width, channels = pictures.shape
    stride = max(1, max(height, width) // SIDE)
    seen = torch.cat([pictures.read(row[None])[:, ::stride, ::stride] for row in sample])
    found = _of_coordinates(seen.reshape(-1, channels).numpy() / 255)
    return {name: [[[number]] for number in numbers] for name, numbers in found.items()} | {"count": [len(sample)]}


def _of_coordinates(values: NDArray[np.float64]) -> dict[str, list[float]]:
    # squares of numbers above 1e154 overflow; the standard deviation is then infinite
    with np.errstate(over="ignore", invalid="ignore"):
        found = {"min": values.min(0), "max": values.max(0), "mean": values.mean(0), "std": values.std(0)}
        quantiles = np.quantile(values, list(QUANTILES.values()), axis=0)
    return {name: numbers.tolist() for name, numbers in (found | dict(zip(QUANTILES, quantiles, strict=True))).items()}
