"""Work that was stopped and is continued with `--resume FOLDER`: the options that it shares, and those it refuses."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from ..errors import RecipeError


@dataclass(frozen=True, kw_only=True)
class ThreadsOption:
    """Option of verbs whose results depend on the number of threads."""

    threads: int | None = None
    """CPU threads. Results are bit-identical only for equal numbers of threads. Default: 1, or OMP_NUM_THREADS if set;
    with --resume as before."""


def check_resumed(
    options: Any, folder: Path, *, own: str, allowed: Sequence[str], positional: Mapping[str, str] | None = None
) -> None:
    """Refuse options that are given besides `--resume`, except those that continued work may change.

    Args:
        options: Options of the verb, a dataclass whose fields all have defaults.
        folder: Folder of the stopped work.
        own: What the work continues with, for the message.
        allowed: Fields that may be given besides.
        positional: Placeholder of each field that is no option.

    Raises:
        RecipeError: Others were given; the message names them.
    """
    if given := given_besides(options, {"resume", *allowed}, positional=positional):
        named = " and ".join(map(_option, allowed))
        raise RecipeError(f"--resume {folder} continues with {own}. Remove {given}. Only {named} may be given besides.")


def given_besides(options: Any, allowed: set[str], *, positional: Mapping[str, str] | None = None) -> str:
    """The given options other than these, for a message; empty if there are none.

    >>> given_besides(ThreadsOption(threads=2), set())
    '--threads'
    """
    places = {"data": "DATA"} if positional is None else positional
    given = [one.name for one in fields(options) if getattr(options, one.name) != one.default]
    return ", ".join(places.get(name) or _option(name) for name in given if name not in allowed)


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"
