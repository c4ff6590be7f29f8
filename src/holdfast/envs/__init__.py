"""Environments: what policies are run in, and the one function that runs them."""

from .actors import EXPERT, PERSON, POLICY, Actor, Delayed, Intervene, Intervention, PlainPolicy
from .closed_loop import check_fit, rollout
from .contract import Fit, compare_interface, fit_of
from .environment import Environment, Starts, Step
from .registry import ENVIRONMENTS, FIRST_TEST_SEED, make_environment, named_by_data
from .rollouts import Rollout
from .system import SystemEnvironment
from .wider_bounds import with_bounds

__all__ = [
    "ENVIRONMENTS",
    "EXPERT",
    "FIRST_TEST_SEED",
    "PERSON",
    "POLICY",
    "Actor",
    "Delayed",
    "Environment",
    "Fit",
    "Intervene",
    "Intervention",
    "PlainPolicy",
    "Rollout",
    "Starts",
    "Step",
    "SystemEnvironment",
    "check_fit",
    "compare_interface",
    "fit_of",
    "make_environment",
    "named_by_data",
    "rollout",
    "with_bounds",
]
