"""Sets of episodes joined to one set."""

from collections.abc import Mapping, Sequence
from typing import TypeVar

import torch
from torch import Tensor

from ..errors import DataError
from ..types import Episodes, Observation, Pictures
from .pictures import Joined

__all__ = ["concatenate", "join_arrays", "join_observations"]

T = TypeVar("T")


def concatenate(parts: Sequence[Episodes]) -> Episodes:
    """One set with the episodes of all parts, in order.

    Final states, rewards, timestamps and tasks are joined if every part has them, and equal entries of `meta` are
    preserved. If only some parts hold observations, the states of the others are their observations. `dt`, `system` and
    `names` may be unknown in some parts, but must not differ. All parts must have the same columns.

    Raises:
        DataError: No parts, or parts that differ in numbers a step, cameras, kinds of observation, columns, `dt`,
            `system` or names.

    >>> one = Episodes(actions=torch.zeros(2, 1), states=torch.zeros(2, 3), lengths=torch.tensor([2]), dt=0.1)
    >>> len(concatenate([one, one, one]))
    3
    """
    if not parts:
        raise DataError("no sets of episodes to concatenate. Give at least one.")
    finals = [part.final_states for part in parts if part.final_states is not None]
    observed = any(part.observations is not None for part in parts)
    named = sorted({name for part in parts for name in part.names})
    return Episodes(
        actions=join_arrays("actions", [part.actions for part in parts]),
        states=join_arrays("states", [part.states for part in parts]),
        lengths=torch.cat([part.lengths for part in parts]),
        final_states=join_arrays("final_states", finals) if len(finals) == len(parts) else None,
        observations=join_observations([part.observed for part in parts]) if observed else None,
        cameras=_join_cameras(parts),
        rewards=_join_where_all("rewards", [part.rewards for part in parts]),
        timestamps=_join_where_all("timestamps", [part.timestamps for part in parts]),
        tasks=_join_tasks(parts),
        names={name: _agreed(f"names of {name}", [part.names.get(name) for part in parts]) or () for name in named},
        dt=_agreed("dt", [part.dt for part in parts]),
        system=_agreed("system", [part.system for part in parts]),
        columns=_join_columns([part.columns for part in parts]),
        episode_columns=_join_episode_columns([part.episode_columns for part in parts]),
        meta={key: value for key, value in parts[0].meta.items() if all(p.meta.get(key) == value for p in parts)},
    )


def join_arrays(name: str, arrays: Sequence[Tensor]) -> Tensor:
    """Concatenated arrays, whose rows must have the same shape."""
    for index, array in enumerate(arrays):
        if array.shape[1:] != arrays[0].shape[1:]:
            raise DataError(
                f"{name}: part 0 has {list(arrays[0].shape[1:])} numbers a step, part {index} has "
                f"{list(array.shape[1:])}. Join only recordings of the same quantities."
            )
    return torch.cat(list(arrays))


def _join_columns(sets: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    _check_same_columns(sets)
    return {name: join_arrays(f"column {name}", [columns[name] for columns in sets]) for name in sets[0]}


def _join_episode_columns(
    sets: Sequence[Mapping[str, Tensor | tuple[str, ...]]],
) -> dict[str, Tensor | tuple[str, ...]]:
    _check_same_columns(sets)
    joined = dict[str, Tensor | tuple[str, ...]]()
    for name in sets[0]:
        parts = [columns[name] for columns in sets]
        tensors = [part for part in parts if isinstance(part, Tensor)]
        texts = tuple(value for part in parts if isinstance(part, tuple) for value in part)
        joined[name] = torch.cat(tensors) if tensors else texts
    return joined


def _check_same_columns(sets: Sequence[Mapping[str, Tensor | tuple[str, ...]]]) -> None:
    """All sets must hold the same columns, of the same types: joining must not change a value."""
    known = {name for columns in sets for name in columns}
    if partial := sorted(name for name in known if not all(name in columns for columns in sets)):
        raise DataError(
            f"only some of the sets hold the columns {', '.join(partial)}. Drop them from each set before joining: "
            f"without_columns(episodes, {', '.join(map(repr, partial))})."
        )
    for name in sorted(known):
        kinds = {str(part.dtype) if isinstance(part := columns[name], Tensor) else "strings" for columns in sets}
        if len(kinds) > 1:
            raise DataError(f"column {name} differs in type between the sets: {', '.join(sorted(kinds))}. Convert it.")


def join_observations(parts: Sequence[Observation]) -> Observation:
    """Concatenated observations, which must hold the same quantities."""
    rests = [part.environment_state for part in parts if part.environment_state is not None]
    if len(rests) not in (0, len(parts)):
        raise DataError(
            "some observations hold an environment state, others lack it. Give all of them the same quantities."
        )
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
    return {camera: Joined([part.cameras[camera] for part in parts]) for camera in kinds[0]}


def _join_where_all(name: str, arrays: Sequence[Tensor | None]) -> Tensor | None:
    known = [array for array in arrays if array is not None]
    return join_arrays(name, known) if len(known) == len(arrays) else None


def _join_tasks(parts: Sequence[Episodes]) -> tuple[str, ...] | None:
    known = [part.tasks for part in parts if part.tasks is not None]
    return tuple(task for tasks in known for task in tasks) if len(known) == len(parts) else None


def _agreed(name: str, values: Sequence[T | None]) -> T | None:
    known = [value for value in values if value is not None]
    if any(value != known[0] for value in known):
        raise DataError(f"{name} differs between the sets: {known}. Join only sets with the same system and rate.")
    return known[0] if known else None
