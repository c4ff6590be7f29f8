"""The interface of a policy, from the episodes that it is trained on."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor

from ..control import MUJOCO_PREFIX
from ..data.preparing import NOTES
from ..policy import Coordinates, PolicyInterface
from ..policy.camera_interface import CameraInterface
from ..policy.coordinate_names import named_vector, split_unit
from ..types import Episodes, Pictures
from .dynamics import simulated

SAMPLE = 100_000
"""Largest number of rows of which quantiles are taken."""
CENTRAL = (0.01, 0.99)


def interface_of(episodes: Episodes, seen: Mapping[str, Pictures] | None = None) -> PolicyInterface:
    """Names, units, time step, bounds and ranges of training episodes.

    Names come from the data, else from the built-in system that the data name; units from brackets in the names, else
    from `meta["units"]`, lists by quantity; bounds from `meta["action_bounds"]`; the balance of colours from the
    pictures that the policy sees, by camera and in any size.
    """
    observed, names = episodes.observed, _names(episodes)
    rest = observed.environment_state
    widths = {"observation.state": observed.state.shape[1]}
    widths |= {} if rest is None else {"observation.environment_state": rest.shape[1]}
    low, high = (_bound(episodes, side) for side in ("low", "high"))
    return PolicyInterface(
        observation=_coordinates(episodes, observed.vector, names, widths),
        state=_coordinates(episodes, episodes.states, names, {"state": episodes.states.shape[1]}),
        action=_coordinates(episodes, episodes.actions, names, {"action": episodes.actions.shape[1]}),
        n_robot=widths["observation.state"],
        dt=episodes.dt,
        bounds_low=low,
        bounds_high=high,
        episodes=len(episodes),
        preparation=tuple(str(note) for key in ("reading_notes", NOTES) for note in episodes.meta.get(key) or ()),
        cameras=tuple(
            CameraInterface.of(camera, shown, shape=episodes.cameras[camera].shape)
            for camera, shown in (seen or {}).items()
        ),
    )


def _names(episodes: Episodes) -> dict[str, Sequence[str]]:
    """Names by quantity; those of an observation that is the state are the state's."""
    # MuJoCo's systems take a moment to make, and their data name the coordinates
    known = None if (episodes.system or "").startswith(MUJOCO_PREFIX) else simulated(episodes.system)
    own = {} if known is None else {"state": tuple(known.state_names), "action": tuple(known.action_names)}
    names: dict[str, Sequence[str]] = {**own, **episodes.names}
    seen = episodes.observations
    if "observation.state" not in names and (seen is None or _same(seen.state, episodes.states)):
        names |= {"observation.state": names.get("state", ())}
    if "state" not in names and (seen is None or _same(seen.state, episodes.states)):
        names |= {"state": names.get("observation.state", ())}
    return names


def _coordinates(
    episodes: Episodes, rows: Float[Tensor, "rows d"], names: Mapping[str, Sequence[str]], widths: Mapping[str, int]
) -> Coordinates:
    called, first = named_vector(names, widths), rows[episodes.starts]
    central = _quantiles(rows)
    return Coordinates(
        low=_numbers(rows.amin(0)),
        high=_numbers(rows.amax(0)),
        names=called,
        units=_units(episodes, called, widths),
        central_low=_numbers(central[0]),
        central_high=_numbers(central[1]),
        first_low=_numbers(first.amin(0)),
        first_high=_numbers(first.amax(0)),
    )


def _quantiles(rows: Float[Tensor, "rows d"]) -> Float[Tensor, "2 d"]:
    """Quantiles of all rows, or of evenly spaced ones; they are values of the rows, so within their range."""
    sample = rows[:: -(-len(rows) // SAMPLE)].double()
    return torch.stack([sample.quantile(level, dim=0, interpolation="nearest") for level in CENTRAL])


def _units(episodes: Episodes, names: Sequence[str] | None, widths: Mapping[str, int]) -> tuple[str, ...] | None:
    given = episodes.meta.get("units")
    stored = named_vector(_texts(cast("Mapping[Any, Any]", given)), widths) if isinstance(given, Mapping) else None
    units = stored or tuple(split_unit(name)[1] for name in names or ())
    return units if any(units) else None


def _texts(given: Mapping[Any, Any]) -> dict[str, tuple[str, ...]]:
    """Stored lists of units that are lists of texts."""
    lists = {str(quantity): cast("Sequence[Any]", units) for quantity, units in given.items() if _is_list(units)}
    return {quantity: tuple(map(str, units)) for quantity, units in lists.items()}


def _is_list(units: Any) -> bool:
    return isinstance(units, list | tuple) and all(isinstance(unit, str) for unit in cast("Sequence[Any]", units))


def _bound(episodes: Episodes, side: str) -> tuple[float | None, ...] | None:
    """One side of the bounds that the data were recorded with; JSON values that fit the actions."""
    given: Any = episodes.meta.get("action_bounds")
    values: Any = cast("Mapping[str, Any]", given).get(side) if isinstance(given, Mapping) else None
    if not isinstance(values, list | tuple) or len(cast("list[Any]", values)) != episodes.actions.shape[1]:
        return None
    numbers = cast("list[Any]", values)
    if not all(value is None or isinstance(value, int | float) for value in numbers):
        return None
    return tuple(None if value is None else float(value) for value in numbers)


def _same(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and torch.equal(one, other)


def _numbers(values: Float[Tensor, " d"]) -> tuple[float, ...]:
    return tuple(float(value) for value in values.double().cpu())
