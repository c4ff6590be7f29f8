"""Behavior cloning for continuous control that holds on to the demonstrated behavior.

import holdfast as hf

policy = hf.load("runs/quadrotor")
policy.reset()
action = policy.select_action({"observation.state": state})
"""

__version__ = "0.1.0"

from pathlib import Path

import torch

from .analysis.diagnosis import diagnose
from .control import synthesize, system
from .data import read, write
from .envs import rollout
from .evaluation import evaluate
from .learn import default_recipe, fit, prepare
from .policy import Execution, Policy, PolicySpec
from .recipe import Recipe, Training
from .types import Batch, Episodes, Observation, Prefix, PrimitiveControllers, Trajectory

__all__ = [
    "Batch",
    "Episodes",
    "Execution",
    "Observation",
    "Policy",
    "PolicySpec",
    "Prefix",
    "PrimitiveControllers",
    "Recipe",
    "Training",
    "Trajectory",
    "__version__",
    "default_recipe",
    "diagnose",
    "evaluate",
    "fit",
    "load",
    "prepare",
    "read",
    "rollout",
    "synthesize",
    "system",
    "write",
]


def load(path: str | Path, *, device: torch.device | str = "cpu") -> Policy:
    """The policy of a run folder.

    Raises:
        RunError: The folder is incomplete, damaged or of a newer version.
    """
    return Policy.from_pretrained(path, device=device)
