"""Inference delay: control steps between an observation and the first action of the plan that answers it."""

import re
from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor

from ...errors import RecipeError

LONGEST_DELAY = 2**16
"""Largest delay [control steps], for a robot that waits; others are bound by the steps of a chunk."""
REMEMBERED = 10
"""Number of past delays from which the next one is forecast."""


@dataclass(frozen=True)
class Delay:
    """Inference delay d [control steps]: the same for every plan, or drawn anew for each.

    Attributes:
        low: Smallest delay.
        high: Largest delay; each whole number from `low` to `high` is equally likely. Default: `low`, a fixed delay.

    >>> str(Delay(4)), str(Delay(0, 4))
    ('4', '0-4')
    """

    low: int = 0
    high: int | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.low <= self.largest:
            raise RecipeError(
                f"expected a delay of 0 or more control steps, its smallest value first, got {self.low} to "
                f"{self.largest}."
            )

    @property
    def largest(self) -> int:
        """Largest delay."""
        return self.low if self.high is None else self.high

    @staticmethod
    def parse(text: str) -> "Delay":
        """Delay of its short form: "4" is fixed, "0-4" is drawn anew for each plan.

        Raises:
            RecipeError: The text is neither of these.

        >>> Delay.parse("0-4")
        Delay(low=0, high=4)
        """
        # numbers of any likely length, so that what refuses them can say which would do
        if (found := re.fullmatch(r"([0-9]{1,30})(?:-([0-9]{1,30}))?", text.strip())) is None:
            raise RecipeError(f"expected a delay such as 4, or 0-4 for one drawn anew for each plan, got {text!r:.80}.")
        low, high = found.groups()
        return Delay(int(low), None if high is None else int(high))

    def draw(self, count: int, *, rng: torch.Generator) -> Int[Tensor, " count"]:
        """The delay of one plan for each of a number of episodes."""
        if self.largest == self.low:
            return torch.full((count,), self.low)
        return torch.randint(self.low, self.largest + 1, (count,), generator=rng, device=rng.device).cpu()

    def __str__(self) -> str:
        return str(self.low) if self.largest == self.low else f"{self.low}-{self.largest}"


def forecast(recent: Int[Tensor, "b d"]) -> Int[Tensor, " b"]:
    """Forecast of the next delay: the largest of the last ten, and not of all, so that one slow plan is forgotten.

    (Black et al. 2025, arXiv 2506.07339, algorithm 1, line 11.)
    """
    return recent.amax(-1)


def remembered(recent: Int[Tensor, "b d"], delay: Int[Tensor, " b"]) -> Int[Tensor, "b e"]:
    """The last ten delays after another one.

    >>> remembered(torch.tensor([[4]]), torch.tensor([2]))
    tensor([[4, 2]])
    """
    return torch.cat([recent, delay[:, None]], dim=1)[:, -REMEMBERED:]
