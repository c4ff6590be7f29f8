"""Options that choose what is read from a data set, and the lines on what is left aside."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from ..data import Selection, Unseen, read
from ..errors import DataError, RunError
from ..recipe import Recipe
from ..schema import from_plain
from ..types import Episodes
from .console import console

KEYS = "KEY [KEY ...]"


@dataclass(frozen=True, kw_only=True)
class ReadingOptions:
    """Keys and episodes to read, for every format."""

    state: Annotated[tuple[str, ...] | None, tyro.conf.arg(metavar=KEYS)] = None
    """Keys whose values, side by side in this order, are the state that the policy observes: names of arrays, features
    or coordinates as `holdfast inspect` lists them; the last part of a path suffices, and patterns such as "obs/*" are
    allowed. Default: the usual names of the format."""
    action: Annotated[tuple[str, ...] | None, tyro.conf.arg(metavar=KEYS)] = None
    """Keys whose values, side by side in this order, are the action. Default: the usual names of the format."""
    camera: Annotated[tuple[str, ...] | None, tyro.conf.arg(metavar="NAME [NAME ...]")] = None
    """Cameras to read. A policy sees those that `holdfast train --images` names. Default: all."""
    episodes: Annotated[tuple[str, ...] | None, tyro.conf.arg(metavar="N|N-M [N|N-M ...]")] = None
    """Episodes to read: numbers from 0, and ranges such as 0-49 (with 49) or 0:50 (without 50). Default: all."""
    filter_key: Annotated[str | None, tyro.conf.arg(metavar="KEY")] = None
    """List of episodes to read: a filter key of robomimic such as train, a split of LeRobot, or a quantity with one
    flag per episode such as success. Default: all episodes."""
    task: Annotated[str | None, tyro.conf.arg(metavar="TEXT")] = None
    """Instruction of the episodes to read. Default: all instructions."""

    depth_range: Annotated[tuple[float, float] | None, tyro.conf.arg(metavar="NEAR FAR")] = None
    """Nearest and farthest measurement of depth cameras and other pictures of more than 8 bits, in the units of the
    data: they become the bytes 1 and 255, and 0 stands for no measurement. Default: the 0.1 % and 99.9 % quantiles of
    each camera, rounded outward to two digits."""

    def selection_changes(self) -> dict[str, Any]:
        """The options that were given, as fields of a stored `Selection`."""
        given = {
            "state": self.state,
            "action": self.action,
            "cameras": self.camera,
            "episodes": self.episodes,
            "filter_key": self.filter_key,
            "task": self.task,
            "depth_range": self.depth_range,
        }
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in given.items()
            if value is not None
        }

    def selection(self) -> Selection:
        """What the options choose."""
        return from_plain(Selection, self.selection_changes())


def demonstrations_of(recipe: Recipe, run_folder: Path, *, purpose: str, otherwise: str) -> Episodes:
    """The demonstrations of a run, read as for its training.

    Args:
        recipe: Recipe of the run.
        run_folder: Its folder, for messages.
        purpose: What they are read for.
        otherwise: What can be done without them.

    Raises:
        RunError: The run names no data.
        DataError: The data can no longer be read.
    """
    if not recipe.data:
        way_out = otherwise[0].upper() + otherwise[1:]
        raise RunError(f"{run_folder} was trained on arrays, not on stored data, which {purpose} needs. {way_out}.")
    try:
        return read(
            Path(recipe.data),
            selection=recipe.selection,
            dropped=recipe.preparation.drop_episodes,
            download=False,
        )
    except DataError as error:
        raise DataError(
            f"{error} (the demonstrations of {run_folder}, for {purpose}) Put them back there, or {otherwise}."
        ) from error


def say_unseen(episodes: Episodes, *, seen: Sequence[str] = (), instructed: bool = False) -> None:
    """Print what training leaves aside of a data set, one line each.

    Args:
        episodes: The data set.
        seen: Cameras that the policy sees.
        instructed: Whether the policy follows the instructions.
    """
    for sentence in Unseen.of(episodes, seen=seen, instructed=instructed).sentences():
        console.say(sentence)
