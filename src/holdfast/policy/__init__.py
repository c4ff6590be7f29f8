"""Policies: from observation windows to composite actions, and from these to actions at the current state."""

from .base import Execution, Plans, PolicySpec
from .empirical import EmpiricalDeconvolution
from .ensemble import TemporalEnsemble
from .execute import ChunkExecutor
from .loading import load
from .overlap import Ensemble
from .planner import Planner, build_model
from .pretrained import Policy, read_recipe, save_planner
from .smoothing import Smoothed
from .stacked import StackedPolicies
from .streamed import Streamed
from .versions import RUN_VERSION, upgrade

__all__ = [
    "RUN_VERSION",
    "ChunkExecutor",
    "EmpiricalDeconvolution",
    "Ensemble",
    "Execution",
    "Planner",
    "Plans",
    "Policy",
    "PolicySpec",
    "Smoothed",
    "StackedPolicies",
    "Streamed",
    "TemporalEnsemble",
    "build_model",
    "load",
    "read_recipe",
    "save_planner",
    "upgrade",
]
