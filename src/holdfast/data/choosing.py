"""Episodes to leave out, by number, range or value of an episode column."""

import shlex
from collections.abc import Iterable, Sequence

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from ..errors import DataError
from ..types import Episodes
from .differing import listed_numbers

STEPS = "steps"
"""Name that stands for the number of steps of an episode, where no episode column has it."""
TRUE, FALSE = ("true", "yes"), ("false", "no")


def chosen_episodes(episodes: Episodes, dropped: Sequence[str]) -> Int[Tensor, " left"]:
    """Numbers of the episodes that none of the selections drops.

    Args:
        episodes: The data set.
        dropped: Numbers ("4"), ranges ("4-9", both included; "4-" to the last episode), values of an episode column
            ("success=0") or numbers of steps ("steps=0-9").

    Raises:
        DataError: A selection names no episode or column of the set, or a value that no episode has, or nothing is
            left.

    >>> rows = torch.zeros(3, 1)
    >>> told = {"success": torch.tensor([1, 0, 1])}
    >>> made = Episodes(actions=rows, states=rows, lengths=torch.tensor([1, 1, 1]), episode_columns=told)
    >>> chosen_episodes(made, ["success=0", "2"]).tolist()
    [0]
    """
    gone = torch.zeros(len(episodes), dtype=torch.bool)
    for selection in dropped:
        column, sign, value = selection.partition("=")
        if sign and column == STEPS and column not in episodes.episode_columns:
            found = _of_length(episodes, value)
        else:
            found = _with_value(episodes, column, value) if sign else _numbered(len(episodes), selection)
        if not found.any():
            raise DataError(f"drop_episodes {selection}: no episode has this value. {_values_of(episodes, column)}")
        gone |= found
    left = (~gone).nonzero().flatten()
    if not len(left):
        raise DataError(f"drop_episodes {' '.join(dropped)} drops all {len(episodes)} episodes. Keep at least one.")
    return left


def _values_of(episodes: Episodes, column: str) -> str:
    """What an episode column holds, and the way out."""
    values = episodes.episode_columns.get(column, episodes.lengths)
    held = sorted({f"{float(one):g}" for one in values} if isinstance(values, Tensor) else {*values})
    more = f" and {len(held) - 8} more" if len(held) > 8 else ""
    return f"{column} is {', '.join(held[:8])}{more}. Choose one of these, or leave the selection out."


def _numbered(count: int, selection: str) -> Bool[Tensor, " episodes"]:
    first, sign, last = selection.partition("-")
    last = str(count - 1) if sign and not last else last
    if not _is_below(count, last or first) or not _is_below(count, first):
        raise DataError(
            f"drop_episodes {selection!r}: expected an episode from 0 to {count - 1}, a range such as 3-7, or a value "
            "of an episode column such as success=0."
        )
    numbers = torch.arange(count)
    return (numbers >= int(first)) & (numbers <= int(last or first))


def _of_length(episodes: Episodes, value: str) -> Bool[Tensor, " episodes"]:
    """The episodes with a number of steps, or with one in a range."""
    first, _, last = value.partition("-")
    if not all(text.isdecimal() and len(text) < 10 for text in (first, last or first)):
        raise DataError(f"drop_episodes {STEPS}={value}: expected a number of steps or a range such as {STEPS}=0-9.")
    return (episodes.lengths >= int(first)) & (episodes.lengths <= int(last or first))


def dropping(numbers: Iterable[int]) -> str:
    """The option that leaves out some episodes.

    >>> dropping([7, 0, 1, 2])
    '--drop-episodes 0-2 7'
    """
    return f"--drop-episodes {listed_numbers(list(numbers), apart=' ')}"


def dropping_values(column: str, *values: str) -> str:
    """The option that leaves out the episodes with some values of a column, as it is typed in a shell.

    >>> dropping_values("operator", "Ann B.", "2")
    "--drop-episodes 'operator=Ann B.' operator=2"
    """
    return f"--drop-episodes {shlex.join(f'{column}={value}' for value in values)}"


def _is_below(count: int, text: str) -> bool:
    """Whether a text is a whole number below another; Python reads no number of more than 4,300 digits."""
    return text.isdecimal() and len(text) < 20 and int(text) < count


def _with_value(episodes: Episodes, column: str, value: str) -> Bool[Tensor, " episodes"]:
    values = episodes.episode_columns.get(column)
    if values is None:
        known = ", ".join(episodes.episode_columns) or "none"
        raise DataError(f"drop_episodes {column}={value}: there is no episode column {column}. Known: {known}.")
    if not isinstance(values, Tensor):
        return torch.tensor([text == value for text in values])
    word = value.lower()
    try:
        number = 1.0 if word in TRUE else 0.0 if word in FALSE else float(value)
    except ValueError:
        raise DataError(f"drop_episodes {column}={value}: the column holds numbers. Give a number.") from None
    return values.double() == number
