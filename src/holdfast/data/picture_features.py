"""Features of pictures by a function, such as keypoints or optical flow, as coordinates of the observation.

    pictures of the last s steps ──function──► features [k] ──► observation.environment_state

Any policy of states can then be trained on them, with HINT's noise on the features like on all other coordinates.
"""

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from numpy.typing import NDArray
from torch import Tensor

from ..errors import DataError, InterfaceError, ShapeError, at_least
from ..types import Episodes, Observation
from .windows import Windows

QUANTITY = "observation.environment_state"

Function = Callable[[Mapping[str, NDArray[np.uint8]]], Any]
"""Pictures by camera `[b, s, height, width, channels]`, oldest first → features `[b, k]`."""


@dataclass(frozen=True, kw_only=True)
class PictureFeatures:
    """Features of pictures by a function.

    The function gets NumPy arrays of bytes, one for each camera, for a batch of any size, and returns one row of
    numbers for each entry; rows must not depend on one another. At the beginning of an episode its first picture is
    repeated.

    Attributes:
        function: The function.
        names: Names of the features, in order.
        cameras: Cameras whose pictures it gets.
        steps: Number of last steps whose pictures it gets: 1 for what one picture shows, 2 or more for motion.
        batch: Number of windows at once, when features of a data set are computed.

    Raises:
        DataError: No function, or names that are none or equal.
        RecipeError: No steps, or an empty batch.
    """

    function: Function
    names: tuple[str, ...]
    cameras: tuple[str, ...]
    steps: int = 1
    batch: int = 64

    def __post_init__(self) -> None:
        at_least(1, steps=self.steps, batch=self.batch)
        if not callable(self.function):
            raise DataError(f"expected a function of pictures, got {type(self.function).__name__}.")
        for what, given in (("features", self.names), ("cameras", self.cameras)):
            if isinstance(given, str) or not given or len({*given}) != len(given):
                raise DataError(
                    f"expected names of the {what}, a tuple of one or more different texts, got {given!r:.80}."
                )

    def of(self, windows: Mapping[str, UInt8[Tensor, "b s height width channels"]]) -> Float[Tensor, "b k"]:
        """Features of windows of pictures.

        Raises:
            ShapeError: The function returned other than one row of as many numbers as there are names.
            DataError: It returned numbers that are not finite, or no numbers.
        """
        count = len(windows[self.cameras[0]])
        given = self.function({camera: windows[camera].cpu().numpy() for camera in self.cameras})
        try:
            found = torch.as_tensor(np.asarray(given, dtype=np.float64))
        except (TypeError, ValueError) as error:
            raise DataError(f"the function of the features returned no array of numbers: {error}") from error
        if found.shape != (count, len(self.names)):
            raise ShapeError(
                f"expected the function to return features of shape {[count, len(self.names)]}, one row for each entry "
                f"of the batch and one number for each of {', '.join(self.names)}, got {list(found.shape)}."
            )
        if not bool(found.isfinite().all()):
            raise DataError("the function of the features returned numbers that are not finite.")
        return found

    def added_to(self, episodes: Episodes) -> Episodes:
        """Demonstrations whose `environment_state` is the features of their pictures.

        What a simulator knew of the environment is dropped, because the policy will not know it.

        Raises:
            DataError: A camera is missing, or a row of features is not finite.
            ShapeError: The function returned features of another shape.
        """
        if missing := [camera for camera in self.cameras if camera not in episodes.cameras]:
            raise DataError(
                f"expected the cameras {', '.join(self.cameras)}, but the data have no {', '.join(missing)}; they have "
                f"{', '.join(episodes.cameras) or 'no cameras'}."
            )
        windows, parts = Windows(lengths=episodes.lengths, n_obs_steps=self.steps, horizon=1), list[Tensor]()
        count = len(episodes.actions)
        for first in range(0, count, self.batch):
            rows = windows.observation_rows(torch.arange(first, min(first + self.batch, count)))
            pictures = {camera: episodes.cameras[camera].read(rows.flatten()) for camera in self.cameras}
            parts.append(self.of({camera: one.view(*rows.shape, *one.shape[1:]) for camera, one in pictures.items()}))
        features, own = torch.cat(parts), episodes.observed
        return replace(
            episodes,
            observations=replace(own, environment_state=features.to(own.state)),
            names={**episodes.names, QUANTITY: self.names},
        )


class FeatureWindow:
    """Features of the pictures of running episodes, as they come.

    Args:
        features: Features to compute from the pictures of each step.
    """

    def __init__(self, features: PictureFeatures) -> None:
        self.features = features
        self._past: deque[dict[str, Tensor]] = deque(maxlen=features.steps)

    def reset(self) -> None:
        """Start new episodes."""
        self._past.clear()

    def observed(self, observation: Observation) -> Observation:
        """Observations with the features in place of `environment_state`.

        Args:
            observation: `Observation` of one step of one episode `[n]`, or of a batch of episodes `[b, n]`.

        Raises:
            InterfaceError: A camera is missing.
            ShapeError: The function returned features of another shape, or there are other pictures than before.
            DataError: A feature is not finite.
        """
        if not isinstance(observation, Observation):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise DataError(f"expected a holdfast.Observation with state and images, got {type(observation).__name__}.")
        if observation.state.dim() == 1:
            return self.observed(observation.map(lambda values: values[None])).map(lambda values: values[0])
        wanted = self.features.cameras
        if missing := [camera for camera in wanted if camera not in observation.images]:
            raise InterfaceError(
                f"the features need pictures of the cameras {', '.join(wanted)}, but the observation has none of "
                f"{', '.join(missing)}; it has {', '.join(observation.images) or 'no pictures'}."
            )
        shown = {camera: observation.images[camera] for camera in wanted}
        if self._past and any(self._past[-1][camera].shape != shown[camera].shape for camera in wanted):
            raise ShapeError("the pictures have another shape than before. Call reset() before other episodes.")
        self._past.append(shown)
        past = [self._past[0]] * (self.features.steps - len(self._past)) + list(self._past)
        windows = {camera: torch.stack([one[camera] for one in past], dim=1) for camera in wanted}
        return replace(observation, environment_state=self.features.of(windows).to(observation.state))
