"""A library of skills: named policies with termination conditions, for one robot and one task.

    library = SkillLibrary((
        Skill("reach", hf.load("runs/reach"), (Reached(coordinates=("dx", "dy"), within=0.02),)),
        Skill("press", hf.load("runs/press"), (StepLimit(40),)),
    ))

All skills have the same actions, the same feedback state and the same observations; the observations may be in another
order, which each skill's own names tell.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ...errors import InterfaceError, RecipeError, UnknownNameError
from ...types import Observation, Prefix, PrimitiveControllers
from ..base import PolicySpec
from ..instructions import with_task
from ..interface import Coordinates, PolicyInterface
from ..pretrained import Policy
from .ends import End, LearnedEnd, Reached


@dataclass(frozen=True)
class ScriptedSkill:
    """A hand-written skill: a function of observations `[b, d]` and feedback states `[b, n]` to actions `[b, m]`.

    It plans one step at a time, and takes observations in the order of the library.
    """

    function: Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Skill:
    """A policy and when it ends.

    Attributes:
        name: Name, unique in a library.
        policy: Trained policy, or a hand-written one.
        ends: Termination conditions, of which one must hold. Empty: it runs until another skill is chosen.

    Raises:
        RecipeError: The name is empty, or the policy keeps plans between calls (streaming, temporal ensembling).
    """

    name: str
    policy: Policy | ScriptedSkill
    ends: tuple[End, ...] = ()

    def __post_init__(self) -> None:
        if not self.name or not self.name.isprintable():
            raise RecipeError(f"expected a name for the skill, of letters that can be printed, got {self.name!r:.80}.")
        if not isinstance(self.policy, Policy):
            return
        execution = self.policy.spec.execution
        kept = "stream" if execution.stream else "ensemble" if execution.ensemble is not None else ""
        if kept or self.policy.realtime is not None:
            raise RecipeError(
                f"the skill {self.name} keeps plans between calls ({kept or 'realtime'}), which are of no use after "
                f"another skill has run. Load it without: Policy.from_pretrained(RUN, execution=Execution(…))."
            )

    @property
    def trained(self) -> Policy | None:
        """The trained policy; `None` for a hand-written one."""
        return self.policy if isinstance(self.policy, Policy) else None

    @property
    def n_obs_steps(self) -> int:
        """Number of observations in a window."""
        return 1 if self.trained is None else self.trained.spec.n_obs_steps

    @property
    def n_action_steps(self) -> int:
        """Number of steps executed before the next plan."""
        return 1 if self.trained is None else self.trained.spec.execution.n_action_steps

    def plan(
        self,
        window: Observation,
        state: Float[Tensor, "b n"],
        *,
        rng: torch.Generator,
        prefix: Prefix | None = None,
    ) -> PrimitiveControllers:
        """Composite actions `[b, h]` for observation windows and feedback states."""
        if isinstance(self.policy, Policy):
            told = with_task(window, self.policy.spec.language, self.policy.instruction)
            return self.policy.executor.plans.plan(told, rng=rng, prefix=prefix)
        action = self.policy.function(window.vector[:, -1], state)
        return PrimitiveControllers.open_loop(action[:, None], torch.zeros_like(state)[:, None])

    def limit(self, action: Float[Tensor, "b m"]) -> Float[Tensor, "b m"]:
        """Action, clipped to the limits of the policy."""
        return action if self.trained is None else self.trained.executor.limit(action)


@dataclass(frozen=True)
class SkillLibrary:
    """Skills of one robot.

    Raises:
        RecipeError: No skills, or two of one name.
        InterfaceError: Two skills have other actions, feedback states or observations; the message names both.
    """

    skills: tuple[Skill, ...]

    def __post_init__(self) -> None:
        if not self.skills:
            raise RecipeError("a skill library needs at least one skill, got none.")
        if len({*self.names}) < len(self.names):
            raise RecipeError(f"expected skills of different names, got {', '.join(self.names)}. Rename one.")
        trained = [skill for skill in self.skills if skill.trained is not None]
        for other in trained[1:]:
            _compare(trained[0], other)
        names = self.observed
        for skill in self.skills:
            for end in skill.ends:
                if isinstance(end, Reached) and names:
                    end.check(names)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the skills."""
        return tuple(skill.name for skill in self.skills)

    @property
    def first(self) -> Policy | None:
        """The first trained policy, whose order of observations is that of the library."""
        return next((skill.trained for skill in self.skills if skill.trained is not None), None)

    @property
    def spec(self) -> PolicySpec | None:
        """Specification of the first trained policy, whose sizes are those of all."""
        return None if self.first is None else self.first.spec

    @property
    def interface(self) -> PolicyInterface | None:
        """Interface of the first trained policy, with the ranges of the observations of all skills.

        Which skill an episode begins with is decided when it begins, so that the first steps of no skill are special.
        """
        found = None if self.first is None else self.first.interface
        if found is None:
            return None
        lows, highs = [found.observation.low], [found.observation.high]
        for number, skill in enumerate(self.skills):
            own = None if skill.trained is None else skill.trained.interface
            if own is not None:
                order = self.order(number) or range(len(own.observation))
                # place of each of the library's coordinates in this skill's order
                places = sorted(range(len(own.observation)), key=lambda place, order=order: order[place])
                lows.append(tuple(own.observation.low[place] for place in places))
                highs.append(tuple(own.observation.high[place] for place in places))
        observation = Coordinates(
            low=tuple(map(min, *lows)) if len(lows) > 1 else lows[0],
            high=tuple(map(max, *highs)) if len(highs) > 1 else highs[0],
            names=found.observation.names,
            units=found.observation.units,
        )
        return replace(found, observation=observation)

    @property
    def observed(self) -> tuple[str, ...]:
        """Names of the observed coordinates, numbers where there are none; empty without a trained skill."""
        if self.first is None:
            return ()
        names = None if self.first.interface is None else self.first.interface.observation.names
        return names or tuple(map(str, range(self.first.spec.n_observed)))

    @property
    def learned_ends(self) -> bool:
        """Whether a skill has a learned termination condition."""
        return any(isinstance(end, LearnedEnd) for skill in self.skills for end in skill.ends)

    def index(self, name: object) -> int:
        """Number of the skill of a name.

        Raises:
            UnknownNameError: No such skill.
        """
        if name not in self.names:
            raise UnknownNameError("skill", str(name), self.names)
        return self.names.index(str(name))

    def order(self, number: int) -> list[int] | None:
        """Position of each observed coordinate of a skill in the library's observations; `None` for the same order."""
        policy = self.skills[number].trained
        own = None if policy is None or policy.interface is None else policy.interface.observation.names
        if own is None or own == self.observed:
            return None
        return [self.observed.index(name) for name in own]

    def with_policies(self, policies: Sequence[Policy | ScriptedSkill]) -> "SkillLibrary":
        """The same names and conditions with other policies, for example hand-written ones."""
        return SkillLibrary(
            tuple(replace(skill, policy=policy) for skill, policy in zip(self.skills, policies, strict=True))
        )


def _compare(one: Skill, other: Skill) -> None:
    """Refuse two trained skills that do not fit one robot."""
    first, second = _trained(one), _trained(other)
    for quantity, count in (("actions", "n_actions"), ("states", "n_states"), ("observations", "n_observed")):
        sizes = getattr(first.spec, count), getattr(second.spec, count)
        if sizes[0] != sizes[1]:
            raise InterfaceError(
                f"the skills {one.name} and {other.name} have other {quantity}: {sizes[0]} and {sizes[1]} numbers. "
                "All skills of a library control the same robot: train them on data with the same coordinates."
            )
    pairs = _names(first), _names(second)
    for quantity, sort in (("actions", False), ("states", False), ("observations", True)):
        left, right = (found.get(quantity) for found in pairs)
        if left is None or right is None or left == right or (sort and sorted(left) == sorted(right)):
            continue
        raise InterfaceError(
            f"the skills {one.name} and {other.name} have other {quantity}: {', '.join(left)} and {', '.join(right)}. "
            "Train them on data with the same names in the same order."
        )
    if _seen(first) != _seen(second):
        raise InterfaceError(
            f"the skills {one.name} and {other.name} see other cameras: {_seen(first)} and {_seen(second)}. Train them "
            "with the same --images."
        )
    if first.spec.execution.filter != second.spec.execution.filter:
        raise InterfaceError(
            f"the skills {one.name} and {other.name} have other safety filters. Give all skills the same one."
        )


def _trained(skill: Skill) -> Policy:
    assert skill.trained is not None
    return skill.trained


def _names(policy: Policy) -> dict[str, tuple[str, ...] | None]:
    interface = policy.interface
    if interface is None:
        return {}
    return {
        "actions": interface.action.names,
        "states": interface.state.names,
        "observations": interface.observation.names,
    }


def _seen(policy: Policy) -> dict[str, Any]:
    vision = policy.spec.vision
    return {} if vision is None else {view.camera: view.shape for view in vision.views}
