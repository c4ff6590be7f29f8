"""Device and threads of a verb."""

import os
from collections.abc import Sequence
from pathlib import Path

import torch

from ..errors import RecipeError, RunError
from ..learn import Conditions, has_begun, trained_on
from ..memory import available_memory
from .ranges import MOST_THREADS


def check_rollouts(episodes: int, steps: int, numbers: int, *, pictures: Sequence[tuple[int, int]] = ()) -> None:
    """Refuse episodes that the memory cannot hold.

    Args:
        episodes: Number of episodes.
        steps: Control steps of each.
        numbers: Numbers of a step: states, observations and actions.
        pictures: Height and width of each picture of a step that is kept, of three bytes a pixel.

    Raises:
        RecipeError: They need more memory than there is.
    """
    # a rollout, its comparison with the expert and their statistics hold several copies of 8-byte numbers
    kept = 2 * sum(3 * height * width for height, width in pictures)
    needed, free = episodes * steps * (32 * numbers + kept), available_memory()
    if needed > free:
        raise RecipeError(
            f"{episodes} episodes of {steps} steps need about {needed / 1e9:.3g} GB of memory, but {free / 1e9:.3g} GB "
            "are available. Choose fewer episodes."
        )


def threads_are_open(count: int | None, *, device: str) -> bool:
    """Whether the number of threads is free to choose: on the CPU, and set by neither option nor OMP_NUM_THREADS."""
    return count is None and device == "cpu" and "OMP_NUM_THREADS" not in os.environ


def use_threads(count: int | None) -> None:
    """Set PyTorch's number of threads; `None` changes nothing.

    Raises:
        RecipeError: The number is less than one, or more than any machine starts.
    """
    if count is None:
        return
    if not 1 <= count <= MOST_THREADS:
        raise RecipeError(f"expected from 1 to {MOST_THREADS} threads, got {count}.")
    torch.set_num_threads(count)


def conditions(*folders: Path) -> Conditions:
    """Conditions of stopped trainings: those of the first that has a checkpoint, else those of this process."""
    begun = [folder for folder in folders if has_begun(folder)]
    for folder in begun[:-1]:
        try:
            return trained_on(folder)
        except RunError:
            continue
    return trained_on(begun[-1]) if begun else Conditions("cpu", torch.get_num_threads(), compiled=False)
