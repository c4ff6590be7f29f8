"""An environment with wider bounds on its actions, for a test of what clipping costs."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ..errors import RecipeError
from .environment import Environment


@contextmanager
def with_bounds(
    environment: Environment, low: Float[Tensor, " m"], high: Float[Tensor, " m"]
) -> Generator[None, None, None]:
    """Context in which an environment clips actions at wider bounds; it has its own again afterwards.

    Bounds are only widened: an end that lies beyond the given one stays. A gymnasium environment usually clips by its
    own `action_space`, so that of every instance is replaced as well. A simulator with limits of its own keeps them.

    Raises:
        RecipeError: The environment has no bounds.
    """
    own = environment.action_bounds
    if own is None:
        raise RecipeError(f"{environment.name} has no bounds on its actions to widen.")
    wide = torch.minimum(own[0], low.to(own[0])), torch.maximum(own[1], high.to(own[1]))
    # those of `Gym`; its module imports gymnasium
    simulators: list[Any] = getattr(environment, "simulators", [])
    spaces = [simulator.action_space for simulator in simulators]
    try:
        environment.action_bounds = wide
        for simulator, space in zip(simulators, spaces, strict=True):
            simulator.action_space = _space(space, wide)
        yield
    finally:
        environment.action_bounds = own
        for simulator, space in zip(simulators, spaces, strict=True):
            simulator.action_space = space


def _space(space: Any, bounds: tuple[Tensor, Tensor]) -> Any:
    low, high = (end.cpu().numpy().reshape(space.shape).astype(space.dtype) for end in bounds)
    return type(space)(low, high, dtype=space.dtype)
