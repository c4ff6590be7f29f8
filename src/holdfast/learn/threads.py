"""How many threads a training should compute with: measured, for it depends on network, batch and machine."""

import statistics
import time
from collections.abc import Iterator, Mapping

import torch

from ..cores import usable_cores
from ..recipe import Recipe
from .dataset import TrainingSet
from .training import TrainState, initial_state, train

__all__ = ["fastest", "measure_threads"]

WORTH = 1.1
"""More threads must be so many times faster: what they win on a quiet machine they lose on a busy one."""
LOOKS, BUDGET = 3, 2.0
"""Looks at each number of threads, and about how long all of them may take [s]."""


def measure_threads(recipe: Recipe, data: TrainingSet, *, cores: int | None = None) -> dict[int, float]:
    """Seconds of an update with 1, 2, 4 … threads, in turn; of a training that is thrown away.

    PyTorch's number of threads is left as it was.

    Args:
        recipe: What is to be trained.
        data: On what.
        cores: Most threads; the cores that this process may use, if nothing is said.
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
    """The number of threads to take: more than another only where they are clearly faster.

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
