"""Labelled segments of demonstrations: a column with the skill of each control step.

    row      0  1  2  3  4  5  6  7        an episode of 5 rows, and one of 3
    skill    0  0  1  1  1 │0  1  1
    end      0  1  0  0  1 │1  0  1        last row of each segment

A column holds whole numbers; `meta["labels"]["skill"]` may list their names, else the numbers are the names.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from ..errors import DataError, UnknownNameError
from ..types import Episodes
from .arrays import arrays_of, by_episode, episodes_of
from .pictures import Chosen

LABELS = "labels"
MOST = 1000
"""Largest number of different labels."""


def labels_of(episodes: Episodes, column: str) -> tuple[Int[Tensor, " rows"], tuple[str, ...]]:
    """The label of each row as its position among the names, and the names.

    Args:
        episodes: The demonstrations.
        column: Name of the column with the labels.

    Raises:
        DataError: There is no such column, or it does not hold one whole number per row that has a name.
    """
    if column not in episodes.columns:
        known = ", ".join(episodes.columns) or "none"
        raise DataError(
            f"the data have no column {column!r:.80} with the label of each control step. Known: {known}. Columns are "
            "arrays with one value per row; see `holdfast inspect`."
        )
    values = episodes.columns[column]
    if values.dim() != 1 or not bool((values.double() == values.double().round()).all()):
        raise DataError(
            f"expected one whole number per row in the column {column} of labels, got {values.dtype} of shape "
            f"{list(values.shape)}."
        )
    numbers = values.long()
    names = _names(episodes.meta, column)
    if names is None:
        distinct = cast(Tensor, cast(Any, torch).unique(numbers))
        if len(distinct) > MOST:
            raise DataError(
                f"the column {column} holds {len(distinct)} different numbers, expected the labels of at most {MOST} "
                "skills."
            )
        return torch.searchsorted(distinct, numbers), tuple(str(int(number)) for number in distinct)
    if len(numbers) and not 0 <= int(numbers.min()) <= int(numbers.max()) < len(names):
        raise DataError(
            f"the column {column} holds labels from {int(numbers.min())} to {int(numbers.max())}, but there are "
            f"{len(names)} names of labels: {', '.join(names)}. Give each label a name, or remove the names."
        )
    return numbers, names


def ends_of(episodes: Episodes, labels: Int[Tensor, " rows"]) -> Bool[Tensor, " rows"]:
    """Last row of each segment: the next row has another label, or belongs to another episode.

    >>> rows = torch.zeros(4, 1)
    >>> ends_of(Episodes(actions=rows, states=rows, lengths=torch.tensor([3, 1])), torch.tensor([0, 0, 1, 1])).tolist()
    [False, True, True, True]
    """
    changes = torch.ones_like(labels, dtype=torch.bool)
    changes[:-1] = labels[1:] != labels[:-1]
    changes[episodes.starts + episodes.lengths - 1] = True
    return changes


def segments(episodes: Episodes, column: str, name: str) -> Episodes:
    """The segments with a label as episodes of their own; columns of episodes are those of the episode they are from.

    Raises:
        DataError: There is no such column, or no row with the label.
        UnknownNameError: No such label.

    >>> rows = torch.arange(5.0).unsqueeze(-1)
    >>> told = {"skill": torch.tensor([0, 1, 1, 0, 0])}
    >>> made = Episodes(actions=rows, states=rows, lengths=torch.tensor([4, 1]), columns=told)
    >>> cut = segments(made, "skill", "0")
    >>> cut.states.flatten().tolist(), cut.lengths.tolist()
    ([0.0, 3.0, 4.0], [1, 1, 1])
    """
    labels, names = labels_of(episodes, column)
    if name not in names:
        raise UnknownNameError(f"label of the column {column}", name, names)
    chosen = labels == names.index(name)
    if not bool(chosen.any()):
        raise DataError(f"no row has the label {name} in the column {column}. Choose another label.")
    last = (ends_of(episodes, labels) & chosen).nonzero().flatten()
    rows = chosen.nonzero().flatten()
    # segments in order: each ends where the next one can begin
    lengths = torch.diff(torch.searchsorted(rows, last) + 1, prepend=torch.zeros(1, dtype=torch.int64))
    owner = torch.arange(len(episodes)).repeat_interleave(episodes.lengths)[last]
    return replace(_cut(episodes, rows, owner, lengths), final_states=_final_states(episodes, last, owner))


def _cut(episodes: Episodes, rows: Tensor, owner: Tensor, lengths: Tensor) -> Episodes:
    def picked(name: str, values: Tensor | tuple[str, ...]) -> Tensor | tuple[str, ...]:
        chosen = owner if by_episode(name) else rows
        return values[chosen] if isinstance(values, Tensor) else tuple(values[int(index)] for index in chosen)

    return episodes_of(
        {name: picked(name, values) for name, values in arrays_of(episodes).items()},
        lengths,
        cameras={camera: Chosen(pictures, rows) for camera, pictures in episodes.cameras.items()},
        names=episodes.names,
        dt=episodes.dt,
        system=episodes.system,
        meta=episodes.meta,
    )


def _final_states(episodes: Episodes, last: Tensor, owner: Tensor) -> Tensor | None:
    """The state after the last row of each segment: that of the next row, or the recorded final state."""
    if episodes.final_states is None:
        return None
    follows = (last + 1).clamp(max=len(episodes.states) - 1)
    ended = last == (episodes.starts + episodes.lengths - 1)[owner]
    return torch.where(ended[:, None], episodes.final_states[owner], episodes.states[follows])


def _names(meta: Mapping[str, Any], column: str) -> tuple[str, ...] | None:
    named = meta.get(LABELS)
    if not isinstance(named, Mapping):
        return None
    given = cast("Mapping[str, Any]", named).get(column)
    if not isinstance(given, (list, tuple)) or not all(isinstance(name, str) for name in cast("list[Any]", given)):
        return None
    return tuple(cast("list[str]", given))
