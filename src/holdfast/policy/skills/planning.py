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
) -> Int[Tensor, " b"]:
    """The number of the chosen skill of each episode.

    Args:
        planner: Selector or function.
        library: The skills.
        window: Observation windows of these episodes.
        histories: What each has run.
        names: Names of the observed coordinates.

    Raises:
        UnknownNameError: The function names no skill of the library.
    """
    if isinstance(planner, Selector):
        return planner.ordered(library.names)[planner.choose(window.vector[:, -planner.n_obs_steps :])]
    newest = window.map(lambda values: values[:, -1])
    chosen = [library.index(planner(_named(newest, row, names), history)) for row, history in enumerate(histories)]
    return torch.tensor(chosen, dtype=torch.int64)


def _named(newest: Observation, row: int, names: tuple[str, ...]) -> dict[str, Any]:
    """The observation of one episode by name."""
    found: dict[str, Any] = {name: float(value) for name, value in zip(names, newest.vector[row], strict=True)}
    return found | {f"observation.images.{camera}": shown[row] for camera, shown in newest.images.items()}
