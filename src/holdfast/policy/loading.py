"""A trained policy from its run folder."""

from dataclasses import replace
from pathlib import Path
from typing import Literal

import torch

from .pretrained import Policy


def load(
    path: str | Path,
    *,
    device: torch.device | str = "cpu",
    seed: int = 0,
    on_nonfinite: Literal["raise", "hold"] | None = None,
) -> Policy:
    """Load the policy of a run folder. Nothing that the folder names is imported or run.

    Args:
        path: Run folder.
        device: Device of the model's weights.
        seed: Random seed of the policy.
        on_nonfinite: Reaction to a number that is not finite: "raise" an error, or "hold" the last action. Default: as
            stored; see `Execution`.

    Raises:
        RunError: The folder is incomplete, damaged, of files that do not belong together, or of a newer version.
    """
    policy = Policy.from_pretrained(path, device=device, seed=seed)
    if on_nonfinite is None:
        return policy
    execution = replace(policy.spec.execution, on_nonfinite=on_nonfinite)
    return Policy(policy.planner, execution=execution, seed=seed)
