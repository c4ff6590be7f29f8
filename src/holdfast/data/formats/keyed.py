"""Data sets as arrays by key, for files without a fixed layout: which of them are the state and the action.

keys of the file ──► those of a selection, else those with usual names ──► state, action
└─► all others: columns, or named as not read
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Int
from numpy import ndarray
from numpy.typing import NDArray
from torch import Tensor

from ...errors import DataError
from ...types import Episodes, Pictures
from ..arrays import Values
from ..differing import Differing
from ..selection import Selection
from .annotations import INSTRUCTIONS
from .clocks import in_seconds
from .keys import both_named, coordinate_names, listing, resolve, shortened
from .stored import NOTHING, as_columns, as_episode_columns, assemble, to_rows

WIDEST = 1 << 12
"""Numbers of a row that are a vector, and no picture."""


@dataclass(frozen=True)
class Entry:
    """One array with a row a step, not read yet.

    Attributes:
        shape: Shape of a row.
        dtype: Dtype of the numbers.
        ahead: Whether an episode has one row more than actions: the observation after the last action.
        names: Names of the coordinates, if stored.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    ahead: bool = False
    names: tuple[str, ...] | None = None

    @property
    def width(self) -> int:
        """Numbers a row."""
        return math.prod(self.shape)

    @property
    def is_vector(self) -> bool:
        """Whether a row can be a state, an action or a part of them."""
        return self.dtype.kind in "fiub" and self.dtype.itemsize <= 8 and 0 < self.width <= WIDEST


@dataclass(frozen=True)
class Loaded:
    """Rows of an array, `[rows, …]`, and the rows after the last actions, `[episodes, …]`, where there are any."""

    rows: NDArray[Any]
    final: NDArray[Any] | None = None


@dataclass(frozen=True, kw_only=True)
class Keyed:
    """A data set by key.

    Attributes:
        source: Its path, for messages.
        entries: Arrays with a row a step, by key.
        load: Reads arrays after checking their sizes.
        action: Keys of the action by their usual names; empty where none has one.
        state: Keys of the state by their usual names; empty where none has one.
        roles: Keys of `rewards` and `timestamps`.
        used: Keys that were used otherwise, as the ends of episodes.
        by_episode: Values with one entry an episode.
        measured: Pictures of measurements by key; those that are chosen as state or action are no cameras.
        left_out: Names of what cannot be read.
        notes: Sentences on what names and shapes left open.
        chosen: Numbers of the episodes in the file, if the choice of episodes was applied; `None` if it was not.
        faults: Arrays that are not the same in all episodes; reading one as state or action is refused.
        unfit: Why an array can be neither state nor action, a sentence by key.
        suited: Sentence on a choice that the format's names made, for the notes; empty if there is none.
        hint: Sentence on the names, for the message that none is usual; empty if there is none.
    """

    source: str
    lengths: Int[ndarray, " episodes"]
    entries: Mapping[str, Entry]
    load: Callable[[Sequence[str]], Mapping[str, Loaded]]
    action: Sequence[str] = ()
    state: Sequence[str] = ()
    roles: Mapping[str, str] = field(default_factory=lambda: dict[str, str]())
    used: Sequence[str] = ()
    by_episode: Mapping[str, Sequence[Any]] = field(default_factory=lambda: dict[str, Sequence[Any]]())
    cameras: Mapping[str, Pictures] = field(default_factory=lambda: dict[str, Pictures]())
    measured: Mapping[str, Pictures] = field(default_factory=lambda: dict[str, Pictures]())
    tasks: Sequence[str] | None = None
    dt: float | None = None
    system: str | None = None
    meta: Mapping[str, Any] = field(default_factory=lambda: dict[str, Any]())
    left_out: Sequence[str] = ()
    notes: Sequence[str] = ()
    suited: str = ""
    hint: str = ""
    chosen: Sequence[int] | None = None
    faults: Mapping[str, Differing] = field(default_factory=lambda: dict[str, Differing]())
    unfit: Mapping[str, str] = field(default_factory=lambda: dict[str, str]())

    def left_of(self, selection: Selection) -> Selection:
        """The part of a selection that remains to be applied to the episodes."""
        rest = replace(selection, state=None, action=None)
        return rest if self.chosen is None else replace(rest, episodes=None)

    def keys_for(self, quantity: str, wanted: Sequence[str] | None) -> list[str]:
        """The keys of the state or the action.

        Raises:
            DataError: Names are not enough, and nothing was chosen; or a key is not the same in all episodes.
            UnknownNameError: A chosen key does not exist.
        """
        chosen = self._keys_for(quantity, wanted)
        if fault := next((self.faults[key] for key in chosen if key in self.faults), None):
            raise DataError(f"{self.source}: {fault.sentence} Or choose other arrays for the {quantity}: --{quantity}.")
        return chosen

    def _check_usual(self, selection: Selection) -> None:
        """Refuse a data set in which neither state nor action is chosen or has a usual name, and name both options."""
        if selection.state is None and selection.action is None and not self.state and not self.action:
            vectors = [key for key, entry in self.entries.items() if entry.is_vector]
            raise DataError(
                f"{self.source}: no array is named as states usually are, and none as actions. It holds "
                f"{listing(vectors)}. Name both: --state KEY [KEY ...] --action KEY [KEY ...].{self._unnamed}"
            )

    @property
    def _unnamed(self) -> str:
        """What explains that nothing has a usual name."""
        hint = f" {self.hint[0].upper()}{self.hint[1:]}" if self.hint else ""
        return hint + (f" These are no rows of numbers a step: {listing(self.left_out, 8)}." if self.left_out else "")

    def _keys_for(self, quantity: str, wanted: Sequence[str] | None) -> list[str]:
        vectors = [key for key, entry in self.entries.items() if entry.is_vector]
        if wanted is not None:
            chosen = resolve(wanted, [*vectors, *self.unfit], quantity)
            self._refuse_unfit(chosen, quantity)
            return chosen
        usual = self.action if quantity == "action" else self.state
        if not usual:
            raise DataError(
                f"{self.source}: no array is named as {quantity}s usually are. It holds {listing(vectors)}. Name those "
                f"that are the {quantity}: --{quantity} KEY [KEY ...].{self._unnamed}"
            )
        self._refuse_unfit(usual, quantity)
        return list(usual)

    def _refuse_unfit(self, keys: Sequence[str], quantity: str) -> None:
        if reason := next((self.unfit[key] for key in keys if key in self.unfit), None):
            raise DataError(
                f"{self.source}: {reason} Write it again so, or choose other arrays for the {quantity}: --{quantity}."
            )

    def episodes(self, selection: Selection) -> Episodes:
        """The episodes, with the state and the action of a selection; its other parts are not applied here."""
        self._check_usual(selection)
        state, action = (self.keys_for(name, getattr(selection, name)) for name in ("state", "action"))
        roles = {role: key for role, key in self.roles.items() if key not in (*state, *action)}
        chosen = list(dict.fromkeys([*state, *action, *roles.values()]))
        loaded = self.load(chosen)
        names = {quantity: self._names(keys) for quantity, keys in (("state", state), ("action", action))}
        found: dict[str, Values] = {
            "states": self._beside(loaded, state),
            "actions": self._beside(loaded, action),
            **{role: self._rows(loaded[key].rows, key)[:, 0] for role, key in roles.items()},
        }
        said = self._timed(found, roles)
        if all(loaded[key].final is not None for key in state):
            found["final_states"] = torch.cat([self._rows(loaded[key].final, key) for key in state], dim=1)
        columns, rest = self._columns({*chosen, *self.used})
        values, unfit = as_episode_columns(self.by_episode, len(self.lengths))
        # what was read as the instruction is not lost
        unfit = [name for name in unfit if self.tasks is None or name.lower() not in INSTRUCTIONS]
        meta = {**self.meta} | {
            note: list(sentences)
            for note, sentences in {
                "features_left_out": sorted({*self.left_out, *rest, *unfit}),
                "reading_notes": [*self.notes, *said, *self._notes(selection, state, action)],
            }.items()
            if sentences
        }
        description = {**NOTHING, "system": self.system, "dt": self.dt, "names": names, "meta": meta}
        description["tasks"] = None if self.tasks is None else list(self.tasks)
        lengths = torch.as_tensor(self.lengths)
        cameras = self._with_measured(chosen)
        return assemble(found | columns | values, lengths, description, self.source, cameras=cameras)

    def _with_measured(self, chosen: Sequence[str]) -> dict[str, Pictures]:
        """All cameras, with those of measurements under their short names where these are free."""
        found = dict(self.cameras)
        for key, name in shortened([key for key in self.measured if key not in chosen]).items():
            found[key if name in found else name] = self.measured[key]
        return found

    def _timed(self, found: dict[str, Values], roles: Mapping[str, str]) -> list[str]:
        """Put the times in seconds, and return a sentence if they were not."""
        times = found.get("timestamps")
        if not isinstance(times, Tensor):
            return []
        seconds, note = in_seconds(times.double().numpy(), self.lengths, roles["timestamps"], self.dt)
        if note:
            found["timestamps"] = torch.as_tensor(seconds)
        return [note] if note else []

    def _names(self, keys: Sequence[str]) -> list[str]:
        given = {key: self.entries[key].names for key in keys}
        return list(coordinate_names({key: self.entries[key].width for key in keys}, given))

    def _rows(self, values: NDArray[Any] | None, key: str) -> Tensor:
        assert values is not None
        return to_rows(values, key, self.source)

    def _beside(self, loaded: Mapping[str, Loaded], keys: Sequence[str]) -> Tensor:
        return torch.cat([self._rows(loaded[key].rows, key) for key in keys], dim=1)

    def _columns(self, chosen: set[str]) -> tuple[dict[str, Tensor], list[str]]:
        """The other arrays as columns, and the names of those that cannot be; none of them blocks the set."""
        found, rest = dict[str, Tensor](), list[str]()
        for key, entry in self.entries.items():
            if key in chosen or key in self.cameras or key in self.measured:
                continue
            if key in self.faults:
                rest.append(self.faults[key].short)
                continue
            if not entry.is_vector or len(entry.shape) > 1:
                rest.append(key)
                continue
            try:
                rows = self.load([key])[key].rows
            except DataError as error:
                # an optional array is no reason to refuse the others; the reason is said
                rest.append(f"{key} ({_reason(error, self.source, key)})")
                continue
            column, unfit = as_columns({key if key not in Episodes.RESERVED else f"recorded {key}": rows}, len(rows))
            found |= column
            rest += [key] if unfit else []
        return found, rest

    def _notes(self, selection: Selection, state: Sequence[str], action: Sequence[str]) -> list[str]:
        notes = both_named(state, action)
        tables = {key: self.entries[key].shape for key in (*state, *action) if len(self.entries[key].shape) > 1}
        notes += [f"{key} has rows of shape {list(s)}: read as {math.prod(s)} numbers." for key, s in tables.items()]
        if self.suited and selection.state is None:
            notes.append(self.suited)
        return notes


def _reason(error: DataError, source: str, key: str) -> str:
    """The first sentence of an error without the file and the array that it names."""
    text = str(error).removeprefix(f"{source}: ").split(". ")[0].rstrip(".")
    return text.partition(f"{key} ")[2] or text


def entry_of(values: NDArray[Any]) -> Entry:
    """The description of an array `[rows, …]` that is in memory."""
    return Entry(tuple(values.shape[1:]), values.dtype)


def in_memory(found: Mapping[str, NDArray[Any]]) -> Callable[[Sequence[str]], Mapping[str, Loaded]]:
    """A loader of arrays that are in memory."""
    return lambda keys: {key: Loaded(found[key]) for key in keys}
