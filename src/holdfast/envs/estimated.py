"""An environment whose pictures are replaced by what an estimator finds in them.

(readings, pictures)  ──estimator──►  (readings, environment_state = estimates)  ──►  policy of states
"""

from dataclasses import replace
from types import MappingProxyType

from jaxtyping import Float, UInt8
from numpy import ndarray
from torch import Tensor

from ..errors import InterfaceError
from ..policy import Estimator
from ..types import Observation
from .environment import Environment, Starts, Step

QUANTITY = "observation.environment_state"


class Estimated(Environment):
    """Episodes of an environment in which estimated coordinates take the place of what its simulator knows.

    Names that the estimator has replace equal ones of the environment's own readings.

    Args:
        inner: Environment that shows pictures.
        estimator: Estimator of coordinates of the observation.
    """

    def __init__(self, inner: Environment, estimator: Estimator) -> None:
        self.inner, self.estimator = inner, estimator
        self.name, self.dt, self.steps, self.n_actions = inner.name, inner.dt, inner.steps, inner.n_actions
        self.action_bounds, self.n_modes = inner.action_bounds, inner.n_modes
        self.fixed_length, self.restorable = inner.fixed_length, inner.restorable
        own = inner.names.get("observation.state") or inner.names.get("state", ())
        self._kept = [index for index, name in enumerate(own) if name not in estimator.names]
        self._all = len(self._kept) == len(own)
        names = {**inner.names, QUANTITY: estimator.names}
        units = {name: unit for name, unit in inner.units.items() if name != QUANTITY}
        if own and not self._all:
            names |= {"observation.state": tuple(own[index] for index in self._kept)}
            units.pop("observation.state", None)
        self.names, self.units = MappingProxyType(names), MappingProxyType(units)

    def reset(self, starts: Starts) -> Step:
        """Begin one episode per seed or simulator state.

        Raises:
            InterfaceError: The environment does not show the cameras that the estimator sees.
        """
        return self._seen(self.inner.reset(starts))

    def step(self, actions: Float[Tensor, "b m"]) -> Step:
        """One control step of all episodes that are not over."""
        return self._seen(self.inner.step(actions))

    def get_state(self) -> Float[Tensor, "b s"]:
        """Simulator states of the environment."""
        return self.inner.get_state()

    def set_state(self, states: Float[Tensor, "b s"]) -> Step:
        """Move running episodes to the given simulator states."""
        return self._seen(self.inner.set_state(states))

    def render(self) -> UInt8[ndarray, "b height width 3"]:
        """One picture per episode."""
        return self.inner.render()

    def close(self) -> None:
        """Release the simulators' resources."""
        self.inner.close()

    def _seen(self, step: Step) -> Step:
        observation = self._renamed(step.observation)
        seen = self.estimator.observed(observation)
        own = seen.state if self._all else seen.state[..., self._kept]
        return replace(step, observation=replace(seen, state=own, images=step.observation.images))

    def _renamed(self, observation: Observation) -> Observation:
        """The observation with its only camera under the name that the estimator has for it."""
        wanted, shown = self.estimator.cameras, observation.images
        if len(wanted) == 1 == len(shown):
            return replace(observation, images=dict(zip(wanted, shown.values(), strict=True)))
        if missing := [camera for camera in wanted if camera not in shown]:
            raise InterfaceError(
                f"the estimator sees pictures of the cameras {', '.join(wanted)}, but {self.name} does not show "
                f"{', '.join(missing)}; it shows {', '.join(shown) or 'no pictures'}. Run it in an environment with "
                "pictures (pusht-pixels, or gym:<id> with pictures among its observations)."
            )
        return observation


def unwrapped(environment: Environment) -> Environment:
    """The environment itself, without an estimator around it."""
    return environment.inner if isinstance(environment, Estimated) else environment
