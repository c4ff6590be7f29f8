"""Behavior cloning for continuous control that holds on to the demonstrated behavior.

import holdfast as hf

policy = hf.load("runs/quadrotor")
policy.reset()
action = policy.select_action({"observation.state": state})

Importing the package loads nothing else: each name below is imported from its module at its first use.
"""

__version__ = "0.1.0"

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .errors import nearest

if TYPE_CHECKING:
    from .analysis.diagnosis import Diagnosis, diagnose, judgement, verdict
    from .analysis.diagnosis.page import write_diagnosis
    from .control import synthesize, system
    from .data import (
        Covariance,
        Isotropic,
        PerCoordinate,
        PictureFeatures,
        Selection,
        episodes_from_arrays,
        read,
        write,
    )
    from .data.doctor import inspect_episodes
    from .envs import (
        Environment,
        PerEpisode,
        PlainPolicy,
        Rollout,
        Step,
        SystemEnvironment,
        compare_interface,
        make_environment,
        rollout,
    )
    from .envs.gym import gym_environment
    from .errors import HoldfastError
    from .evaluation import Estimate, Evaluation, FixedStarts, evaluate, fixed_starts
    from .export import export_policy
    from .learn import default_recipe, fit, load_estimator, load_recipe, planner_of, prepare, train_to_end, vision_of
    from .policy import Coordinates, Execution, Mismatch, Policy, PolicyInterface, PolicySpec, load
    from .policy.skills import Skill, SkillLibrary, SkillPolicy, load_skills, save_library
    from .recipe import Recipe, Training
    from .types import Batch, Episodes, Observation, Prefix, PrimitiveControllers, Trajectory

__all__ = [
    "Batch",
    "Coordinates",
    "Covariance",
    "Diagnosis",
    "Environment",
    "Episodes",
    "Estimate",
    "Evaluation",
    "Execution",
    "FixedStarts",
    "HoldfastError",
    "Isotropic",
    "Mismatch",
    "Observation",
    "PerCoordinate",
    "PerEpisode",
    "PictureFeatures",
    "PlainPolicy",
    "Policy",
    "PolicyInterface",
    "PolicySpec",
    "Prefix",
    "PrimitiveControllers",
    "Recipe",
    "Rollout",
    "Selection",
    "Skill",
    "SkillLibrary",
    "SkillPolicy",
    "Step",
    "SystemEnvironment",
    "Training",
    "Trajectory",
    "__version__",
    "compare_interface",
    "default_recipe",
    "diagnose",
    "episodes_from_arrays",
    "evaluate",
    "export_policy",
    "fit",
    "fixed_starts",
    "gym_environment",
    "inspect_episodes",
    "judgement",
    "load",
    "load_estimator",
    "load_recipe",
    "load_skills",
    "make_environment",
    "planner_of",
    "prepare",
    "read",
    "rollout",
    "save_library",
    "synthesize",
    "system",
    "train_to_end",
    "verdict",
    "vision_of",
    "write",
    "write_diagnosis",
]

_NAMES_IN = {
    "analysis.diagnosis": ("Diagnosis", "diagnose", "judgement", "verdict"),
    "analysis.diagnosis.page": ("write_diagnosis",),
    "control": ("synthesize", "system"),
    "data": (
        "Covariance",
        "Isotropic",
        "PerCoordinate",
        "PictureFeatures",
        "Selection",
        "episodes_from_arrays",
        "read",
        "write",
    ),
    "data.doctor": ("inspect_episodes",),
    "envs": (
        "Environment",
        "PerEpisode",
        "PlainPolicy",
        "Rollout",
        "Step",
        "SystemEnvironment",
        "compare_interface",
        "make_environment",
        "rollout",
    ),
    "envs.gym": ("gym_environment",),
    "errors": ("HoldfastError",),
    "evaluation": ("Estimate", "Evaluation", "FixedStarts", "evaluate", "fixed_starts"),
    "export": ("export_policy",),
    "learn": (
        "default_recipe",
        "fit",
        "load_estimator",
        "load_recipe",
        "planner_of",
        "prepare",
        "train_to_end",
        "vision_of",
    ),
    "policy": ("Coordinates", "Execution", "Mismatch", "Policy", "PolicyInterface", "PolicySpec", "load"),
    "policy.skills": ("Skill", "SkillLibrary", "SkillPolicy", "load_skills", "save_library"),
    "recipe": ("Recipe", "Training"),
    "types": ("Batch", "Episodes", "Observation", "Prefix", "PrimitiveControllers", "Trajectory"),
}
_MODULE_OF = {name: module for module, names in _NAMES_IN.items() for name in names}
_SUBPACKAGES = (
    "analysis",
    "control",
    "data",
    "envs",
    "evaluation",
    "export",
    "learn",
    "models",
    "nn",
    "policy",
    "serve",
    "tokens",
)


def __getattr__(name: str) -> Any:
    """A public name, imported from its module at its first use, or a subpackage (PEP 562)."""
    if name in _SUBPACKAGES:
        return import_module(f".{name}", __name__)
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'holdfast' has no attribute {name!r}.{nearest(name, __all__)}")
    value = getattr(import_module(f".{_MODULE_OF[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*__all__, *_SUBPACKAGES, *globals()})
