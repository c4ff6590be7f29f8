"""An environment whose pictures are replaced by what an estimator finds in them.

(readings, pictures)  ──estimator──►  (readings, environment_state = estimates)  ──►  policy of states
"""

from dataclasses import replace
from types import MappingProxyType

from ..errors import InterfaceError
from ..policy import Estimator
from ..types import Observation
from .environment import Environment, Step
from .wrapped import Wrapped, with_only_camera

QUANTITY = "observation.environment_state"


class Estimated(Wrapped):
    """Episodes of an environment in which estimated coordinates take the place of what its simulator knows.

    Names that the estimator has replace equal ones of the environment's own readings.

    Args:
        inner: Environment that shows pictures.
        estimator: Estimator of coordinates of the observation.
    """

    def __init__(self, inner: Environment, estimator: Estimator) -> None:
        super().__init__(inner)
        self.estimator = estimator
        own = inner.names.get("observation.state") or inner.names.get("state", ())
        self._kept = [index for index, name in enumerate(own) if name not in estimator.names]
        self._all = len(self._kept) == len(own)
        names = {**inner.names, QUANTITY: estimator.names}
        units = {name: unit for name, unit in inner.units.items() if name != QUANTITY}
        if own and not self._all:
            names |= {"observation.state": tuple(own[index] for index in self._kept)}
            units.pop("observation.state", None)
        self.names, self.units = MappingProxyType(names), MappingProxyType(units)

    def shown(self, step: Step) -> Step:
        """A step with the estimates of its pictures.

        Raises:
            InterfaceError: The environment does not show the cameras that the estimator sees.
        """
        observation = self._renamed(step.observation)
        seen = self.estimator.observed(observation)
        own = seen.state if self._all else seen.state[..., self._kept]
        return replace(step, observation=replace(seen, state=own, images=step.observation.images))

    def _renamed(self, observation: Observation) -> Observation:
        """The observation with its only camera under the name that the estimator has for it."""
        wanted = self.estimator.cameras
        observation = with_only_camera(observation, wanted)
        shown = observation.images
        if missing := [camera for camera in wanted if camera not in shown]:
            raise InterfaceError(
                f"the estimator sees pictures of the cameras {', '.join(wanted)}, but {self.name} does not show "
                f"{', '.join(missing)}; it shows {', '.join(shown) or 'no pictures'}. Run it in an environment with "
                "pictures (pusht-pixels, or gym:<id> with pictures among its observations)."
            )
        return observation
