"""Sets of episodes: create, select and split them.

`Episodes` concatenates the steps of all episodes; `lengths` gives the rows of each episode:

    row      0  1  2  3  4  5  6  7  8
    episode  0  0  0  0  1  1  2  2  2        lengths = [4, 2, 3], starts = [0, 4, 6]
    step     0  1  2  3  0  1  0  1  2
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Int
from numpy.typing import NDArray
from torch import Tensor

from ..errors import DataError
from ..types import Episodes, Observation
from .arrays import Values, arrays_of, by_episode, episodes_of
from .joining import join_arrays, join_observations
from .pictures import Chosen, Frames
from .validity import validate

UNCHECKED = " To see all faults, make the set with check=False and give it to inspect_episodes."


def select(episodes: Episodes, indices: Sequence[int] | Int[Tensor, " chosen"]) -> Episodes:
    """The episodes with the given indices, in the given order; repeats are allowed.

    Raises:
        DataError: An index is outside `0 … len(episodes) - 1`.

    >>> numbers = torch.arange(6.0).unsqueeze(-1)
    >>> ragged = Episodes(actions=numbers, states=numbers, lengths=torch.tensor([1, 2, 3]))
    >>> select(ragged, [2, 0]).actions.flatten().tolist()
    [3.0, 4.0, 5.0, 0.0]
    """
    chosen = torch.as_tensor(indices, dtype=torch.int64, device=episodes.lengths.device)
    outside = chosen[(chosen < 0) | (chosen >= len(episodes))]
    if len(outside):
        raise DataError(f"expected episodes from 0 to {len(episodes) - 1}, got {int(outside[0])}.")
    if torch.equal(chosen, torch.arange(len(episodes), device=chosen.device)):
        # all of them: a copy would need twice the memory
        return episodes
    rows = _rows_of(episodes, chosen)
    arrays = arrays_of(episodes).items()
    return episodes_of(
        {name: _pick(values, chosen if by_episode(name) else rows) for name, values in arrays},
        episodes.lengths[chosen],
        cameras={camera: Chosen(pictures, rows) for camera, pictures in episodes.cameras.items()},
        names=episodes.names,
        dt=episodes.dt,
        system=episodes.system,
        meta=episodes.meta,
    )


def without_columns(episodes: Episodes, *names: str) -> Episodes:
    """The same episodes without the named columns, or without any column if no names are given.

    Names that the set lacks are ignored, so that several sets can be made alike before they are joined.

    >>> rows = torch.zeros(2, 1)
    >>> marked = Episodes(actions=rows, states=rows, lengths=torch.tensor([2]), columns={"force": rows})
    >>> dict(without_columns(marked, "force").columns)
    {}
    """
    dropped = names or (*episodes.columns, *episodes.episode_columns)
    return replace(
        episodes,
        names={quantity: labels for quantity, labels in episodes.names.items() if quantity not in dropped},
        columns={name: values for name, values in episodes.columns.items() if name not in dropped},
        episode_columns={name: values for name, values in episodes.episode_columns.items() if name not in dropped},
    )


def split(episodes: Episodes, *, held_out: int | float, rng: torch.Generator) -> tuple[Episodes, Episodes]:
    """Random split into whole episodes to train on and held-out episodes.

    Neighbouring steps of one episode are nearly equal, so a split by steps would hold nothing out. Both parts keep the
    recorded order.

    Args:
        episodes: The set to split.
        held_out: Number of episodes (`int`) or fraction below 1 (`float`, at least one episode unless it is 0). With 0
            the second part is empty.
        rng: Random generator on the CPU.

    Raises:
        DataError: No episode would remain for training, or `held_out` is negative.

    >>> ragged = Episodes(actions=torch.zeros(9, 1), states=torch.zeros(9, 1), lengths=torch.tensor([4, 2, 3]))
    >>> train, held_out = split(ragged, held_out=1, rng=torch.Generator().manual_seed(0))
    >>> len(train), len(held_out)
    (2, 1)
    """
    count = _held_out_count(len(episodes), held_out)
    order = torch.randperm(len(episodes), generator=rng)
    return select(episodes, order[count:].sort().values), select(episodes, order[:count].sort().values)


def episodes_from_arrays(
    states: Sequence[Tensor | NDArray[Any]],
    actions: Sequence[Tensor | NDArray[Any]],
    *,
    observations: Sequence[Observation] | None = None,
    columns: Mapping[str, Sequence[Tensor | NDArray[Any]]] | None = None,
    episode_columns: Mapping[str, Sequence[Any] | Tensor] | None = None,
    names: Mapping[str, tuple[str, ...]] | None = None,
    dt: float | None = None,
    system: str | None = None,
    check: bool = True,
) -> Episodes:
    """Episodes from one array of states and one of actions per episode.

    Args:
        states: `[T + 1, n]` for an episode of `T` actions (the last row is the final state), or `[T, n]`; the same form
            for all episodes.
        actions: `[T, m]` each. Integers become float64.
        observations: Observations of the policy, `T` rows each, with pictures if there are cameras. Default: the
            states.
        columns: Further quantities by name, one array `[T]` or `[T, k]` an episode.
        episode_columns: Further quantities by name, one number, boolean or string an episode.
        names: Names of the coordinates by quantity; see `Episodes`.
        dt: Time step [s].
        system: Name of the system or environment.
        check: Whether to refuse data that nothing can be learned from (`validate`). Without it, `inspect_episodes`
            lists what is wrong with them.

    Raises:
        DataError: Lengths do not fit; the message names the episode and both lengths. Or `validate` refuses the data.

    >>> states = [torch.zeros(4, 2), torch.ones(3, 2)]
    >>> made = episodes_from_arrays(states, [torch.zeros(3, 1), torch.zeros(2, 1)])
    >>> made.lengths.tolist(), made.final_states.tolist()
    ([3, 2], [[0.0, 0.0], [1.0, 1.0]])
    """
    _check_counts(len(states), len(actions), None if observations is None else len(observations))
    xs = [_matrix("states", episode, x) for episode, x in enumerate(states)]
    us = [_matrix("actions", episode, u) for episode, u in enumerate(actions)]
    fencepost = _has_final_states(xs, us)
    _check_observation_lengths(observations, us)
    episodes = Episodes(
        actions=join_arrays("actions", us),
        states=join_arrays("states", [x[: len(u)] for x, u in zip(xs, us, strict=True)]),
        lengths=torch.tensor([len(u) for u in us]),
        final_states=join_arrays("final_states", [x[-1:] for x in xs]) if fencepost else None,
        observations=None if observations is None else join_observations(observations),
        cameras=_cameras_of(observations or ()),
        columns={name: _column(name, parts, us) for name, parts in (columns or {}).items()},
        episode_columns={name: _episode_column(values) for name, values in (episode_columns or {}).items()},
        names=names or {},
        dt=dt,
        system=system,
    )
    if check:
        validate(episodes, source="the given arrays", otherwise=UNCHECKED)
    return episodes


def _cameras_of(observations: Sequence[Observation]) -> dict[str, Frames]:
    """The pictures of observations as cameras."""
    shown = [sorted(seen.images) for seen in observations]
    if any(cameras != shown[0] for cameras in shown):
        raise DataError("some episodes show other cameras than the first one. Give the pictures of the same cameras.")
    cameras = shown[0] if shown else []
    return {camera: Frames(torch.cat([seen.images[camera] for seen in observations])) for camera in cameras}


def _rows_of(episodes: Episodes, chosen: Int[Tensor, " chosen"]) -> Int[Tensor, " rows"]:
    """Rows of the chosen episodes, concatenated."""
    lengths = episodes.lengths[chosen]
    # the rows of a chosen episode move as one block
    shift = episodes.starts[chosen] - (lengths.cumsum(0) - lengths)
    shifts = shift.repeat_interleave(lengths)
    return shifts + torch.arange(len(shifts), device=shifts.device)


def _held_out_count(count: int, held_out: int | float) -> int:
    usable = 0 <= held_out < math.inf
    if not usable:
        wanted = count
    elif isinstance(held_out, int):
        wanted = held_out
    else:
        wanted = max(round(held_out * count), int(held_out > 0))
    if wanted >= count:
        raise DataError(
            f"cannot hold out {held_out} of {count} episodes and train on the rest. Give a number of episodes from 0 "
            f"to {count - 1}, or a fraction below 1 that leaves at least one."
        )
    return wanted


def _pick(values: Values, chosen: Int[Tensor, " chosen"]) -> Values:
    return values[chosen] if isinstance(values, Tensor) else tuple(values[int(index)] for index in chosen)


def _check_counts(states: int, actions: int, observations: int | None) -> None:
    if states != actions or observations not in (None, actions):
        further = "" if observations is None else f", {observations} of observations"
        raise DataError(f"{states} arrays of states, {actions} of actions{further}: give one of each per episode.")
    if not actions:
        raise DataError("no episodes: the lists are empty. Give at least one episode.")


def _matrix(name: str, episode: int, values: Tensor | NDArray[Any]) -> Tensor:
    tensor = torch.as_tensor(values)
    if tensor.ndim != 2:
        raise DataError(
            f"{name} of episode {episode} must be [steps, numbers a step], got {list(tensor.shape)}. Reshape it."
        )
    return tensor if tensor.is_floating_point() else tensor.double()


def _column(name: str, parts: Sequence[Tensor | NDArray[Any]], actions: Sequence[Tensor]) -> Tensor:
    """One array an episode as one column of all rows."""
    tensors = [torch.as_tensor(part) for part in parts]
    if [len(part) for part in tensors] != [len(u) for u in actions]:
        raise DataError(
            f"column {name} has {[len(part) for part in tensors]} rows by episode, expected "
            f"{[len(u) for u in actions]}. Give one value an action."
        )
    return join_arrays(f"column {name}", tensors)


def _episode_column(values: Sequence[Any] | Tensor) -> Tensor | tuple[str, ...]:
    texts = tuple(value for value in values if isinstance(value, str))
    return texts if len(texts) == len(values) else torch.as_tensor(values)


def _has_final_states(states: Sequence[Tensor], actions: Sequence[Tensor]) -> bool:
    """Whether states have one row more than actions; the first episode decides, the others must follow."""
    extra = 1 if len(states[0]) == len(actions[0]) + 1 else 0
    for episode, (x, u) in enumerate(zip(states, actions, strict=True)):
        if len(x) != len(u) + extra:
            raise DataError(
                f"episode {episode} has {len(x)} states and {len(u)} actions. Give T states, or T + 1 with the final "
                "one, for T actions, the same in all episodes."
            )
    return extra == 1


def _check_observation_lengths(observations: Sequence[Observation] | None, actions: Sequence[Tensor]) -> None:
    for episode, (seen, u) in enumerate(zip(observations or [], actions, strict=False)):
        if len(seen.state) != len(u):
            raise DataError(
                f"episode {episode} has {len(seen.state)} observations and {len(u)} actions. Give one observation per "
                "action, without the one after the last action."
            )
