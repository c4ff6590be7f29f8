"""A data set as the checks use it: named coordinates, and the episode of each row.

Arrays are views of the data set's own; one coordinate at a time is converted to float64.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, cast

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Shaped
from numpy import ndarray
from torch import Tensor

from ...seeding import stream
from ...types import Episodes


@dataclass(frozen=True, kw_only=True)
class Quantity:
    """Named coordinates, one row a step.

    Attributes:
        labels: Name of each coordinate in sentences.
    """

    name: str
    labels: tuple[str, ...]
    values: Float[ndarray, "rows d"]

    def column(self, index: int) -> Float[ndarray, " rows"]:
        """One coordinate in double precision."""
        return self.values[:, index].astype(np.float64)


@dataclass(frozen=True, kw_only=True)
class Recording:
    """Concatenated episodes, as in `types.Episodes`.

    Attributes:
        seen: Observations of the policy.
        episodes: Index of each episode in the whole data set.
    """

    actions: Quantity
    states: Quantity
    seen: tuple[Quantity, ...]
    lengths: Int[ndarray, " episodes"]
    episodes: Int[ndarray, " episodes"]

    @property
    def quantities(self) -> tuple[Quantity, ...]:
        """All quantities, each once: action, state and further observations."""
        known = {self.actions.name, self.states.name}
        return (self.actions, self.states, *(item for item in self.seen if item.name not in known))

    def column(self, label: str) -> Float[ndarray, " rows"]:
        """One coordinate by its label, in double precision."""
        item = next(item for item in self.quantities if label in item.labels)
        return item.column(item.labels.index(label))

    @cached_property
    def starts(self) -> Int[ndarray, " episodes"]:
        """First row of each episode."""
        return np.cumsum(self.lengths) - self.lengths

    @cached_property
    def owner(self) -> Int[ndarray, " rows"]:
        """Episode of this recording that each row belongs to."""
        return np.repeat(np.arange(len(self.lengths)), self.lengths)

    def pairs(self, ahead: int = 1) -> Bool[ndarray, " pairs"]:
        """Whether row `r` and row `r + ahead` belong to one episode."""
        return self.owner[:-ahead] == self.owner[ahead:] if ahead < len(self.owner) else np.zeros(0, dtype=bool)

    def place(self, row: int | np.int64) -> tuple[int, int]:
        """Episode (index in the whole data set) and step of a row."""
        inside = int(self.owner[row])
        return int(self.episodes[inside]), int(row - self.starts[inside])

    def by_episode(self, values: Shaped[ndarray, "rows *d"]) -> list[ndarray]:
        """The rows of each episode."""
        return np.split(values, self.starts[1:])

    def places(self, rows: Int[ndarray, " k"]) -> list[tuple[int, int]]:
        """Episode and step of each row."""
        return [self.place(row) for row in rows]

    def where(self, row: int | np.int64) -> str:
        """Episode and step of a row as text."""
        episode, step = self.place(row)
        return f"episode {episode}, step {step}"

    def observed(self, rows: Int[ndarray, " b"]) -> Float[ndarray, "b d"]:
        """Observations of the policy at the given rows, all coordinates concatenated."""
        return np.concatenate([item.values[rows].astype(np.float64) for item in self.seen], axis=1)

    @property
    def observed_labels(self) -> tuple[str, ...]:
        """Names of the coordinates that a policy observes."""
        return tuple(label for item in self.seen for label in item.labels)

    def sample(self, rows: int, *, seed_words: str) -> "Recording":
        """Random whole episodes, in order, with about the given number of rows; all if there are fewer."""
        if int(self.lengths.sum()) <= rows:
            return self
        order = torch.randperm(len(self.lengths), generator=stream(0, "doctor", seed_words)).numpy()
        enough = int(np.searchsorted(np.cumsum(self.lengths[order]), rows)) + 1
        return self.choose(np.sort(order[:enough]), longest=rows)

    def choose(self, chosen: Int[ndarray, " chosen"], *, longest: int | None = None) -> "Recording":
        """Some of the episodes, each no longer than `longest`."""
        lengths = self.lengths[chosen] if longest is None else np.minimum(self.lengths[chosen], longest)
        firsts = self.starts[chosen] - (np.cumsum(lengths) - lengths)
        rows = np.repeat(firsts, lengths) + np.arange(int(lengths.sum()))
        cut = self._map(lambda item: replace(item, values=item.values[rows]))
        return replace(cut, lengths=lengths, episodes=self.episodes[chosen])

    def leave_out(self, episodes: Bool[ndarray, " episodes"], *, fewest: int = 2) -> "Recording":
        """The recording without some episodes; all of it if fewer than the given number would be left."""
        left = np.flatnonzero(~episodes)
        return self if len(left) < min(fewest, len(episodes)) or not episodes.any() else self.choose(left)

    def cut(self, lengths: Int[ndarray, " episodes"]) -> "Recording":
        """The first rows of each episode; episodes without a row are left out."""
        if (lengths == self.lengths).all():
            return self
        kept = np.arange(len(self.owner)) - self.starts[self.owner] < lengths[self.owner]
        shorter = self._map(lambda item: replace(item, values=item.values[kept]))
        return replace(shorter, lengths=lengths[lengths > 0], episodes=self.episodes[lengths > 0])

    def without(self, columns: dict[str, Bool[ndarray, " d"]]) -> "Recording":
        """The recording without some coordinates of some quantities (quantity → which to drop)."""

        def cut(item: Quantity) -> Quantity:
            drop = columns.get(item.name)
            if drop is None or not drop.any():
                return item
            labels = tuple(label for label, gone in zip(item.labels, drop, strict=True) if not gone)
            return replace(item, labels=labels, values=item.values[:, ~drop])

        return self._map(cut)

    def _map(self, function: Callable[[Quantity], Quantity]) -> "Recording":
        return replace(
            self,
            actions=function(self.actions),
            states=function(self.states),
            seen=tuple(function(item) for item in self.seen),
        )


def recording_of(episodes: Episodes) -> Recording:
    """Views of a data set's arrays; episodes without steps are omitted."""
    seen = episodes.observed
    own = "state" if _same(seen.state, episodes.states) else "observation.state"
    found = [_quantity(episodes, own, seen.state)]
    if seen.environment_state is not None and len(seen.environment_state) == len(seen.state):
        found.append(_quantity(episodes, "observation.environment_state", seen.environment_state))
    lengths = _array(episodes.lengths)
    numbers = np.arange(len(lengths))
    return Recording(
        actions=_quantity(episodes, "action", episodes.actions),
        states=_quantity(episodes, "state", episodes.states),
        seen=tuple(found),
        lengths=lengths[lengths > 0],
        episodes=numbers[lengths > 0],
    )


def _same(one: Tensor, other: Tensor) -> bool:
    # NaN differs from itself, but an array that contains NaN is still the same array
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    return one.data_ptr() == other.data_ptr() or bool(((one == other) | (one.isnan() & other.isnan())).all())


def _quantity(episodes: Episodes, name: str, values: Tensor) -> Quantity:
    width = values.shape[1]
    given = episodes.names.get(name) or cast("Sequence[Any]", episodes.meta.get(f"{name}_names", ()))
    names = [f" {word}" for word in given] if len(given) == width else [f"[{index}]" for index in range(width)]
    return Quantity(name=name, labels=tuple(f"{_NOUNS[name]}{word}" for word in names), values=_array(values))


_NOUNS = {
    "action": "action",
    "state": "state",
    "observation.state": "observation",
    "observation.environment_state": "environment",
}


def _array(values: Tensor) -> Any:
    tensor = values.detach().cpu()
    return tensor.double().numpy() if tensor.dtype in (torch.bfloat16, torch.float16) else tensor.numpy()
