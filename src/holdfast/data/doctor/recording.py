"""A set as the checks look at it: named columns of numbers, and where each row belongs.

Nothing is copied that need not be: arrays are views of the set's own, and one column at a time becomes float64.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, cast

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from torch import Tensor

from ...seeding import stream
from ...types import Episodes

__all__ = ["Quantity", "Recording", "recording_of"]


@dataclass(frozen=True, kw_only=True)
class Quantity:
    """Named columns, one row a step.

    Attributes:
        name: `action`, `state`, `observation.state` or `observation.environment_state`.
        labels: What each column is called in a sentence.
        values: The numbers, in the set's own precision.
    """

    name: str
    labels: tuple[str, ...]
    values: Float[ndarray, "rows d"]

    def column(self, index: int) -> Float[ndarray, " rows"]:
        """One column in double precision."""
        return self.values[:, index].astype(np.float64)


@dataclass(frozen=True, kw_only=True)
class Recording:
    """Episodes laid end to end, as `types.Episodes`.

    Attributes:
        actions: What was done.
        states: What primitive controllers feed back.
        seen: What a policy sees, if that is not the state alone.
        lengths: Steps of each episode, at least 1.
        episodes: Number of each episode in the whole set.
    """

    actions: Quantity
    states: Quantity
    seen: tuple[Quantity, ...]
    lengths: Int[ndarray, " episodes"]
    episodes: Int[ndarray, " episodes"]

    @property
    def quantities(self) -> tuple[Quantity, ...]:
        """All of them, each once: action, state, and what else is seen."""
        known = {self.actions.name, self.states.name}
        return (self.actions, self.states, *(item for item in self.seen if item.name not in known))

    @property
    def moving(self) -> tuple[Quantity, ...]:
        """All but the actions."""
        return self.quantities[1:]

    @cached_property
    def starts(self) -> Int[ndarray, " episodes"]:
        """First row of each episode."""
        return np.cumsum(self.lengths) - self.lengths

    @cached_property
    def owner(self) -> Int[ndarray, " rows"]:
        """Which episode of this recording a row belongs to."""
        return np.repeat(np.arange(len(self.lengths)), self.lengths)

    def pairs(self, ahead: int = 1) -> Bool[ndarray, " pairs"]:
        """Whether row `r` and row `r + ahead` lie in one episode."""
        return self.owner[:-ahead] == self.owner[ahead:] if ahead < len(self.owner) else np.zeros(0, dtype=bool)

    def place(self, row: int) -> tuple[int, int]:
        """Episode (as the whole set counts) and step of a row."""
        inside = int(self.owner[row])
        return int(self.episodes[inside]), int(row - self.starts[inside])

    def say(self, row: int) -> str:
        """Where a row is, in words."""
        episode, step = self.place(row)
        return f"episode {episode}, step {step}"

    def observed(self, rows: Int[ndarray, " b"]) -> Float[ndarray, "b d"]:
        """What a policy sees at some rows, all coordinates side by side."""
        parts = [item.values[rows].astype(np.float64) for item in self.seen or (self.states,)]
        return np.concatenate(parts, axis=1)

    @property
    def observed_labels(self) -> tuple[str, ...]:
        """Names of the coordinates that a policy sees."""
        return tuple(label for item in self.seen or (self.states,) for label in item.labels)

    def sample(self, rows: int, *, seed_words: str) -> "Recording":
        """Whole episodes, drawn by a seed and in order, of about so many rows; all of them where there are fewer."""
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

        def cut(item: Quantity) -> Quantity:
            return replace(item, values=item.values[rows])

        return replace(
            self,
            actions=cut(self.actions),
            states=cut(self.states),
            seen=tuple(cut(item) for item in self.seen),
            lengths=lengths,
            episodes=self.episodes[chosen],
        )

    def without(self, columns: dict[str, Bool[ndarray, " d"]]) -> "Recording":
        """The same without some columns of some quantities (quantity → which to drop)."""

        def cut(item: Quantity) -> Quantity:
            drop = columns.get(item.name)
            if drop is None or not drop.any():
                return item
            labels = tuple(label for label, gone in zip(item.labels, drop, strict=True) if not gone)
            return replace(item, labels=labels, values=item.values[:, ~drop])

        return replace(
            self, actions=cut(self.actions), states=cut(self.states), seen=tuple(cut(item) for item in self.seen)
        )


def recording_of(episodes: Episodes) -> Recording:
    """Views of a set's arrays; episodes without steps are left out."""
    seen = episodes.observations
    kept = [] if seen is None else [_quantity(episodes, "observation.state", seen.state)]
    if seen is not None and _same(seen.state, episodes.states):
        kept = [_quantity(episodes, "state", episodes.states)]
    if seen is not None and seen.environment_state is not None and len(seen.environment_state) == len(seen.state):
        kept.append(_quantity(episodes, "observation.environment_state", seen.environment_state))
    lengths = _array(episodes.lengths)
    numbers = np.arange(len(lengths))
    return Recording(
        actions=_quantity(episodes, "action", episodes.actions),
        states=_quantity(episodes, "state", episodes.states),
        seen=tuple(kept),
        lengths=lengths[lengths > 0],
        episodes=numbers[lengths > 0],
    )


def _same(one: Tensor, other: Tensor) -> bool:
    # NaN equals nothing, itself included; a set that holds some is still the same as itself
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    return one.data_ptr() == other.data_ptr() or bool(((one == other) | (one.isnan() & other.isnan())).all())


def _quantity(episodes: Episodes, name: str, values: Tensor) -> Quantity:
    width = values.shape[1]
    given = episodes.names.get(name) or cast("Sequence[Any]", episodes.meta.get(f"{name}_names", ()))
    names = [f" {word}" for word in given] if len(given) == width else [f"[{index}]" for index in range(width)]
    return Quantity(name=name, labels=tuple(f"{_SPOKEN[name]}{word}" for word in names), values=_array(values))


_SPOKEN = {
    "action": "action",
    "state": "state",
    "observation.state": "observation",
    "observation.environment_state": "environment",
}


def _array(values: Tensor) -> Any:
    tensor = values.detach().cpu()
    return tensor.double().numpy() if tensor.dtype in (torch.bfloat16, torch.float16) else tensor.numpy()
