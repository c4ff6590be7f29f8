"""A trained policy from its run folder."""

import logging
from dataclasses import replace
from pathlib import Path
from typing import Literal

import torch

from .pretrained import Policy
from .ready import Readiness, readied


def load(
    path: str | Path,
    *,
    device: torch.device | str = "cpu",
    seed: int = 0,
    on_nonfinite: Literal["raise", "hold"] | None = None,
    fast: bool = True,
) -> Policy:
    """Load the policy of a run folder. Nothing that the folder names is imported or run.

    Where the network is large enough to gain from it, a few plans are made with packed weights and without, and the
    faster form is kept (`Policy.packed`); plans differ by at most 1e-5 of their largest number. The logger `holdfast`
    says at level INFO what was chosen.

    Args:
        path: Run folder.
        device: Device of the model's weights.
        seed: Random seed of the policy.
        on_nonfinite: Reaction to a number that is not finite: "raise" an error, or "hold" the last action. Default: as
            stored; see `Execution`.
        fast: Choose the faster form; otherwise the weights are used as they are stored.

    Raises:
        RunError: The folder is incomplete, damaged, of files that do not belong together, or of a newer version.
        RecipeError: This machine does not have the device.
    """
    if fast:
        policy, readiness = load_ready(path, device=device, seed=seed)
        logging.getLogger("holdfast").info("%s: %s", path, readiness)
    else:
        policy = Policy.from_pretrained(path, device=device, seed=seed)
    if on_nonfinite is None:
        return policy
    return Policy(policy.planner, execution=replace(policy.spec.execution, on_nonfinite=on_nonfinite), seed=seed)


def load_ready(path: str | Path, *, device: torch.device | str = "cpu", seed: int = 0) -> tuple[Policy, Readiness]:
    """The policy of a run folder with weights in the form that plans fastest here, and why this form was chosen."""
    policy = Policy.from_pretrained(path, device=device, seed=seed)
    planner, readiness = readied(policy.planner)
    if planner is policy.planner:
        return policy, readiness
    return Policy(planner, execution=policy.spec.execution, seed=seed), readiness
