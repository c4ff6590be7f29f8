"""Sets of episodes joined to one set."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

import torch
from torch import Tensor

from ..errors import DataError
from ..types import Episodes, Observation, Pictures
from .arrays import COLUMN, EPISODE_COLUMN, Values, arrays_of, episodes_of
from .depth_ranges import check_ranges_agree
from .pictures import Joined

MIXED = "some observations hold an environment state, others lack it. Give all of them the same quantities."

T = TypeVar("T")


def concatenate(parts: Sequence[Episodes]) -> Episodes:
    """One set with the episodes of all parts, in order.

    Final states, rewards, timestamps and tasks are joined if every part has them, and equal entries of `meta` are
    preserved. If only some parts hold observations, the states of the others are their observations. `dt`, `system` and
    `names` may be unknown in some parts, but must not differ. All parts must have the same columns.

    Raises:
        DataError: No parts, or parts that differ in numbers per step, cameras, kinds of observation, columns, `dt`,
            `system` or names.

    >>> one = Episodes(actions=torch.zeros(2, 1), states=torch.zeros(2, 3), lengths=torch.tensor([2]), dt=0.1)
    >>> len(concatenate([one, one, one]))
    3
    """
    if not parts:
        raise DataError("no sets of episodes to concatenate. Give at least one.")
    if any(part.observations is not None for part in parts):
        parts = [replace(part, observations=part.observed) for part in parts]
    named = sorted({name for part in parts for name in part.names})
    return episodes_of(
        _join([arrays_of(part) for part in parts]),
        torch.cat([part.lengths for part in parts]),
        cameras=_join_cameras(parts),
        names={name: _agreed(f"names of {name}", [part.names.get(name) for part in parts]) or () for name in named},
        dt=_agreed("dt", [part.dt for part in parts]),
        system=_agreed("system", [part.system for part in parts]),
        meta={key: value for key, value in parts[0].meta.items() if all(p.meta.get(key) == value for p in parts)},
    )


def _join(sets: Sequence[dict[str, Values]]) -> dict[str, Values]:
    """The values that all sets hold; columns and environment states must not be missing in some."""
    partial = {name for found in sets for name in found if not all(name in other for other in sets)}
    if "observation.environment_state" in partial:
        raise DataError(MIXED)
    if columns := sorted(_column(name) for name in partial if name.startswith((COLUMN, EPISODE_COLUMN))):
        raise DataError(
            f"only some of the sets hold the columns {', '.join(columns)}. Drop them from each set before joining: "
            f"without_columns(episodes, {', '.join(map(repr, columns))})."
        )
    return {name: _join_values(name, [found[name] for found in sets]) for name in sets[0] if name not in partial}


def _column(name: str) -> str:
    return name.removeprefix(COLUMN).removeprefix(EPISODE_COLUMN)


def _join_values(name: str, parts: Sequence[Values]) -> Values:
    tensors = [part for part in parts if isinstance(part, Tensor)]
    if name != (column := _column(name)):
        # joining must not change a value
        kinds = {str(part.dtype) if isinstance(part, Tensor) else "strings" for part in parts}
        if len(kinds) > 1:
            raise DataError(
                f"column {column} differs in type between the sets: {', '.join(sorted(kinds))}. Convert it."
            )
        name = f"column {column}"
    return join_arrays(name, tensors) if tensors else tuple(str(text) for part in parts for text in part)


def join_arrays(name: str, arrays: Sequence[Tensor]) -> Tensor:
    """Concatenated arrays, whose rows must have the same shape."""
    for index, array in enumerate(arrays):
        if array.shape[1:] != arrays[0].shape[1:]:
            raise DataError(
                f"{name}: part 0 has {list(arrays[0].shape[1:])} numbers a step, part {index} has "
                f"{list(array.shape[1:])}. Join only recordings of the same quantities."
            )
    return torch.cat(list(arrays))


def join_observations(parts: Sequence[Observation]) -> Observation:
    """Concatenated observations, which must hold the same quantities."""
    rests = [part.environment_state for part in parts if part.environment_state is not None]
    if len(rests) not in (0, len(parts)):
        raise DataError(MIXED)
    return Observation(
        state=join_arrays("observation.state", [part.state for part in parts]),
        environment_state=join_arrays("observation.environment_state", rests) if rests else None,
    )


def _join_cameras(parts: Sequence[Episodes]) -> dict[str, Pictures]:
    kinds = [{camera: pictures.shape for camera, pictures in part.cameras.items()} for part in parts]
    if any(kind != kinds[0] for kind in kinds):
        raise DataError(
            f"cameras or their sizes differ between the sets: {kinds}. Join only recordings with the same cameras."
        )
    check_ranges_agree(parts)
    return {camera: Joined([part.cameras[camera] for part in parts]) for camera in kinds[0]}


def _agreed(name: str, values: Sequence[T | None]) -> T | None:
    known = [value for value in values if value is not None]
    if any(value != known[0] for value in known):
        raise DataError(f"{name} differs between the sets: {known}. Join only sets with the same system and rate.")
    return known[0] if known else None
