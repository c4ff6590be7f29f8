"""Policies: from an observation window to a composite action, and from that to actions on the current state."""

from .base import Execution, Plans, PolicySpec
from .empirical import EmpiricalDeconvolution
from .execute import ChunkExecutor
from .planner import Planner, build_model
from .pretrained import RUN_VERSION, Policy, read_recipe, save_planner
from .smoothing import Smoothed

__all__ = [
    "RUN_VERSION",
    "ChunkExecutor",
    "EmpiricalDeconvolution",
    "Execution",
    "Planner",
    "Plans",
    "Policy",
    "PolicySpec",
    "Smoothed",
    "build_model",
    "read_recipe",
    "save_planner",
]
