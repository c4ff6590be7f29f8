"""Episodes to leave out, by number, range or value of an episode column."""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from ..errors import DataError
from ..types import Episodes

TRUE, FALSE = ("true", "yes"), ("false", "no")


def chosen_episodes(episodes: Episodes, dropped: Sequence[str]) -> Int[Tensor, " left"]:
    """Numbers of the episodes that none of the selections drops.

    Args:
        episodes: The data set.
        dropped: Numbers ("4"), ranges ("4-9", both included) or values of an episode column ("success=0").

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
    values = episodes.episode_columns[column]
    held = sorted({f"{float(one):g}" for one in values} if isinstance(values, Tensor) else {*values})
    more = f" and {len(held) - 8} more" if len(held) > 8 else ""
    return f"{column} is {', '.join(held[:8])}{more}. Choose one of these, or leave the selection out."


def _numbered(count: int, selection: str) -> Bool[Tensor, " episodes"]:
    first, _, last = selection.partition("-")
    if not _is_below(count, last or first) or not _is_below(count, first):
        raise DataError(
            f"drop_episodes {selection!r}: expected an episode from 0 to {count - 1}, a range such as 3-7, or a value "
            "of an episode column such as success=0."
        )
    numbers = torch.arange(count)
    return (numbers >= int(first)) & (numbers <= int(last or first))


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
