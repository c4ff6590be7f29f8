"""Who decides which skill runs: a cloned selector, or a function of named observations and the history.

    planner(observation, history) -> name

`observation` is a mapping from names of coordinates to numbers (and from `observation.images.<camera>` to pictures) of
one episode, `history` the skills that it has run, oldest first: a hand-written rule, or a language model that is told
both in words.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import torch
from jaxtyping import Int
from torch import Tensor

from ...errors import RecipeError, UnknownNameError
from ...types import Observation
from .library import SkillLibrary
from .selector import Selector


@dataclass(frozen=True)
class Stint:
    """One uninterrupted run of a skill in an episode.

    Attributes:
        skill: Its name.
        first: Control step at which it began.
        steps: Number of control steps.
        ended: What ended it: its own termination condition, or the decision for another skill; `None` while it runs.
    """

    skill: str
    first: int
    steps: int
    ended: Literal["condition", "decision"] | None = None


SkillPlanner: TypeAlias = Callable[[Mapping[str, Any], Sequence[Stint]], str]
"""A function that names the skill to run next."""


def decided(
    planner: Selector | SkillPlanner,
    library: SkillLibrary,
    window: Observation,
    histories: Sequence[Sequence[Stint]],
    names: tuple[str, ...],
    *,
    episodes: Sequence[int],
    step: int,
) -> Int[Tensor, " b"]:
    """The number of the chosen skill of each episode.

    Args:
        planner: Selector or function.
        library: The skills.
        window: Observation windows of these episodes.
        histories: What each has run.
        names: Names of the observed coordinates.
        episodes: Number of each episode in the batch, for messages.
        step: Control step, for messages.

    Raises:
        UnknownNameError: The function names no skill of the library.
        RecipeError: The function fails, or returns something else than a name.
    """
    if isinstance(planner, Selector):
        return planner.ordered(library.names)[planner.choose(window.vector[:, -planner.n_obs_steps :])]
    newest = window.map(lambda values: values[:, -1])
    chosen = [
        library.names.index(
            _asked(planner, library, _named(newest, row, names), history, f"step {step} of episode {one}")
        )
        for row, (one, history) in enumerate(zip(episodes, histories, strict=True))
    ]
    return torch.tensor(chosen, dtype=torch.int64)


def _asked(
    planner: SkillPlanner, library: SkillLibrary, told: Mapping[str, Any], history: Sequence[Stint], moment: str
) -> str:
    """The name that a function returns.

    Raises:
        UnknownNameError: No skill of the library has this name.
        RecipeError: The function fails, or returns something else than a name.
    """
    who: str = getattr(planner, "__name__", None) or type(planner).__name__
    try:
        answer: Any = planner(told, history)
    # the function is the user's, and can fail in any way
    except Exception as error:
        raise RecipeError(
            f"the planner {who} failed at {moment} with {type(error).__name__}: {error}. It was given an observation "
            f"with {', '.join(told)} and a history of {len(history)} skills, and is to return one of "
            f"{', '.join(library.names)}."
        ) from error
    if not isinstance(answer, str):
        raise RecipeError(
            f"the planner {who} returned {answer!r:.80} ({type(answer).__name__}) at {moment}, expected the name of a "
            f"skill as text: {', '.join(library.names)}."
        )
    if answer not in library.names:
        raise UnknownNameError(f"skill from the planner {who} at {moment}:", answer, library.names)
    return answer


def _named(newest: Observation, row: int, names: tuple[str, ...]) -> dict[str, Any]:
    """The observation of one episode by name."""
    found: dict[str, Any] = {name: float(value) for name, value in zip(names, newest.vector[row], strict=True)}
    return found | {f"observation.images.{camera}": shown[row] for camera, shown in newest.images.items()}
