"""Device and threads of a verb."""

import os

import torch

from ..errors import RecipeError


def usable_device(name: str) -> str:
    """Check that a device is available and return its name.

    Raises:
        RecipeError: PyTorch does not know the device, or this machine does not have it.
    """
    try:
        torch.zeros(1, device=name)
    except (RuntimeError, AssertionError) as error:
        raise RecipeError(f"expected a device of this machine, cpu or cuda, got {name!r} ({error}).") from error
    return name


def threads_are_open(count: int | None, *, device: str) -> bool:
    """Whether the number of threads is free to choose: on the CPU, and set by neither option nor OMP_NUM_THREADS."""
    return count is None and device == "cpu" and "OMP_NUM_THREADS" not in os.environ


def use_threads(count: int | None) -> None:
    """Set PyTorch's number of threads; `None` changes nothing.

    Raises:
        RecipeError: The number is less than one.
    """
    if count is None:
        return
    if count < 1:
        raise RecipeError(f"expected at least 1 thread, got {count}.")
    torch.set_num_threads(count)
