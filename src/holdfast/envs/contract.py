"""The interface of a policy compared with an environment, before the first step.

    compare_interface(policy.interface, environment, environment.reset([0]))     the mismatches as a list
    fit_of(policy, environment, first)                                           how a rollout puts them right

Equal names in another order are put in order, other names are refused, and what only the numbers can tell (first
observations outside every demonstration, rates, bounds) becomes an `InterfaceWarning`.
"""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from ..data import feeds_back
from ..errors import InterfaceError, InterfaceWarning
from ..policy import Coordinates, Mismatch, PolicyInterface, PolicySpec
from ..policy.coordinate_names import split_unit
from ..policy.mismatch import (
    compare_bounds,
    compare_cameras,
    compare_first,
    compare_names,
    compare_rates,
    compare_units,
)
from ..policy.other_orders import with_orders
from ..types import Observation
from .drawn_depth import Asked, DrawnDepth
from .environment import Environment, Step

WRAPPED = 8
"""Largest number of wrappers around a policy, which name what they wrap `policy`."""

Index = tuple[int, ...] | None


@dataclass(frozen=True)
class Fit:
    """How an environment's vectors become those of a policy.

    Attributes:
        observation: Position of each coordinate of the policy in the environment's observation vector; `None` if both
            have the same order.
        state: The same for the feedback state.
        action: Position of each coordinate of the policy in the environment's action.
        names: Names of the observations in the policy's order, where the order is another one.
        camera: Name that the policy has for the only camera of the environment, where it has another one.
        mismatches: What differs.
    """

    observation: Index = None
    state: Index = None
    action: Index = None
    names: tuple[str, ...] = ()
    camera: str | None = None
    mismatches: tuple[Mismatch, ...] = ()

    def ordered(self, step: Step) -> Step:
        """The step with its observation in the policy's order; the feedback state stays the environment's."""
        if self.camera is not None:
            images = dict(zip((self.camera,), step.observation.images.values(), strict=True))
            step = replace(step, observation=replace(step.observation, images=images))
        seen = step.observation
        if self.observation is None:
            return step
        vector = seen.vector[..., list(self.observation)]
        return replace(step, observation=Observation(state=vector, images=seen.images, task=seen.task))

    def fed_back(self, state: Float[Tensor, "b n"]) -> Float[Tensor, "b k"]:
        """The feedback state in the policy's order."""
        return state if self.state is None else state[..., list(self.state)]

    def executed(self, action: Float[Tensor, "b m"]) -> Float[Tensor, "b m"]:
        """The action in the environment's order."""
        if self.action is None or action.shape[-1] != len(self.action):
            return action
        return action[..., torch.tensor(self.action).argsort()]

    def names_of(self, names: Mapping[str, tuple[str, ...]]) -> Mapping[str, tuple[str, ...]]:
        """Names of the recorded coordinates."""
        if self.observation is None:
            return names
        rest = {quantity: part for quantity, part in names.items() if not quantity.startswith("observation.")}
        return rest | {"observation.state": self.names}


def compare_interface(
    interface: PolicyInterface | None, environment: Environment, first: Step | None = None
) -> list[Mismatch]:
    """What a policy was trained on, compared with an environment.

    Args:
        interface: `policy.interface`; nothing can be compared if it is `None`.
        environment: Environment to run the policy in.
        first: Its first step (from `reset`), for the comparison of first observations. Default: not compared.

    Returns:
        The mismatches, errors first; empty if there are none.
    """
    return [] if interface is None else list(_compared(interface, environment, first, with_state=True).mismatches)


def fit_of(policy: object, environment: Environment, first: Step) -> Fit:
    """How a policy fits an environment, with everything that differs; nothing is refused or warned of."""
    interface, spec = trained_on(policy)
    if interface is None:
        return Fit()
    # without gains the feedback state is not used
    return _compared(interface, environment, first, with_state=spec is None or feeds_back(spec.codec))


def refuse(fit: Fit) -> None:
    """Refuse a policy that was trained on other names or units.

    Raises:
        InterfaceError: There is such a mismatch.
    """
    errors = [str(mismatch) for mismatch in fit.mismatches if mismatch.severity == "error"]
    if errors:
        raise InterfaceError(" ".join(errors))


def warn_of(fit: Fit) -> None:
    """One `InterfaceWarning` for each mismatch that is no error."""
    for mismatch in fit.mismatches:
        if mismatch.severity == "warning":
            warnings.warn(str(mismatch), InterfaceWarning, stacklevel=3)


def sees_pictures(policy: object) -> bool:
    """Whether a policy, or the one that it wraps, sees pictures."""
    interface, _ = trained_on(policy)
    return interface is not None and bool(interface.cameras)


def cameras_of(policy: object) -> dict[str, Asked]:
    """Pictures of each camera that a policy, or the one that it wraps, sees: height and width, or depth."""
    interface, spec = trained_on(policy)
    views = spec.vision.views if spec is not None and spec.vision is not None else ()
    seen: dict[str, Asked] = {
        camera.name: (camera.shape[0], camera.shape[1]) for camera in (() if interface is None else interface.cameras)
    }
    for view in views:
        if view.depth is not None:
            seen[view.camera] = DrawnDepth(view.height, view.width, *view.depth)
    return seen


def trained_on(policy: object) -> tuple[PolicyInterface | None, PolicySpec | None]:
    """Interface and specification of a policy, or of the one that it wraps."""
    for _ in range(WRAPPED):
        interface, spec = getattr(policy, "interface", None), getattr(policy, "spec", None)
        if isinstance(interface, PolicyInterface):
            return interface, spec if isinstance(spec, PolicySpec) else None
        policy = getattr(policy, "policy", None)
        if policy is None:
            break
    return None, None


@dataclass(frozen=True)
class _Given:
    """Coordinates of one quantity of an environment: names by part, units, and their number where it is known."""

    parts: tuple[Sequence[str], ...]
    units: tuple[str, ...]
    width: int | None

    @staticmethod
    def of(
        environment: Environment, names: Sequence[Sequence[str]], quantities: Sequence[str], width: int | None
    ) -> "_Given":
        """The given names, unless some are missing, with the environment's units or those in the names."""
        flat = [name for part in names for name in part]
        known = bool(flat) and all(names) and width in (None, len(flat))
        units = [unit for quantity in quantities for unit in environment.units.get(quantity, ())]
        if len(units) != (width or len(flat)):
            units = [split_unit(name)[1] for name in flat] if known else []
        return _Given(tuple(names) if known else (), tuple(units), len(flat) if known else width)


def _compared(interface: PolicyInterface, environment: Environment, first: Step | None, *, with_state: bool) -> Fit:
    where = environment.name
    seen, state, action = _observed(environment, first), _fed_back(environment, first), _acted(environment)
    observation, found = _one("observation", interface.observation, seen, where)
    fed_back, of_state = _one("state", interface.state, state, where)
    if not with_state or state.parts == seen.parts:
        of_state = []
    acts, of_action = _one("action", interface.action, action, where)
    found = [*found, *of_state, *of_action, *compare_rates(interface, _rate(environment), where=where)]
    index = acts or tuple(range(len(interface.action)))
    if len(interface.action) == environment.n_actions:
        found += compare_bounds(interface, environment.action_bounds, index, where=where)
    if first is not None:
        vector = first.observation.vector
        vector = vector if observation is None else vector[..., list(observation)]
        if vector.shape[-1] == len(interface.observation):
            offered = [name for part in seen.parts for name in part]
            differ = compare_first(interface, vector, where=where)
            found += [with_orders(one, interface, vector, offered) for one in differ]
    camera, of_pictures = compare_cameras(interface.cameras, first.observation.images if first else {}, where=where)
    found += of_pictures
    names = interface.observation.names or ()
    found.sort(key=lambda one: one.severity != "error")
    return Fit(observation, fed_back, acts, names, camera, tuple(found))


def _one(quantity: str, trained: Coordinates, given: _Given, where: str) -> tuple[Index, list[Mismatch]]:
    """Order and mismatches of one quantity; no order where both have the same."""
    compared = compare_names(quantity, trained, given.parts, where=where)
    index, found = compared.index, list(compared.mismatches)
    same = tuple(range(len(trained)))
    if index is not None or given.width in (None, len(trained)):
        found += compare_units(quantity, trained, given.units, index or same, where=where)
    moved = index is not None and (index != same or given.width != len(trained))
    return (index if moved else None), found


def _observed(environment: Environment, first: Step | None) -> _Given:
    names = environment.names
    quantities = ["observation.state"] if "observation.state" in names or not _is_state(first) else ["state"]
    rest = "observation.environment_state"
    if rest in names if first is None else first.observation.environment_state is not None:
        quantities.append(rest)
    width = None if first is None else first.observation.vector.shape[-1]
    return _Given.of(environment, [names.get(quantity, ()) for quantity in quantities], quantities, width)


def _fed_back(environment: Environment, first: Step | None) -> _Given:
    names = environment.names
    quantity = "state" if "state" in names or not _is_state(first) else "observation.state"
    width = None if first is None else first.state.shape[-1]
    return _Given.of(environment, [names.get(quantity, ())], [quantity], width)


def _acted(environment: Environment) -> _Given:
    return _Given.of(environment, [environment.names.get("action", ())], ["action"], environment.n_actions)


def _is_state(first: Step | None) -> bool:
    """Whether the observation shows the feedback state first; assumed where there is no step to look at."""
    if first is None:
        return True
    own = first.observation.state
    return own.shape == first.state.shape and bool(torch.equal(own.to(first.state), first.state))


def _rate(environment: Environment) -> float | None:
    """Time step of an environment [s]; `None` if its simulator does not tell."""
    return environment.dt if getattr(environment, "rate_known", True) else None
