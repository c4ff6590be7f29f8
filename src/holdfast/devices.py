"""Devices on which PyTorch computes."""

import torch

from .errors import RecipeError

# PyTorch knows others, which import modules of their own, hold no values, or fail with many lines
_KINDS = ("cpu", "cuda", "mps", "xpu")


def usable_device(name: torch.device | str) -> str:
    """Check that a device is available and return its name.

    Raises:
        RecipeError: PyTorch does not know the device, or this machine does not have it.
    """
    try:
        device = torch.device(name)
        if device.type not in _KINDS:
            raise ValueError("another kind of device")
        if device.type == "cpu" and device.index:
            raise ValueError("a CPU has no further number")
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError, ValueError, TypeError) as error:
        reason = str(error).partition("\n")[0].rstrip(".")
        known = "cpu or cuda" if torch.cuda.is_available() else "cpu"
        raise RecipeError(f"expected a device of this machine, {known}, got {str(name)!r:.80} ({reason}).") from error
    return str(name)
