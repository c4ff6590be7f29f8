"""Episodes without steps, which a reader passes over, put back in their places, where the inspection names them."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from ...types import Episodes
from ..arrays import Values, arrays_of, by_episode, episodes_of


def with_unfilled(episodes: Episodes, filled: Sequence[int], count: int) -> Episodes:
    """All `count` episodes of a file, of which those that are not among `filled` have no steps.

    What is recorded once an episode is 0 or empty for these, because nothing reads it.

    >>> rows = torch.ones(3, 1)
    >>> read = Episodes(actions=rows, states=rows, lengths=torch.tensor([2, 1]))
    >>> with_unfilled(read, [0, 2], 3).lengths.tolist()
    [2, 0, 1]
    """
    if count == len(filled):
        return episodes
    places = torch.tensor(filled, dtype=torch.int64)

    def spread(values: Values) -> Values:
        if isinstance(values, Tensor):
            return values.new_zeros(count, *values.shape[1:]).index_copy(0, places, values)
        given = dict(zip(filled, values, strict=True))
        return tuple(given.get(number, "") for number in range(count))

    lengths = episodes.lengths.new_zeros(count).index_copy(0, places, episodes.lengths)
    found = {name: spread(values) for name, values in arrays_of(episodes).items() if by_episode(name)}
    again = episodes_of({**arrays_of(episodes), **found}, lengths)
    return replace(
        episodes,
        lengths=lengths,
        final_states=again.final_states,
        tasks=again.tasks,
        episode_columns=again.episode_columns,
    )
