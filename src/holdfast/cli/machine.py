"""What of the machine a verb uses."""

import os

import torch

from ..errors import RecipeError

__all__ = ["threads_are_open", "usable_device", "use_threads"]


def usable_device(name: str) -> str:
    """The name of a device that is there.

    Raises:
        RecipeError: PyTorch does not know it, or this machine has none.
    """
    try:
        torch.zeros(1, device=name)
    except (RuntimeError, AssertionError) as error:
        raise RecipeError(f"expected a device of this machine, cpu or cuda, got {name!r} ({error}).") from error
    return name


def threads_are_open(count: int | None, *, device: str) -> bool:
    """Whether nobody says with how many threads to compute, and it is the processor that computes."""
    return count is None and device == "cpu" and "OMP_NUM_THREADS" not in os.environ


def use_threads(count: int | None) -> None:
    """Let PyTorch compute with so many threads; `None` leaves it as it is.

    Raises:
        RecipeError: Fewer than one.
    """
    if count is None:
        return
    if count < 1:
        raise RecipeError(f"expected at least 1 thread, got {count}.")
    torch.set_num_threads(count)
