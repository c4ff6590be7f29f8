"""Number of threads for a training: measured, because it depends on network, batch and machine."""

import statistics
import time
from collections.abc import Iterator, Mapping

import torch

from ..cores import usable_cores
from ..recipe import Recipe
from .dataset import TrainingSet
from .training import TrainState, initial_state, train

WORTH = 1.1
"""Speed-up that more threads must give: what they gain on an idle machine they lose on a busy one."""
LOOKS, BUDGET = 3, 2.0
"""Number of measurements of each number of threads, and approximate time for all of them [s]."""


def measure_threads(recipe: Recipe, data: TrainingSet, *, cores: int | None = None) -> dict[int, float]:
    """Seconds per update with 1, 2, 4 … threads, measured on a training that is discarded.

    PyTorch's number of threads is restored.

    Args:
        recipe: Recipe of the training.
        data: Training set.
        cores: Largest number of threads. Default: the cores that this process may use.
    """
    most = cores or usable_cores()
    counts = sorted({min(2**power, most) for power in range(most.bit_length() + 1)})
    if len(counts) == 1 or data.device.type != "cpu":
        return {1: 0.0}
    before, updates = torch.get_num_threads(), _forever(recipe, data)
    try:
        once = min(_seconds(updates, count, 1) for count in (*counts, *counts))
        size = max(1, min(20, int(BUDGET / (LOOKS * len(counts) * once))))
        looks = [{count: _seconds(updates, count, size) / size for count in counts} for _ in range(LOOKS)]
    finally:
        torch.set_num_threads(before)
    return {count: statistics.median(look[count] for look in looks) for count in counts}


def fastest(seconds: Mapping[int, float]) -> int:
    """Best number of threads; more threads only if they are clearly faster.

    >>> fastest({1: 1.0, 2: 0.95}), fastest({1: 1.0, 2: 0.7, 4: 0.68}), fastest({1: 1.0, 2: 1.2, 4: 0.5})
    (1, 2, 4)
    """
    best = min(seconds)
    for count in sorted(seconds):
        if seconds[best] > WORTH * seconds[count]:
            best = count
    return best


def _seconds(updates: Iterator[TrainState], threads: int, count: int) -> float:
    torch.set_num_threads(threads)
    started = time.perf_counter()
    for _ in range(count):
        next(updates)
    return time.perf_counter() - started


def _forever(recipe: Recipe, data: TrainingSet) -> Iterator[TrainState]:
    while True:
        yield from train(recipe, data, initial_state(recipe, data))
