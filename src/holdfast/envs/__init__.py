"""Environments: what policies are run in, and the one function that runs them."""

from .actors import EXPERT, PERSON, POLICY, Actor, Delayed, Intervene, Intervention, PlainPolicy
from .closed_loop import check_fit, rollout, within_bounds
from .contract import Fit, cameras_of, compare_interface, fit_of, sees_pictures, warn_of
from .drawn_depth import DrawnDepth
from .environment import Environment, Recognizes, Starts, Step
from .estimated import Estimated
from .featured import Featured
from .foreign import PerEpisode, as_actor
from .foreign_environments import as_environment
from .registry import (
    ENVIRONMENTS,
    FIRST_TEST_SEED,
    FIRST_UNTOUCHED_SEED,
    make_environment,
    named_by_data,
    with_pictures,
)
from .rollouts import Rollout
from .system import SystemEnvironment
from .wider_bounds import with_bounds
from .wrapped import Wrapped, unwrapped

__all__ = [
    "ENVIRONMENTS",
    "EXPERT",
    "FIRST_TEST_SEED",
    "FIRST_UNTOUCHED_SEED",
    "PERSON",
    "POLICY",
    "Actor",
    "Delayed",
    "DrawnDepth",
    "Environment",
    "Estimated",
    "Featured",
    "Fit",
    "Intervene",
    "Intervention",
    "PerEpisode",
    "PlainPolicy",
    "Recognizes",
    "Rollout",
    "Starts",
    "Step",
    "SystemEnvironment",
    "Wrapped",
    "as_actor",
    "as_environment",
    "cameras_of",
    "check_fit",
    "compare_interface",
    "fit_of",
    "make_environment",
    "named_by_data",
    "rollout",
    "sees_pictures",
    "unwrapped",
    "warn_of",
    "with_bounds",
    "with_pictures",
    "within_bounds",
]
