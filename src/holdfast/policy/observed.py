"""From what a robot's program has at hand to the observation of a policy, or a sentence why not.

Numbers are copied: a program may read its next measurement into the same array while the policy still remembers it.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..errors import DataError, ShapeError
from ..types import Observation
from .base import PolicySpec

ObservationLike = Observation | Mapping[Any, Any] | Tensor | NDArray[Any] | Sequence[Any]

_HALVES = (torch.float16, torch.bfloat16)


def as_observation(value: ObservationLike, spec: PolicySpec) -> Observation:
    """The observation `[n]` or `[b, n]` of a policy, without images, which networks do not read yet.

    Args:
        value: An `Observation`, a mapping with LeRobot's keys, or an array.
        spec: Specification of the policy.

    Raises:
        ShapeError: There is no `observation.state`, or a shape is another one than in training.
        DataError: A value is not a real number.
    """
    task = None
    if isinstance(value, Observation):
        state, environment, task = value.state, value.environment_state, value.task
    elif isinstance(value, Mapping):
        if "observation.state" not in value:
            names = ", ".join(sorted(map(str, value)))
            raise ShapeError(f"expected the key 'observation.state', got {names or 'none'}.")
        state, environment = value["observation.state"], value.get("observation.environment_state")
    else:
        state, environment = value, None
    state = as_numbers(state, "observation.state")
    environment = None if environment is None else as_numbers(environment, "observation.environment_state")
    _check_shapes(state, environment, spec, axes=(1, 2))
    return Observation(state=state, environment_state=environment, task=task)


def as_numbers(values: Any, name: str) -> Tensor:
    """A copy of any array-like of real numbers, in single or double precision.

    Raises:
        DataError: The values are not real numbers, or rows have different lengths.
    """
    if isinstance(values, Tensor):
        tensor = values.detach().clone()
    else:
        try:
            tensor = torch.from_numpy(_native(np.asarray(values)))  # pyright: ignore[reportUnknownMemberType]
        except (TypeError, ValueError, RuntimeError) as error:
            raise DataError(f"expected {name} as an array of real numbers, got {values!r:.80} ({error}).") from error
    if tensor.is_complex():
        raise DataError(f"expected {name} as an array of real numbers, got complex ones.")
    if not tensor.is_floating_point():
        return tensor.double()
    # in half precision, scaling would lose what the network can use
    return tensor.float() if tensor.dtype in _HALVES else tensor


def _native(array: NDArray[Any]) -> NDArray[Any]:
    """A contiguous copy in the byte order of this machine: float32 as it is, other real numbers as float64."""
    if array.dtype.kind not in "fiub":
        raise TypeError(f"its dtype is {array.dtype}")
    exact = np.float32 if array.dtype.kind == "f" and array.dtype.itemsize <= 4 else np.float64
    return np.array(array, dtype=exact, order="C")


def check_observation(observation: Observation, spec: PolicySpec) -> None:
    """Refuse observations that are not `[b, n]` of the trained size.

    Raises:
        ShapeError: An axis too many or too few, no episodes, or another number of coordinates.
    """
    _check_shapes(observation.state, observation.environment_state, spec, axes=(2,))


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
    """
    expected = (*observation.state.shape[:-1], spec.n_states)
    if state.shape != expected:
        raise ShapeError(
            f"expected the feedback state as an array of shape {list(expected)}, as in training, got "
            f"{list(state.shape)}. Give state=…, where it differs from observation.state."
        )
