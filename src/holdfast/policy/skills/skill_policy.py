"""A policy that runs one skill after the other.

observation ──► has the skill ended, or is a decision due? ──► planner: which skill? ──► hand-over ──► action

    policy = SkillPolicy(library, selector, every=5)
    policy.reset()
    action = policy.select_action(observation)

A skill runs until one of its termination conditions holds; then, and every `every` control steps, the planner is asked.
"""

from typing import Any

from jaxtyping import Float, Int
from torch import Tensor

from ...errors import RecipeError
from ...types import Observation
from ..base import PolicySpec
from ..finite import Acting, Guarded
from ..interface import PolicyInterface
from ..observed import ObservationLike, as_observation, check_observation, check_state, feedback_state, remembered
from ..safety import Filtered
from ..turns import Turns
from .executor import SkillExecutor
from .library import SkillLibrary
from .planning import SkillPlanner, Stint
from .selector import Selector
from .switching import Handover


class SkillPolicy:
    """Skills of a library, run in the order that a planner decides.

    The properties of the executed policy, such as limits, noise and safety filter, are those of each skill.

    Args:
        library: The skills.
        planner: Who decides: a trained selector, or a function of named observations and the history (`SkillPlanner`).
        every: Control steps between two decisions while a skill runs. Default: only where it ends.
        handover: How a skill takes over from the one before.
        selector: Network of the learned termination conditions, where the planner is a function.
        seed: Random seed of the policy.

    Raises:
        RecipeError: The selector was trained for other skills, learned termination conditions lack their network, or
            `every` is below 1.
    """

    def __init__(
        self,
        library: SkillLibrary,
        planner: Selector | SkillPlanner,
        *,
        every: int | None = None,
        handover: Handover | None = None,
        selector: Selector | None = None,
        seed: int = 0,
    ) -> None:
        self.library = library
        self.executor = SkillExecutor(
            library, planner, every=every, handover=handover or Handover(), selector=selector, seed=seed
        )
        spec = library.spec
        limits = None if spec is None else spec.execution.filter
        self.filtered = None if limits is None else Filtered(self.executor, limits)
        acting: Acting = self.filtered or self.executor
        self.guarded = Guarded(acting, "raise" if spec is None else spec.execution.on_nonfinite)
        self.turns = Turns()

    @property
    def spec(self) -> PolicySpec | None:
        """Specification of the first trained skill; `None` if all are hand-written."""
        return self.library.spec

    @property
    def interface(self) -> PolicyInterface | None:
        """Names, order, units and ranges of what the first trained skill was trained on, if they are known."""
        return self.library.interface

    @property
    def chosen(self) -> Int[Tensor, "b t"]:
        """Number of the skill that ran in each episode and control step since the reset."""
        return self.executor.chosen

    def history(self, episode: int = 0) -> list[Stint]:
        """The skills that an episode of the batch has run since the reset, oldest first.

        Raises:
            ShapeError: The batch has no such episode.
        """
        return self.executor.history(episode)

    def reset(self, seed: int | None = None) -> None:
        """Start a new episode; a seed restarts the policy's randomness, `None` continues it."""
        with self.turns.lock:
            self.guarded.reset(seed)
            self.turns.free()

    def act(self, observation: Observation, state: Float[Tensor, "b n"]) -> Float[Tensor, "b m"]:
        """Next actions of a batch of episodes, each of which runs its own skill.

        Raises:
            ShapeError: A shape is another one than in training, or than before in this episode.
            DataError: The observation or the state is not finite.
            ActionError: The action would not be finite.
            UnknownNameError: The planner names no skill of the library.
            RecipeError: The planner fails, or returns something else than a name.
        """
        if self.spec is not None:
            check_observation(observation, self.spec)
            check_state(state, observation, self.spec)
            observation = remembered(observation, self.spec)
        with self.turns.lock:
            self.turns.claim()
            return self.guarded.act(observation, state)

    def select_action(self, observation: ObservationLike, state: Any = None) -> Tensor:
        """Next action, `[m]` or `[b, m]`; arguments and errors are those of `Policy.select_action`.

        Raises:
            RecipeError: All skills are hand-written, so that nothing tells what an observation consists of.
        """
        if self.spec is None:
            raise RecipeError(
                "all skills are hand-written: give an Observation and a state of several episodes to act()."
            )
        seen = as_observation(observation, self.spec, self.interface)
        feedback = feedback_state(state, observation, seen, self.spec)
        if seen.state.dim() == 2:
            return self.act(seen, feedback)
        return self.act(seen.map(lambda values: values[None]), feedback[None])[0]
