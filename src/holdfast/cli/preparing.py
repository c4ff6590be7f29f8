"""Options that prepare demonstrations, such as `--drop-episodes`, `--shift-actions` and `--weights`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, TypeAlias

from ..data import Preparation
from ..schema import from_plain

Pause: TypeAlias = Literal["start", "middle", "end"]
"""Place of a pause in an episode."""


def preparation_changes(
    drop_episodes: Sequence[str] | None,
    drop_idle: Sequence[str] | None,
    shift_actions: int | None,
    weights: str | None,
    absolute_actions: bool = False,
) -> dict[str, Any]:
    """The options that were given, as fields of a stored `Preparation`; files of weights by their absolute path."""
    given = {
        "drop_episodes": None if drop_episodes is None else list(drop_episodes),
        "drop_idle": None if drop_idle is None else list(drop_idle),
        "shift_actions": shift_actions,
        "weights": str(Path(weights).resolve()) if weights and Path(weights).is_file() else weights,
        "absolute_actions": absolute_actions or None,
    }
    return {name: value for name, value in given.items() if value is not None}


def preparation_of(
    drop_episodes: Sequence[str] | None,
    drop_idle: Sequence[str] | None,
    shift_actions: int | None,
    weights: str | None,
    absolute_actions: bool = False,
) -> Preparation:
    """The preparation that options ask for."""
    return from_plain(
        Preparation, preparation_changes(drop_episodes, drop_idle, shift_actions, weights, absolute_actions)
    )
