"""What of the machine a verb uses."""

import torch

from ..errors import RecipeError

__all__ = ["usable_device", "use_threads"]


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
