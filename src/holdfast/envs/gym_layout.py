"""How the observations of a gymnasium environment become vectors and pictures.

    Box                                    → state
    Dict: agent_pos or state, others       → state; the others as environment_state
    Dict: observation, achieved_goal,      → these three in this order, then the others, as state
          desired_goal
    Dict: anything else                    → all as state
    uint8 boxes [height, width, channels]  → cameras

Other keys have the order of the space, as in data sets (`data.dictionaries`). Keys of dicts within dicts are joined by
dots.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from jaxtyping import Float64
from numpy import ndarray

from ..data.dictionaries import parts_of
from ..errors import RecipeError

ALONE = "observation"
"""Key of an observation that is not a dict."""


@dataclass(frozen=True)
class Layout:
    """Keys of the observation that make up each part, its cameras, and the number of values of each key."""

    state: tuple[str, ...]
    rest: tuple[str, ...]
    cameras: Mapping[str, str]
    widths: Mapping[str, int]

    def vector(self, observation: Any, keys: Sequence[str]) -> Float64[ndarray, " d"]:
        """Concatenated values of the given keys."""
        leaves = dict(_leaves(observation))
        parts = [np.asarray(leaves[key], dtype=np.float64).reshape(-1) for key in keys]
        return np.concatenate([np.empty(0), *parts])

    def pictures(self, observation: Any) -> dict[str, Any]:
        """Camera name → image."""
        leaves = dict(_leaves(observation)) if self.cameras else {}
        return {camera: np.asarray(leaves[key]) for camera, key in self.cameras.items()}

    @property
    def names(self) -> dict[str, tuple[str, ...]]:
        """Coordinate names, if the observation has more than one part."""
        if (self.state, self.rest) == ((ALONE,), ()):
            return {}
        named = {"observation.state": self._names(self.state)}
        return named | ({"observation.environment_state": self._names(self.rest)} if self.rest else {})

    def _names(self, keys: Sequence[str]) -> tuple[str, ...]:
        return tuple(
            key if self.widths[key] == 1 else f"{key}.{index}" for key in keys for index in range(self.widths[key])
        )


def layout_of(space: Any, *, images: bool, name: str) -> Layout:
    """How an observation space is read."""
    boxes = dict(_boxes(space, name))
    pictures = {key: key.removeprefix("pixels.") for key, box in boxes.items() if _is_picture(box)}
    widths = {key: math.prod(box.shape) for key, box in boxes.items() if key not in pictures}
    if not widths:
        raise RecipeError(
            f"{name} observes images only; a policy needs at least one number as its state. Choose a variant that also "
            "observes the robot's own readings, or wrap it in one that does."
        )
    state, rest = parts_of(list(widths))
    cameras = {camera: key for key, camera in pictures.items()} if images else {}
    return Layout(state=state, rest=rest, cameras=cameras, widths=widths)


def check_actions(space: Any, name: str) -> None:
    """Refuse actions other than vectors of real numbers."""
    if type(space).__name__ != "Box" or not np.issubdtype(space.dtype, np.floating):
        raise RecipeError(
            f"{name} takes actions in {space}; Holdfast's policies return real numbers, a Box of floats. "
            "Choose an environment with continuous actions."
        )


def _is_picture(box: Any) -> bool:
    return box.dtype == np.uint8 and len(box.shape) == 3 and box.shape[-1] in (1, 3, 4)


def _boxes(space: Any, name: str, path: str = "") -> Iterator[tuple[str, Any]]:
    """Each Box within a space, by its key.

    Spaces are recognised by class name, so that gymnasium is not imported here.
    """
    match type(space).__name__:
        case "Dict":
            for key, inner in cast("Mapping[str, Any]", space.spaces).items():
                yield from _boxes(inner, name, f"{path}.{key}" if path else key)
        case "Box":
            yield path or ALONE, space
        case _:
            raise RecipeError(
                f"{name} has {path or 'observations'} in {space}; observations must be boxes of numbers, or dicts of "
                "boxes. Wrap the environment in one that returns numbers."
            )


def _leaves(observation: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(observation, Mapping):
        for key, inner in cast("Mapping[str, Any]", observation).items():
            yield from _leaves(inner, f"{path}.{key}" if path else key)
    else:
        yield path or ALONE, observation
