"""Options that prepare demonstrations: `--drop-episodes`, `--drop-idle`, `--shift-actions` and `--weights`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, TypeAlias

from ..data import Preparation
from ..errors import RecipeError
from ..schema import from_plain

Pause: TypeAlias = Literal["start", "middle", "end"]
"""Place of a pause in an episode."""


def preparation_changes(
    drop_episodes: Sequence[str] | None,
    drop_idle: Sequence[str] | None,
    shift_actions: int | None,
    weights: str | None,
) -> dict[str, Any]:
    """The options that were given, as fields of a stored `Preparation`; files of weights by their absolute path.

    Raises:
        RecipeError: An option of several values was given without any.
    """
    given = {
        "drop_episodes": _some(drop_episodes, "--drop-episodes episodes to leave out, such as 3-7 or success=0"),
        "drop_idle": _some(drop_idle, "--drop-idle start, middle or end, or several of them"),
        "shift_actions": shift_actions,
        "weights": str(Path(weights).resolve()) if weights and Path(weights).is_file() else weights,
    }
    return {name: value for name, value in given.items() if value is not None}


def _some(values: Sequence[str] | None, expected: str) -> list[str] | None:
    if values is not None and not values:
        raise RecipeError(f"expected {expected}, got no value.")
    return None if values is None else list(values)


def preparation_of(
    drop_episodes: Sequence[str] | None,
    drop_idle: Sequence[str] | None,
    shift_actions: int | None,
    weights: str | None,
) -> Preparation:
    """The preparation that options ask for."""
    return from_plain(Preparation, preparation_changes(drop_episodes, drop_idle, shift_actions, weights))
