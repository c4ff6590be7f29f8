"""Episodes in which an array is not as in the others: which, in what, and how to read the others alone."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

MISSING = "no such array"
MOST_NAMED, MOST_RANGES = 6, 12


def kind_of(shape: tuple[int, ...] | None, dtype: np.dtype[Any] | None, steps: int | None = None) -> str:
    """What an episode holds of an array, as it is compared between episodes.

    Args:
        shape: Shape of the array; `None` where the episode lacks it.
        dtype: Type of its numbers.
        steps: Number of actions of the episode, if its rows are to be compared with it.

    >>> kind_of((35, 4), np.dtype(float), 40), kind_of((40,), np.dtype(float), 40)
    ('rows of 4 numbers, 35 for 40 steps', 'single numbers, one per step')
    """
    if shape is None or dtype is None:
        return MISSING
    if dtype.kind not in "fiub" or not shape:
        return f"no rows of numbers ({dtype}, shape {list(shape)})"
    plural = "" if shape[1:] == (1,) else "s"
    row = {0: "single numbers", 1: f"rows of {math.prod(shape[1:])} number{plural}"}.get(
        len(shape) - 1, f"rows of shape {list(shape[1:])}"
    )
    if steps is None:
        return row
    more = {0: "one per step", 1: "one per step and one after the last"}
    return f"{row}, {more.get(shape[0] - steps, f'{shape[0]} for {steps} steps')}"


@dataclass(frozen=True, kw_only=True)
class Differing:
    """An array that some episodes hold otherwise than the others.

    Attributes:
        key: Name of the array.
        usual: What the others hold of it.
        odd: Numbers of the episodes that differ, by what they hold.
        alike: Numbers of the others.
        names: Name of each episode in the file, by number.
    """

    key: str
    usual: str
    odd: dict[str, list[int]]
    alike: list[int]
    names: Mapping[int, str]

    @property
    def numbers(self) -> list[int]:
        """Numbers of the episodes that differ."""
        return sorted(number for numbers in self.odd.values() for number in numbers)

    @property
    def what(self) -> str:
        """Which episodes differ and in what, and what the others hold."""
        parts = [f"{self._named(numbers)} {kind}" for kind, numbers in list(self.odd.items())[:3]]
        rest = len(self.odd) - len(parts)
        parts += [f"{rest} more hold something else"] if rest > 0 else []
        count = len(self.alike)
        others = f"the other {count} have" if count != 1 else "one other has"
        return f"{self.key} is not the same in all episodes: {'; '.join(parts)}, but {others} {self.usual}"

    @property
    def sentence(self) -> str:
        """The same, and the way out."""
        which = "that one" if len(self.numbers) == 1 else "the named ones"
        return f"{self.what}. {reading_alone(self.alike)}, or repair {which}."

    @property
    def short(self) -> str:
        """The key with the episodes that differ, for lists of what was not read."""
        several = "s" if len(self.numbers) > 1 else ""
        return f"{self.key} (differs in episode{several} {listed_numbers(self.numbers)})"

    def _named(self, numbers: Sequence[int]) -> str:
        names = [self.names[number] for number in numbers[:3]]
        more = ", …" if len(numbers) > 3 else ""
        if len(numbers) == 1:
            return f"episode {numbers[0]} ({names[0]}) has"
        return f"episodes {listed_numbers(numbers)} ({', '.join(names)}{more}) have"


def differing(
    key: str, kinds: Sequence[str | None], names: Sequence[str], numbers: Sequence[int] | None = None
) -> Differing | None:
    """The episodes in which an array is not as in most; `None` where all hold the same.

    Args:
        key: Name of the array.
        kinds: What each episode holds of it, as `kind_of` tells; `None` for episodes that are not compared.
        names: Name of each episode.
        numbers: Number of each episode in the file. Default: counted from 0.

    >>> found = differing("qpos", ["rows of 4 numbers", MISSING, "rows of 4 numbers"], ["demo_0", "demo_1", "demo_2"])
    >>> found and found.sentence.split(": ")[1].split(". ")[0]
    'episode 1 (demo_1) has no such array, but the other 2 have rows of 4 numbers'
    """
    held = Counter(kind for kind in kinds if kind is not None and kind != MISSING)
    if not held:
        return None
    usual = held.most_common(1)[0][0]
    told = dict(zip(range(len(kinds)) if numbers is None else numbers, kinds, strict=True))
    odd = dict[str, list[int]]()
    for number, kind in told.items():
        if kind is not None and kind != usual:
            odd.setdefault(kind, []).append(number)
    alike = [number for number, kind in told.items() if kind == usual]
    named = dict(zip(told, names, strict=True))
    return Differing(key=key, usual=usual, odd=odd, alike=alike, names=named) if odd else None


def reading_alone(numbers: Sequence[int]) -> str:
    """The beginning of a sentence that tells how to read some episodes alone.

    >>> reading_alone([0, 1, 3])
    'Read the others alone with --episodes 0-1 3'
    """
    ranges = _ranges(numbers)
    if len(ranges) > MOST_RANGES:
        return "Read the others alone with --episodes"
    return f"Read the others alone with --episodes {' '.join(ranges)}"


def listed_numbers(numbers: Sequence[int], *, apart: str = ", ") -> str:
    """Numbers and ranges of episodes for a sentence, or all of them for an option.

    >>> listed_numbers([2, 3, 4, 9]), listed_numbers([2, 3, 9], apart=" ")
    ('2-4, 9', '2-3 9')
    """
    ranges = _ranges(numbers)
    if apart == " ":
        return apart.join(ranges)
    more = f" and {len(ranges) - MOST_NAMED} more" if len(ranges) > MOST_NAMED else ""
    return apart.join(ranges[:MOST_NAMED]) + more


def _ranges(numbers: Sequence[int]) -> list[str]:
    found = list[list[int]]()
    for number in sorted(numbers):
        if found and number == found[-1][1] + 1:
            found[-1][1] = number
        else:
            found.append([number, number])
    return [f"{first}-{last}" if last > first else f"{first}" for first, last in found]
