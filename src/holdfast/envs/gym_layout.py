"""How the observations of a gymnasium environment become vectors and pictures.

    Box                                    → state
    Dict: agent_pos or state, others       → state; the others, sorted, as environment_state
    Dict: observation, achieved_goal,      → all three as state
          desired_goal
    Dict: anything else                    → all, sorted, as state
    uint8 boxes [height, width, channels]  → cameras

Keys of dicts within dicts are joined by dots.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from jaxtyping import Float64
from numpy import ndarray

from ..errors import RecipeError

__all__ = ["Layout", "check_actions", "layout_of"]

OWN = ("agent_pos", "state")
GOAL = ("observation", "achieved_goal", "desired_goal")
ALONE = "observation"
"""What an observation is called that is no dict."""


@dataclass(frozen=True)
class Layout:
    """Which parts of an observation go where.

    Attributes:
        state: Keys that make up `observation.state`, in order.
        rest: Keys that make up `observation.environment_state`.
        cameras: Camera name → key of its pictures.
        widths: Key → how many numbers it holds.
    """

    state: tuple[str, ...]
    rest: tuple[str, ...]
    cameras: Mapping[str, str]
    widths: Mapping[str, int]

    def vector(self, observation: Any, keys: Sequence[str]) -> Float64[ndarray, " d"]:
        """The numbers of the given keys, laid end to end."""
        leaves = dict(_leaves(observation))
        parts = [np.asarray(leaves[key], dtype=np.float64).reshape(-1) for key in keys]
        return np.concatenate([np.empty(0), *parts])

    def pictures(self, observation: Any) -> dict[str, Any]:
        """Camera name → picture."""
        leaves = dict(_leaves(observation)) if self.cameras else {}
        return {camera: np.asarray(leaves[key]) for camera, key in self.cameras.items()}

    @property
    def names(self) -> dict[str, tuple[str, ...]]:
        """What the coordinates are called, where the environment tells more than one part apart."""
        if (self.state, self.rest) == ((ALONE,), ()):
            return {}
        named = {"observation.state": self._names(self.state)}
        return named | ({"observation.environment_state": self._names(self.rest)} if self.rest else {})

    def _names(self, keys: Sequence[str]) -> tuple[str, ...]:
        return tuple(
            key if self.widths[key] == 1 else f"{key}.{index}" for key in keys for index in range(self.widths[key])
        )


def layout_of(space: Any, *, images: bool, name: str) -> Layout:
    """How an observation space is read.

    Args:
        space: A Box, or a Dict of such.
        images: Use pictures; otherwise they are left out.
        name: Of the environment, for errors.

    Raises:
        RecipeError: The space holds something else, or pictures alone.
    """
    boxes = dict(_boxes(space, name))
    pictures = {key: key.removeprefix("pixels.") for key, box in boxes.items() if _is_picture(box)}
    widths = {key: math.prod(box.shape) for key, box in boxes.items() if key not in pictures}
    if not widths:
        raise RecipeError(
            f"{name} shows pictures alone; a policy needs at least one number as its state. Choose a variant that "
            "shows the robot's own readings too, or wrap it in one that does."
        )
    state, rest = _parts(sorted(widths))
    cameras = {camera: key for key, camera in pictures.items()} if images else {}
    return Layout(state=state, rest=rest, cameras=cameras, widths=widths)


def check_actions(space: Any, name: str) -> None:
    """Refuse actions that are not vectors of real numbers.

    Raises:
        RecipeError: The action space is no Box of floats.
    """
    if type(space).__name__ != "Box" or not np.issubdtype(space.dtype, np.floating):
        raise RecipeError(
            f"{name} takes actions of {space}; a policy here gives real numbers: a Box of floats. "
            "Choose an environment of continuous actions."
        )


def _parts(keys: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    own = tuple(key for key in OWN if key in keys)
    if own:
        return own, tuple(key for key in keys if key not in own)
    if set(GOAL) <= set(keys):
        return GOAL, tuple(key for key in keys if key not in GOAL)
    return tuple(keys), ()


def _is_picture(box: Any) -> bool:
    return box.dtype == np.uint8 and len(box.shape) == 3 and box.shape[-1] in (1, 3, 4)


def _boxes(space: Any, name: str, path: str = "") -> Iterator[tuple[str, Any]]:
    """Each Box within a space, by its key. Spaces are told apart by name, so that gymnasium is not imported here."""
    match type(space).__name__:
        case "Dict":
            for key, inner in cast("Mapping[str, Any]", space.spaces).items():
                yield from _boxes(inner, name, f"{path}.{key}" if path else key)
        case "Box":
            yield path or ALONE, space
        case _:
            raise RecipeError(
                f"{name} shows {path or 'observations'} as {space}; observations here are boxes of numbers, or dicts "
                "of such. Wrap the environment in one that shows numbers."
            )


def _leaves(observation: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(observation, Mapping):
        for key, inner in cast("Mapping[str, Any]", observation).items():
            yield from _leaves(inner, f"{path}.{key}" if path else key)
    else:
        yield path or ALONE, observation
