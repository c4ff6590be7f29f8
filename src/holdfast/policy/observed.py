"""From what a robot's program has at hand to the observation of a policy, or a sentence why not.

Numbers are copied: a program may read its next measurement into the same array while the policy still remembers it.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from ..data import feeds_back
from ..errors import InterfaceError, ShapeError
from ..types import Observation
from .base import PolicySpec
from .instructions import task_in
from .interface import PolicyInterface
from .named_observation import by_name, is_named
from .real_numbers import as_numbers, check_plain
from .seen_pictures import check_pictures, pictures_in, resized_pictures

ObservationLike = Observation | Mapping[Any, Any] | Tensor | NDArray[Any] | Sequence[Any]


def as_observation(value: ObservationLike, spec: PolicySpec, interface: PolicyInterface | None = None) -> Observation:
    """The observation `[n]` or `[b, n]` of a policy, with the pictures that it sees.

    Args:
        value: An `Observation`, a mapping with LeRobot's keys, a mapping of named quantities (`named_observation`), or
            an array.
        spec: Specification of the policy.
        interface: Names that the policy was trained on, for named quantities.

    Raises:
        ShapeError: A shape is another one than in training, or there is no `observation.state` and no name is known.
        InterfaceError: A named coordinate is missing.
        DataError: A value is not a real number.

    A policy of pictures that sees no readings (`Vision.readings`) needs none.
    """
    if _without_readings(value, spec):
        return _of_pictures(value, spec)
    state, environment = _parts(value, interface)
    state = as_numbers(state, "observation.state")
    environment = None if environment is None else as_numbers(environment, "observation.environment_state")
    _check_shapes(state, environment, spec, axes=(1, 2))
    pictures = pictures_in(value, spec.vision, episodes=state.shape[:-1])
    task = _task(value, spec, state.shape[:-1])
    return Observation(state=state, environment_state=environment, images=pictures, task=task)


def _without_readings(value: ObservationLike, spec: PolicySpec) -> bool:
    """Whether a policy that sees no readings was given none."""
    blind = spec.vision is not None and spec.vision.readings == "none"
    return blind and isinstance(value, Mapping) and "observation.state" not in value


def _of_pictures(value: ObservationLike, spec: PolicySpec) -> Observation:
    """Pictures alone, with zeros in place of the readings, which are not seen."""
    pictures = pictures_in(value, spec.vision)
    episodes = next(iter(pictures.values())).shape[:-3]
    nothing = torch.zeros(*episodes, spec.n_observed, dtype=torch.float64)
    return Observation(state=nothing, images=pictures, task=_task(value, spec, episodes))


def _task(value: ObservationLike, spec: PolicySpec, episodes: Sequence[int]) -> tuple[str, ...] | None:
    if isinstance(value, Observation):
        return value.task
    return task_in(value, spec.language, episodes) if isinstance(value, Mapping) else None


def feedback_state(state: Any, observation: ObservationLike, seen: Observation, spec: PolicySpec) -> Tensor:
    """The state that primitive controllers feed back: the given one, else `observation.state`.

    Args:
        state: Feedback state, or `None`.
        observation: The observation as it was given.
        seen: The same as an `Observation`.
        spec: Specification of the policy.

    Raises:
        InterfaceError: Gains feed back a state, but neither it nor `observation.state` was given.
        ShapeError: The shape is another one than in training.
        DataError: The state is no dense tensor of real numbers.
    """
    if state is None and _without_readings(observation, spec):
        if feeds_back(spec.codec):
            raise InterfaceError(
                f"the policy feeds back a state of {spec.n_states} numbers, but was given pictures only. Give state=…, "
                "or observation.state."
            )
        return seen.state.new_zeros(*seen.state.shape[:-1], spec.n_states)
    found = seen.state if state is None else as_numbers(state, "state")
    check_state(found, seen, spec)
    return found


def remembered(observation: Observation, spec: PolicySpec) -> Observation:
    """What a window keeps: the vector of readings, however they are divided, and the pictures that are encoded."""
    if spec.vision is not None:
        images = resized_pictures(observation, spec.vision)
        return Observation(state=observation.vector, images=images, task=observation.task)
    if observation.environment_state is None and not observation.images:
        return observation
    return Observation(state=observation.vector, task=observation.task)


def _parts(value: ObservationLike, interface: PolicyInterface | None) -> tuple[Any, Any]:
    """State and environment state of an observation in any form."""
    if isinstance(value, Observation):
        return value.state, value.environment_state
    if not isinstance(value, Mapping):
        return value, None
    if not is_named(value):
        return value["observation.state"], value.get("observation.environment_state")
    if interface is None or interface.observation.names is None:
        held = ", ".join(sorted(map(str, value)))
        raise ShapeError(
            f"expected the key 'observation.state', got {held or 'none'}. The policy was trained on data without names."
        )
    vector, own = by_name(value, interface.observation.names), interface.n_robot
    return vector[..., :own], vector[..., own:] if own < vector.shape[-1] else None


def check_observation(observation: Observation, spec: PolicySpec) -> None:
    """Refuse observations that are not `[b, n]` of the trained size.

    Raises:
        ShapeError: An axis too many or too few, no episodes, or another number of coordinates.
        DataError: The observation is no dense tensor of real numbers.
    """
    check_plain(observation.state, "observation.state")
    if observation.environment_state is not None:
        check_plain(observation.environment_state, "observation.environment_state")
    _check_shapes(observation.state, observation.environment_state, spec, axes=(2,))
    check_pictures(observation, spec.vision)


def _check_shapes(state: Tensor, environment: Tensor | None, spec: PolicySpec, *, axes: tuple[int, ...]) -> None:
    shape = state.shape
    width = shape[-1] if shape else 0
    if environment is not None:
        if environment.shape[:-1] != shape[:-1]:
            raise ShapeError(
                "expected observation.state and observation.environment_state of the same episodes, got shapes "
                f"{list(shape)} and {list(environment.shape)}."
            )
        width += environment.shape[-1]
    if len(shape) not in axes or not shape[0]:
        raise ShapeError(
            f"expected an observation [n] of one episode or [b, n] of several, got an array of shape {list(shape)}. "
            "The policy keeps the window of past observations itself."
        )
    if width != spec.n_observed:
        raise ShapeError(f"expected observations of {spec.n_observed} numbers, as in training, got {width}.")


def check_state(state: Tensor, observation: Observation, spec: PolicySpec) -> None:
    """Refuse feedback states that are not one row of the trained size for each observation.

    Raises:
        ShapeError: The shape is another one.
        DataError: The state is no dense tensor of real numbers.
    """
    check_plain(state, "state")
    expected = (*observation.state.shape[:-1], spec.n_states)
    if state.shape != expected:
        raise ShapeError(
            f"expected the feedback state as an array of shape {list(expected)}, as in training, got "
            f"{list(state.shape)}. Give state=…, where it differs from observation.state."
        )
