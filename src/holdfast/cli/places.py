"""Outputs apart from inputs: no verb writes into, over or around what it reads."""

import os
from pathlib import Path

from ..atomic import resolved
from ..errors import OutputError


def check_apart(
    out: Path | None,
    *inputs: Path | str | None,
    option: str = "--out",
    within: bool = False,
    planned: bool = False,
) -> None:
    """Refuse an output that is an input, holds one, or lies in one.

    Args:
        out: File or folder to write; `None` where the verb chooses it.
        inputs: Files and folders to read; `None` and those that do not exist are skipped: to read them fails anyway.
        option: Name of the output's option, for the message.
        within: Whether the output may lie in an input, as an evaluation in its run folder.
        planned: Whether the inputs are further outputs, which need not exist.

    Raises:
        OutputError: They are not apart.
    """
    for place in inputs:
        if out is None or place is None or not (planned or os.path.lexists(place)):
            continue
        written, read = Path(os.path.realpath(out)), Path(os.path.realpath(place))
        if written == read or written in read.parents or (read in written.parents and not within):
            raise OutputError(f"{out} and {place} are the same or contain one another. Choose another {option}.")


def default_folder(parent: Path, name: str) -> Path:
    """Folder for results where no --out is given; what it holds is replaced without a question.

    Raises:
        OutputError: It is a symbolic link to another place, whose content nobody has named.
    """
    place = parent / name
    if place.is_symlink() and not resolved(place).is_relative_to(resolved(parent)):
        raise OutputError(
            f"{place} is a symbolic link to another place. To write there, give it as --out {place}; otherwise "
            "remove the link."
        )
    return place
