"""Environments around others, which show a policy something else and are the same task otherwise."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import replace

from jaxtyping import Float, UInt8
from numpy import ndarray
from torch import Tensor

from ..types import Observation
from .drawn_depth import depth_ranges_of
from .environment import Environment, Starts, Step


class Wrapped(Environment):
    """An environment around another one; a subclass defines what it shows of each step.

    Args:
        inner: Environment whose episodes these are.
    """

    def __init__(self, inner: Environment) -> None:
        self.inner = inner
        self.name, self.dt, self.steps, self.n_actions = inner.name, inner.dt, inner.steps, inner.n_actions
        self.names, self.units = inner.names, inner.units
        self.action_bounds, self.n_modes = inner.action_bounds, inner.n_modes
        self.fixed_length, self.restorable = inner.fixed_length, inner.restorable
        self.depth_ranges = depth_ranges_of(inner)

    @abstractmethod
    def shown(self, step: Step) -> Step:
        """What a policy gets of a step of the inner environment."""

    def reset(self, starts: Starts) -> Step:
        """Begin one episode per seed or simulator state."""
        return self.shown(self.inner.reset(starts))

    def step(self, actions: Float[Tensor, "b m"]) -> Step:
        """One control step of all episodes that are not over."""
        return self.shown(self.inner.step(actions))

    def get_state(self) -> Float[Tensor, "b s"]:
        """Simulator states of the inner environment."""
        return self.inner.get_state()

    def set_state(self, states: Float[Tensor, "b s"]) -> Step:
        """Move running episodes to the given simulator states."""
        return self.shown(self.inner.set_state(states))

    def render(self) -> UInt8[ndarray, "b height width 3"]:
        """One picture per episode, as the inner environment shows it."""
        return self.inner.render()

    def close(self) -> None:
        """Release the simulators' resources."""
        self.inner.close()


def with_only_camera(observation: Observation, wanted: Sequence[str]) -> Observation:
    """The observation with its only camera under the only name that is wanted."""
    if len(wanted) == 1 == len(observation.images):
        return replace(observation, images=dict(zip(wanted, observation.images.values(), strict=True)))
    return observation


def unwrapped(environment: Environment) -> Environment:
    """The environment itself, without others around it."""
    while isinstance(environment, Wrapped):
        environment = environment.inner
    return environment
