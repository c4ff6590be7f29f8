"""Policies: from observation windows to composite actions, and from these to actions at the current state."""

from .base import Execution, Plans, PolicySpec
from .empirical import EmpiricalDeconvolution
from .ensemble import TemporalEnsemble
from .estimator import Estimator
from .execute import ChunkExecutor
from .finite import episodes_may_be_lost
from .future import Future, imagine, modelled_names, resampled, toward
from .interface import Coordinates, PolicyInterface
from .loading import load
from .mismatch import Mismatch
from .overlap import Ensemble
from .planner import Planner, build_model
from .pretrained import Policy
from .safety import Filtered, SafetyFilter
from .sizes import LARGEST_NUMBER, check_recipe_numbers, constant_names, weight_layouts
from .smoothing import Smoothed
from .stacked import StackedPolicies
from .stored import read_recipe, save_planner
from .streamed import Streamed
from .versions import RUN_VERSION, upgrade

__all__ = [
    "LARGEST_NUMBER",
    "RUN_VERSION",
    "ChunkExecutor",
    "Coordinates",
    "EmpiricalDeconvolution",
    "Ensemble",
    "Estimator",
    "Execution",
    "Filtered",
    "Future",
    "Mismatch",
    "Planner",
    "Plans",
    "Policy",
    "PolicyInterface",
    "PolicySpec",
    "SafetyFilter",
    "Smoothed",
    "StackedPolicies",
    "Streamed",
    "TemporalEnsemble",
    "build_model",
    "check_recipe_numbers",
    "constant_names",
    "episodes_may_be_lost",
    "imagine",
    "load",
    "modelled_names",
    "read_recipe",
    "resampled",
    "save_planner",
    "toward",
    "upgrade",
    "weight_layouts",
]
