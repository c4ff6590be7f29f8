"""Skills: named policies with termination conditions, who chooses among them, and how one takes over from another."""

from .ends import Declared, End, LearnedEnd, Moment, Reached, StepLimit
from .library import ScriptedSkill, Skill, SkillLibrary
from .planning import SkillPlanner, Stint
from .selector import Selector, SelectorNet, SelectorSizes
from .skill_policy import SkillPolicy
from .stored import (
    LIBRARY_FILE,
    SELECTOR_FILE,
    is_library,
    library_bytes,
    load_library,
    load_skills,
    save_library,
    selector_bytes,
    skill_folders,
)
from .switching import Handover

__all__ = [
    "LIBRARY_FILE",
    "SELECTOR_FILE",
    "Declared",
    "End",
    "Handover",
    "LearnedEnd",
    "Moment",
    "Reached",
    "ScriptedSkill",
    "Selector",
    "SelectorNet",
    "SelectorSizes",
    "Skill",
    "SkillLibrary",
    "SkillPlanner",
    "SkillPolicy",
    "StepLimit",
    "Stint",
    "is_library",
    "library_bytes",
    "load_library",
    "load_skills",
    "save_library",
    "selector_bytes",
    "skill_folders",
]
