"""An environment whose pictures are replaced by features that a function finds in them.

(readings, pictures)  ──function──►  (readings, environment_state = features)  ──►  policy of states
"""

from dataclasses import replace
from types import MappingProxyType

from ..data.picture_features import QUANTITY, FeatureWindow, PictureFeatures
from .environment import Environment, Starts, Step
from .wrapped import Wrapped, with_only_camera


class Featured(Wrapped):
    """Episodes of an environment in which features of pictures take the place of what its simulator knows.

    Args:
        inner: Environment that shows pictures.
        features: Features of its pictures.
    """

    def __init__(self, inner: Environment, features: PictureFeatures) -> None:
        super().__init__(inner)
        self._window = FeatureWindow(features)
        self.names = MappingProxyType({**inner.names, QUANTITY: features.names})
        self.units = MappingProxyType({name: unit for name, unit in inner.units.items() if name != QUANTITY})

    def reset(self, starts: Starts) -> Step:
        """Begin one episode per seed or simulator state."""
        self._window.reset()
        return super().reset(starts)

    def shown(self, step: Step) -> Step:
        """A step with the features of its pictures.

        Raises:
            InterfaceError: The environment does not show the cameras that the features need.
        """
        observation = with_only_camera(step.observation, self._window.features.cameras)
        seen = self._window.observed(observation)
        return replace(step, observation=replace(seen, images=step.observation.images))
