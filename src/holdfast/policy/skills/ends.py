"""Termination conditions of skills, for a batch of episodes of which each has run its skill for some steps."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ...errors import InterfaceError, RecipeError, at_least, nearest


@dataclass(frozen=True)
class Moment:
    """What a condition is asked about: some episodes at one control step, all in the same skill.

    Attributes:
        observation: Newest observation vectors.
        names: Names of their coordinates; numbers from 0 where the data have none.
        steps: Number of control steps for which the skill has run.
        ending: Probability of the learned conditions that the skill ends; `None` without a selector that learned them.
    """

    observation: Float[Tensor, "b d"]
    names: tuple[str, ...]
    steps: Int[Tensor, " b"]
    ending: Float[Tensor, " b"] | None = None


@dataclass(frozen=True, kw_only=True)
class Reached:
    """Named coordinates of the observation are near a target: ‖x − target‖ ≤ within.

    Attributes:
        coordinates: Names of the coordinates x; numbers from 0 for data without names.
        within: Largest distance, in the units of the data.
        target: Value of each coordinate. Empty: 0, for coordinates that are relative to a target.
        target_coordinates: Names of coordinates that hold the target, in place of `target`.

    Raises:
        RecipeError: No coordinates, both kinds of target, a target of another size, or no positive distance.
    """

    coordinates: tuple[str, ...]
    within: float
    target: tuple[float, ...] = ()
    target_coordinates: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        given = self.target or self.target_coordinates
        if not self.coordinates or (given and len(given) != len(self.coordinates)):
            raise RecipeError(
                f"a distance of {len(self.coordinates)} coordinates to a target of {len(given)} numbers. Give one "
                "number, or one coordinate, for each coordinate."
            )
        if self.target and self.target_coordinates:
            raise RecipeError("expected a target as numbers or as coordinates, got both. Remove one.")
        if not 0 < self.within < math.inf or not all(map(math.isfinite, self.target)):
            raise RecipeError(f"expected a distance above 0 and a finite target, got {self.within} and {self.target}.")

    def holds(self, moment: Moment) -> Bool[Tensor, " b"]:
        """Episodes in which it holds.

        Raises:
            InterfaceError: A coordinate is not among the observed ones.
        """
        here = moment.observation[:, _indices(self.coordinates, moment.names)]
        if self.target_coordinates:
            target = moment.observation[:, _indices(self.target_coordinates, moment.names)]
        else:
            target = here.new_tensor(self.target or (0.0,) * len(self.coordinates))
        return (here - target).square().sum(dim=-1).sqrt() <= self.within

    def check(self, names: Sequence[str]) -> None:
        """Refuse coordinates that the skills do not observe.

        Raises:
            InterfaceError: There is such a coordinate.
        """
        _indices((*self.coordinates, *self.target_coordinates), names)


@dataclass(frozen=True)
class StepLimit:
    """The skill has run for a number of control steps.

    Raises:
        RecipeError: The number is below 1.
    """

    steps: int

    def __post_init__(self) -> None:
        at_least(1, steps=self.steps)

    def holds(self, moment: Moment) -> Bool[Tensor, " b"]:
        """Episodes in which it holds."""
        return moment.steps >= self.steps


@dataclass(frozen=True)
class LearnedEnd:
    """A network that learned where the labelled segments of the skill end says so (`learn.fit_selector`).

    Attributes:
        threshold: Smallest probability at which the skill ends.

    Raises:
        RecipeError: The threshold is not between 0 and 1.
    """

    threshold: float = 0.5

    def __post_init__(self) -> None:
        if not 0 < self.threshold < 1:
            raise RecipeError(f"expected a threshold between 0 and 1, got {self.threshold}.")

    def holds(self, moment: Moment) -> Bool[Tensor, " b"]:
        """Episodes in which it holds.

        Raises:
            RecipeError: There is no such network.
        """
        if moment.ending is None:
            raise RecipeError(
                "a skill has a learned termination condition, but there is no selector that learned it. Fit one to "
                "labelled segments (holdfast skills), or declare another condition, such as Reached or StepLimit."
            )
        return moment.ending >= self.threshold


Declared: TypeAlias = Reached | StepLimit | LearnedEnd
"""Conditions that can be stored."""
End: TypeAlias = Declared | Callable[[Moment], Tensor]
"""A termination condition; a function of the moment returns one truth value for each episode."""


def any_holds(ends: Sequence[End], moment: Moment) -> Bool[Tensor, " b"]:
    """Episodes in which at least one condition holds."""
    found = torch.zeros(len(moment.steps), dtype=torch.bool)
    for end in ends:
        holds = end.holds(moment) if isinstance(end, Declared) else end(moment)
        found |= torch.as_tensor(holds, dtype=torch.bool)
    return found


def _indices(coordinates: Sequence[str], names: Sequence[str]) -> list[int]:
    for name in coordinates:
        if name not in names:
            raise InterfaceError(
                f"a termination condition uses the coordinate {name!r:.80}, which the skills do not observe. Known: "
                f"{', '.join(names)}.{nearest(name, names)}"
            )
    return [names.index(name) for name in coordinates]
