"""Demonstrations as the data of an estimator: coordinates of the observation take the place of the actions.

    row t:   pictures_t, (readings_t)  ──►  y_t = coordinates of the observation o_t

An estimator is thus trained as a policy is, with the pictures of one step as its observation and the coordinates as its
action.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase

from ..errors import UnknownNameError
from ..types import Episodes


def estimating(episodes: Episodes, keys: Sequence[str]) -> Episodes:
    """Episodes whose actions are coordinates of their observations; no environment is named, because none takes them.

    Args:
        episodes: Demonstrations.
        keys: Quantities (`observation.environment_state`), names of coordinates, and patterns of names with `*`.

    Raises:
        UnknownNameError: A key that no coordinate of the observation has.

    >>> import torch
    >>> made = Episodes(
    ...     actions=torch.zeros(2, 1),
    ...     states=torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]),
    ...     lengths=torch.tensor([2]),
    ...     names={"state": ("x", "y", "angle")},
    ... )
    >>> found = estimating(made, ["angle", "x"])
    >>> found.actions, found.names["action"]
    (tensor([[3., 1.],
            [6., 4.]]), ('angle', 'x'))
    """
    known = coordinates_of(episodes)
    columns = list(dict.fromkeys(column for key in keys for column in _fitting(key, known)))
    names = list(known)
    return replace(
        episodes,
        actions=episodes.observed.vector[:, columns],
        names={**episodes.names, "action": tuple(known[names[column]] for column in columns)},
        system=None,
        meta={name: value for name, value in episodes.meta.items() if name != "action_bounds"},
    )


def coordinates_of(episodes: Episodes) -> dict[str, str]:
    """The coordinates of the observation vector in order: quantity and name → name.

    Coordinates without names are called by quantity and number.
    """
    found = dict[str, str]()
    for quantity, count in _widths(episodes).items():
        own = _given(episodes.names, quantity)
        names = own if len(own) == count else tuple(f"{quantity}.{index}" for index in range(count))
        found |= {f"{quantity}/{index}/{name}": name for index, name in enumerate(names)}
    return found


def observed_names(episodes: Episodes) -> tuple[str, ...] | None:
    """Names of the observation vector in order; `None` unless the data name all of its coordinates.

    >>> import torch
    >>> one = torch.zeros(1, 2)
    >>> made = Episodes(actions=one, states=one, lengths=torch.tensor([1]), names={"state": ("x", "y")})
    >>> observed_names(made), observed_names(replace(made, names={"state": ("x",)}))
    (('x', 'y'), None)
    """
    widths = _widths(episodes)
    parts = [_given(episodes.names, quantity) for quantity in widths]
    if [len(part) for part in parts] != [*widths.values()]:
        return None
    return tuple(name for part in parts for name in part) or None


def _widths(episodes: Episodes) -> dict[str, int]:
    """Number of coordinates of each part of the observation vector."""
    observed = episodes.observed
    parts = {"observation.state": observed.state, "observation.environment_state": observed.environment_state}
    return {quantity: values.shape[1] for quantity, values in parts.items() if values is not None}


def _given(names: Mapping[str, tuple[str, ...]], quantity: str) -> tuple[str, ...]:
    """Names that the data give; an observation without names of its own has those of the state."""
    own = names.get(quantity, ())
    return names.get("state", ()) if not own and quantity == "observation.state" else own


def _fitting(key: str, known: Mapping[str, str]) -> list[int]:
    """Columns that a key names."""
    found = [
        column
        for column, (path, name) in enumerate(known.items())
        if path.startswith(f"{key}/") or fnmatchcase(name, key)
    ]
    if not found:
        quantities = dict.fromkeys(path.partition("/")[0] for path in known)
        raise UnknownNameError("coordinate of the observation", key, (*quantities, *known.values()))
    return found
