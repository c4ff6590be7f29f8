"""Which parts of a data set are read: a mapping of keys to the quantities of an episode, and a choice of episodes."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, fields

from ..errors import RecipeError
from ..files import shown
from .depth import Depth

RANGE = re.compile(r"(\d{1,9})(?:([-:])(\d{1,9}))?")


@dataclass(frozen=True, kw_only=True)
class Selection:
    """A choice of keys and episodes. By default, usual names of the format decide, and all episodes are read.

    Keys are names of arrays, columns or features as `holdfast inspect` lists them; the end of a path suffices where
    only one path has it (`qpos` for `observations/qpos`), a pattern with `*` or the name of a group stands for all keys
    that fit, in the order of the file, and coordinates are addressed by their names.

    Attributes:
        state: Keys whose values, side by side in this order, are the state and the observation of the policy.
        action: Keys whose values, side by side in this order, are the action.
        cameras: Names of the cameras to keep; an empty tuple keeps none.
        episodes: Numbers of episodes, counted from 0, and ranges: `7`, `0-9` (with 9), `0:10` (without 10).
        filter_key: Name of a list of episodes in the data: robomimic's filter key, a split of LeRobot, or a quantity
            with one flag an episode, such as `success`.
        task: Instruction of the episodes to read.
        estimate: Coordinates of the observation that take the place of the actions, for an estimator; see
            `estimating`.
        depth_range: Nearest and farthest measurement of depth cameras and other pictures of more than 8 bits, in the
            units of the data; see `depth`. Default: by quantiles, for each camera.

    Raises:
        RecipeError: A list of keys is empty, a key is empty, or an entry of `episodes` is neither a number nor a range,
            or the range of depth is none.

    >>> Selection(episodes=("7", "0-2")).indices(10)
    [7, 0, 1, 2]
    """

    state: tuple[str, ...] | None = None
    action: tuple[str, ...] | None = None
    cameras: tuple[str, ...] | None = None
    episodes: tuple[str, ...] | None = None
    filter_key: str | None = None
    task: str | None = None
    estimate: tuple[str, ...] | None = None
    depth_range: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        for name in ("state", "action", "episodes", "estimate"):
            given: Sequence[str] | None = getattr(self, name)
            if given is not None and (not given or not all(given)):
                raise RecipeError(
                    f"expected at least one key for {name}, got {shown(list(given))}. Omit it to read all."
                )
        for item in self.episodes or ():
            _range(item)
        if self.depth_range is not None:
            Depth.of(self.depth_range)

    @property
    def is_empty(self) -> bool:
        """Whether everything is read by the format's own names."""
        return all(getattr(self, field.name) is None for field in fields(self))

    @property
    def maps_keys(self) -> bool:
        """Whether it names the state or the action."""
        return self.state is not None or self.action is not None

    def indices(self, count: int) -> list[int]:
        """The chosen episodes of `count`, in the given order.

        Raises:
            RecipeError: An episode that the data lack, or one that is named more than once.
        """
        if self.episodes is None:
            return list(range(count))
        chosen = [number for item in self.episodes for number in _within(item, count)]
        seen = set[int]()
        for number in chosen:
            if number in seen:
                given = shown(" ".join(self.episodes))
                raise RecipeError(f"episodes: {number} is named more than once in {given}. Name each episode once.")
            seen.add(number)
        return chosen


def _range(item: str) -> range:
    match = RANGE.fullmatch(item)
    found = range(0)
    if match is not None:
        first, last = int(match[1]), int(match[3] or match[1])
        found = range(first, last if match[2] == ":" else last + 1)
    if not found:
        raise RecipeError(f"episodes: expected a number such as 7 or a range such as 0-9 or 0:10, got {shown(item)}.")
    return found


def _within(item: str, count: int) -> range:
    found = _range(item)
    if found[-1] >= count:
        raise RecipeError(f"episodes: {item} ends beyond the {count} episodes of the data, 0 to {count - 1}.")
    return found
