"""HDF5 files of demonstrations without a fixed layout: episodes in groups, in files, or end to end.

    FILE.hdf5     traj_0/ … or data/demo_0/ …: a group an episode, named by numbers, at most three groups deep
    FOLDER        episode_0.hdf5 …: a file an episode, as ALOHA and ACT record
    FILE.hdf5     actions, observations, terminals, timeouts: all steps end to end, as D4RL

Below the place of an episode, the action is `action` or `actions`, the state is what lies in `obs`, `observations` or
`observation`, or in `state` or `states`; of ALOHA's observations it is `qpos`, as in ACT (Zhao et al. 2023, arXiv
2304.13705). Arrays of T + 1 rows hold the observation after the last action. Pictures `[steps, height, width,
channels]`, or channels first, become cameras, other arrays columns; attributes become episode columns, `dt`, `system`
and `tasks` (`annotations`). A selection names other keys.
"""

import re
from pathlib import Path

from ....errors import DataError
from ....files import read_start
from ....types import Episodes
from ... import hdf5
from ...selection import Selection
from ..format import Format, whole
from .places import ACTIONS, groups_of, is_numbered, is_robomimic
from .reading import keyed_of

__all__ = ["FORMAT", "read_selected"]

SUFFIXES = (".hdf5", ".h5")


def read_selected(path: Path, selection: Selection) -> tuple[Episodes, Selection]:
    """Read the chosen arrays as state and action.

    Returns:
        The episodes, and the part of the selection that remains to be applied.
    """
    keyed = keyed_of(files_of(path), path, selection)
    return keyed.episodes(selection), keyed.left_of(selection)


def files_of(path: Path) -> list[Path]:
    """The files of a data set, `episode_10` after `episode_9`."""
    if not path.is_dir():
        return [path]
    found = [file for file in path.iterdir() if file.suffix.lower() in SUFFIXES and file.is_file()]
    return sorted(found, key=lambda file: hdf5.natural(file.name))


def _recognises(path: Path) -> bool:
    """Whether a path looks like HDF5 with such a layout; one that is refused is read, so that the reason is said."""
    try:
        return _is_sound(path)
    except DataError:
        return True


def _is_complete(path: Path) -> bool:
    try:
        return _is_sound(path)
    except DataError:
        return False


def _is_sound(path: Path) -> bool:
    """Whether a file is HDF5 with arrays that robomimic does not write, or a folder holds numbered files of arrays.

    Raises:
        DataError: The first file is HDF5, and is refused.
    """
    files = files_of(path)
    names = [file.stem for file in files]
    if not files or (path.is_dir() and not (is_numbered(names) and (len(files) > 1 or names[0].startswith("episode")))):
        return False
    try:
        if read_start(files[0], most=len(hdf5.MAGIC)) != hdf5.MAGIC:
            return False
        with hdf5.opened(files[0]) as opened:
            # states and actions are at least two arrays
            several = sum(not key.startswith("mask/") for key in hdf5.leaves(opened)) > 1
            return several and not is_robomimic(opened) and (path.is_file() or groups_of(opened, ACTIONS) == ["/"])
    except (OSError, TypeError, AttributeError):
        return False


FORMAT = Format(
    name="hdf5",
    example="an HDF5 file of episodes, or a folder of episode_*.hdf5",
    recognises=_recognises,
    read=whole(read_selected),
    write=None,
    entries=re.compile(r"[^/]+\.(hdf5|h5)", re.IGNORECASE),
    is_complete=_is_complete,
    read_selected=read_selected,
)
