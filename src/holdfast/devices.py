"""Devices on which PyTorch computes."""

import torch

from .errors import RecipeError


def usable_device(name: torch.device | str) -> str:
    """Check that a device is available and return its name.

    Raises:
        RecipeError: PyTorch does not know the device, or this machine does not have it.
    """
    try:
        # a value is read, because the device "meta" makes arrays without any
        torch.zeros(1, device=name).item()
    except (RuntimeError, AssertionError, ValueError, TypeError) as error:
        reason = str(error).partition("\n")[0].rstrip(".")
        known = "cpu or cuda" if torch.cuda.is_available() else "cpu"
        raise RecipeError(f"expected a device of this machine, {known}, got {str(name)!r:.80} ({reason}).") from error
    return str(name)
