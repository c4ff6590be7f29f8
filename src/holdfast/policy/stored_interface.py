"""The interface of a stored policy: read like the other files of a run, and made from the scales for older runs."""

import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from ..data import MinMax
from ..errors import HoldfastError, RunError, RunWarning
from ..schema import from_plain, to_plain
from .base import PolicySpec
from .interface import Coordinates, PolicyInterface, check_interface


def plain_interface(interface: PolicyInterface | None) -> Any:
    """JSON values of an interface, from which `interface_from` restores the same bits."""
    return None if interface is None else to_plain(interface)


def interface_from(plain: Any, spec: PolicySpec, path: Path) -> PolicyInterface | None:
    """The interface of JSON values; `None` for a policy that was stored without one.

    Raises:
        RunError: The values are no interface, or that of another policy.
    """
    if plain is None:
        return None
    try:
        interface = from_plain(PolicyInterface, plain)
        check_interface(interface, spec)
    except HoldfastError as error:
        raise RunError(f"{path} does not fit this policy: {error}. Restore it from a copy.") from error
    return interface


def with_prefix_delays(interface: PolicyInterface | None, training: Any, spec: PolicySpec) -> PolicyInterface | None:
    """An interface with the `prefix_delays` of a recipe's training, for runs whose interface was stored without them.

    Args:
        interface: Interface.
        training: Training of the recipe as JSON values.
        spec: Specification of the policy.
    """
    given: Any = cast("dict[str, Any]", training).get("prefix_delays") if isinstance(training, dict) else None
    if interface is None or interface.prefix_delays or not isinstance(given, list):
        return interface
    listed = cast("list[Any]", given)
    fits = all(type(delay) is int and 0 <= delay < spec.horizon for delay in listed)
    return replace(interface, prefix_delays=tuple(sorted({*listed}))) if fits else interface


def interface_of_scales(folder: Path, spec: PolicySpec, observed: MinMax, code: MinMax) -> PolicyInterface:
    """The interface of a run that was written before interfaces were stored: ranges, which its scales hold."""
    warnings.warn(
        f"{folder} was written before holdfast stored the names, order, units and time step that a policy was trained "
        "on: they cannot be compared with what it is given, only ranges can. Train again to store them.",
        RunWarning,
        stacklevel=5,
    )
    # every code begins with the action; reference states are stored with gains only
    actions = slice(0, spec.n_actions)
    states = slice(spec.n_actions, spec.n_actions + spec.n_states)
    with_states = len(code.low) >= spec.n_actions + spec.n_states
    unknown = (0.0,) * spec.n_states
    return PolicyInterface(
        observation=_range(observed, slice(None)),
        state=_range(code, states) if with_states else Coordinates(low=unknown, high=unknown),
        action=_range(code, actions),
        n_robot=spec.n_observed,
    )


def _range(scale: MinMax, part: slice) -> Coordinates:
    low, high = (tuple(float(value) for value in bound[part]) for bound in (scale.low, scale.high))
    return Coordinates(low=low, high=high)
