"""A trained policy from its run folder."""

from pathlib import Path

import torch

from .pretrained import Policy


def load(path: str | Path, *, device: torch.device | str = "cpu") -> Policy:
    """Load the policy of a run folder.

    Raises:
        RunError: The folder is incomplete, damaged or of a newer version.
    """
    return Policy.from_pretrained(path, device=device)
