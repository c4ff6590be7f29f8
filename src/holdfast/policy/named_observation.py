"""Observations as dictionaries of named quantities, in any order, as the vector that a policy was trained on.

    {"joints": [0.1, -0.3], "grip": 0.02}                          coordinates joints_0, joints_1, grip
    {"observation": …, "achieved_goal": …, "desired_goal": …}      as a gymnasium environment returns them
    {"observation.state": {"x": 0.3, "y": 0.1}}                    below LeRobot's keys

Quantities that the policy was not trained on are ignored: a robot's dictionary holds pictures and times as well.
"""

from collections.abc import Iterator, Mapping
from typing import Any, cast

import torch
from torch import Tensor

from ..errors import InterfaceError, ShapeError
from .coordinate_names import Key, keys_of, words_of
from .mismatch import listed
from .real_numbers import as_numbers

PREFIXES = (("observation", "state"), ("observation", "environment", "state"))
"""Words of LeRobot's keys, which may stand before a name."""


def is_named(value: Mapping[Any, Any]) -> bool:
    """Whether a mapping holds quantities by name, in place of LeRobot's vectors."""
    return "observation.state" not in value or isinstance(value["observation.state"], Mapping)


def by_name(value: Mapping[Any, Any], names: tuple[str, ...]) -> Tensor:
    """The vector `[d]` or `[b, d]` of named quantities.

    Args:
        value: Number, `[k]`, `[b]` or `[b, k]` by name, possibly nested.
        names: Coordinates that the policy was trained on.

    Raises:
        InterfaceError: A coordinate is missing, or given twice.
        ShapeError: No coordinate is there, or a quantity has too many axes, or another number of episodes than the
            others.
        DataError: A value is not a real number.
    """
    wanted = keys_of(names)
    found = dict[Key, Tensor]()
    for place, given in _leaves(value):
        for key, column in _columns(place, given, wanted).items():
            if key in found:
                raise InterfaceError(f"the observation holds {'.'.join(key)} twice. Give each coordinate once.")
            found[key] = column
    if not found:
        held = ", ".join(sorted(map(str, value)))
        raise ShapeError(
            f"expected the key 'observation.state', got {held or 'none'}; or, by name, {listed(names)}, on which the "
            "policy was trained."
        )
    missing = [name for name, key in zip(names, wanted, strict=True) if key not in found]
    if missing:
        held = listed(sorted(place for place, _ in _leaves(value))) or "nothing"
        raise InterfaceError(
            f"the observation has no {listed(missing)}; it holds {held}. The policy was trained on {listed(names)}: "
            "give these by name, or all of them in this order under 'observation.state'."
        )
    return _together([found[key] for key in wanted])


def unknown_names(value: Mapping[Any, Any], names: tuple[str, ...]) -> list[str]:
    """Quantities of a mapping of which no coordinate is among the names that a policy was trained on.

    >>> unknown_names({"joints": [0.1, -0.3], "time": 2.0}, ("joints_0", "joints_1"))
    ['time']
    """
    wanted = keys_of(names)
    whole = {key for one in wanted for key in (one, one[:-1] if one[-1].isdecimal() else one)}
    return [place for place, _ in _leaves(value) if _without_prefix(words_of(place)) not in whole]


def _columns(place: str, given: Any, wanted: list[Key]) -> dict[Key, Tensor]:
    """The wanted coordinates among those of one quantity; none of them, and nothing read, if it holds no wanted one."""
    key = _without_prefix(words_of(place))
    places = {one: int(one[-1]) for one in wanted if one[:-1] == key and one[-1].isdecimal()}
    if key in wanted:
        values = _numbers(given, place)
        return {key: values.squeeze(-1) if values.dim() == 2 or values.shape == (1,) else values}
    if not places:
        return {}
    values = _numbers(given, place)
    if values.dim() == 0 or values.shape[-1] <= max(places.values()):
        raise ShapeError(
            f"expected at least {max(places.values()) + 1} numbers of {place}, as in training, got an array of shape "
            f"{list(values.shape)}."
        )
    return {one: values[..., index] for one, index in places.items()}


def _numbers(given: Any, place: str) -> Tensor:
    values = as_numbers(given, place)
    if values.dim() > 2:
        raise ShapeError(f"expected {place} as [k] or [b, k], got an array of shape {list(values.shape)}. Flatten it.")
    return values


def _together(columns: list[Tensor]) -> Tensor:
    """Numbers `[]` or `[b]` as `[d]` or `[b, d]`, in the highest of their precisions."""
    batch = {len(column) for column in columns if column.dim()}
    if len(batch) > 1:
        raise ShapeError(f"expected quantities of the same episodes, got {', '.join(map(str, sorted(batch)))} of them.")
    precision = torch.float64 if any(column.dtype == torch.float64 for column in columns) else torch.float32
    rows = [column.to(precision).expand(torch.Size(batch)) for column in columns]
    return torch.stack(rows, dim=-1)


def _leaves(value: Mapping[Any, Any], place: str = "") -> Iterator[tuple[str, Any]]:
    for name, given in value.items():
        inner = f"{place}.{name}".lstrip(".")
        if isinstance(given, Mapping):
            yield from _leaves(cast("Mapping[Any, Any]", given), inner)
        else:
            yield inner, given


def _without_prefix(key: Key) -> Key:
    """A key without LeRobot's words before it, unless it consists of them."""
    before = next((one for one in PREFIXES if key[: len(one)] == one and len(key) > len(one)), ())
    return key[len(before) :]
