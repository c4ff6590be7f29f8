"""Estimators: the coordinates of an observation that pictures show, for policies that see no pictures.

    y_t = E(pictures_t),      o_t = [readings of the robot, y_t]  ──►  policy

An estimator is a trained policy of one step whose actions are the coordinates (`train --estimate`).
"""

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ..errors import RecipeError
from ..types import Observation
from .interface import Coordinates
from .pretrained import Policy


class Estimator:
    """Coordinates of the observation, estimated from pictures.

    Args:
        policy: Trained policy of one step whose actions are the coordinates.

    Raises:
        RecipeError: The policy plans several steps, or sees no pictures.
    """

    def __init__(self, policy: Policy) -> None:
        if policy.spec.vision is None or policy.spec.horizon != 1:
            raise RecipeError(
                "expected an estimator, which gives one vector of coordinates for the pictures of one step, got a "
                f"policy that plans {policy.spec.horizon} steps. Train one with: holdfast train DATA --images CAMERA "
                "--estimate KEY --out EST."
            )
        self.policy = policy

    @property
    def cameras(self) -> tuple[str, ...]:
        """Names of the cameras that the estimator sees."""
        vision = self.policy.spec.vision
        return () if vision is None else vision.cameras

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the estimated coordinates; empty if they have none."""
        interface = self.policy.interface
        return () if interface is None else interface.action.names or ()

    @property
    def coordinates(self) -> Coordinates | None:
        """Names and ranges of the estimated coordinates in the training data, if they are known."""
        interface = self.policy.interface
        return None if interface is None else interface.action

    @torch.no_grad()
    def estimate(self, observation: Observation | Mapping[Any, Any]) -> Float[Tensor, "*b k"]:
        """Estimated coordinates `[k]` or `[b, k]`, in the data's units.

        Args:
            observation: Pictures, and the robot's readings if the estimator sees them, as `Policy.select_action` takes
                them.

        Raises:
            InterfaceError: A camera is missing.
            ShapeError: Pictures of another size than in training.
            DataError: Pictures of other numbers than bytes.
        """
        return self.policy.predict_action_chunk(observation)[..., 0, :]

    def observed(self, observation: Observation) -> Observation:
        """The observation with the estimated coordinates as its `environment_state`."""
        found = self.estimate(observation).to(observation.state)
        return Observation(
            state=observation.state, environment_state=found, images=observation.images, task=observation.task
        )
