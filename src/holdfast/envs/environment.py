"""The one protocol of everything that a policy is run in: many episodes of a simulator or system, stepped together.

    step = environment.reset([0, 1, 2])                   # one episode per seed, or per row of initial states [b, n]
    while not step.over.all():
        step = environment.step(policy.act(step.observation, step.state))

An environment of your own is a subclass of `Environment` that sets `name`, `dt`, `steps` and `n_actions` and defines
`reset` and `step`; everything else has a default. `gym` wraps gymnasium's environments, `SystemEnvironment` a control
`System`. An environment whose dynamics are known may also have the method `following` of `policy.realtime.Rolls`, from
which `evaluate --realtime forward` predicts the state at which a plan arrives.
"""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, UInt8
from numpy import ndarray
from torch import Tensor

from ..errors import RecipeError, ShapeError
from ..types import Observation

Starts = Sequence[int] | Tensor
"""Where episodes begin: one seed per episode, or one simulator state per episode, `[b, n]`."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """Result of one control step of a batch of episodes; `reset` returns one too, with zero rewards.

    An episode that is over stands still: its later steps repeat its last observation, with reward 0.

    Attributes:
        observation: Observation for the policy.
        state: State for the feedback of primitive controllers; equals the observation in fully observed systems.
        reward: Reward of this step.
        terminated: Episodes that have ended by themselves, in this step or before: solved or failed.
        truncated: Episodes that have reached the time limit.
        success: Episodes that are solved as of this step; `None` if the environment does not define it. A rollout
            counts an episode as solved if it was so at any of its steps.
        lost: Episodes whose simulation left its limits and was stopped there; `None` if that cannot happen.
        action: Action that was executed, if it differs from the one given.
        extra: Further measurements, one number per episode, as of this step.
        simulator_state: State of the simulator as of this step, to be recorded with the observation; `None` if it is
            not recorded.
    """

    observation: Observation
    state: Float[Tensor, "b n"]
    reward: Float[Tensor, " b"]
    terminated: Bool[Tensor, " b"]
    truncated: Bool[Tensor, " b"]
    success: Bool[Tensor, " b"] | None = None
    lost: Bool[Tensor, " b"] | None = None
    action: Float[Tensor, "b m"] | None = None
    extra: Mapping[str, Float[Tensor, " b"]] = field(default_factory=lambda: dict[str, Tensor]())
    simulator_state: Float[Tensor, "b s"] | None = None

    def __post_init__(self) -> None:
        for name in ("state", "reward", "terminated", "truncated"):
            value: object = getattr(self, name)
            if not isinstance(value, Tensor) or value.shape[:1] != self.state.shape[:1]:
                shape = f"shape {list(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
                raise ShapeError(f"expected {name} of a Step as a tensor with one entry per episode, got {shape}.")

    @property
    def over(self) -> Bool[Tensor, " b"]:
        """Episodes that are over."""
        return self.terminated | self.truncated

    @staticmethod
    def first(observation: Observation, state: Float[Tensor, "b n"]) -> "Step":
        """The first step of every episode: an observation, no reward yet.

        Raises:
            ShapeError: The state is not a tensor with one row per episode.
        """
        if not isinstance(state, Tensor) or state.dim() != 2:  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ShapeError(f"expected the state of a Step as a tensor [episodes, coordinates], got {state!r:.60}.")
        none = torch.zeros(len(state), dtype=torch.bool, device=state.device)
        return Step(
            observation=observation, state=state, reward=state.new_zeros(len(state)), terminated=none, truncated=none
        )


@runtime_checkable
class Environment(Protocol):
    """A batch of episodes of one task.

    Attributes:
        name: Name in data sets and recipes.
        dt: Seconds per control step [s].
        steps: Time limit of an episode in control steps.
        n_actions: Number of action coordinates.
        names: Coordinate names by quantity (`action`, `state`, `observation.state`, …), as in `Episodes.names`.
        units: Coordinate units by quantity, in the same form.
        action_bounds: Smallest and largest action `[m]`; `None` if actions are unbounded.
        n_modes: Number of ways to solve the task, reported as `extra["mode"]`; `None` if they are not counted.
        fixed_length: Whether all episodes last `steps` control steps; rollouts are then padded to that length.
        restorable: Whether `get_state`, `set_state` and `reset(states)` work.
    """

    name: str
    dt: float
    steps: int
    n_actions: int
    names: Mapping[str, tuple[str, ...]] = MappingProxyType({})
    units: Mapping[str, tuple[str, ...]] = MappingProxyType({})
    action_bounds: tuple[Tensor, Tensor] | None = None
    n_modes: int | None = None
    fixed_length: bool = False
    restorable: bool = False

    @abstractmethod
    def reset(self, starts: Starts) -> Step:
        """Begin one episode per seed or per simulator state; the same seed begins the same episode."""

    @abstractmethod
    def step(self, actions: Float[Tensor, "b m"]) -> Step:
        """Advance all episodes that are not over by one control step."""

    def get_state(self) -> Float[Tensor, "b s"]:
        """Simulator states from which `set_state` continues exactly.

        Raises:
            RecipeError: The simulator cannot restore states.
        """
        raise RecipeError(f"{self.name} cannot save or restore simulator states. Give seeds instead of states.")

    def set_state(self, states: Float[Tensor, "b s"]) -> Step:
        """Move running episodes to the given simulator states.

        Raises:
            RecipeError: The simulator cannot restore states.
        """
        raise RecipeError(f"{self.name} cannot save or restore simulator states. Give seeds instead of states.")

    def render(self) -> UInt8[ndarray, "b height width 3"]:
        """One picture per episode, uint8 `[b, height, width, 3]`.

        Raises:
            RecipeError: The environment cannot render.
        """
        raise RecipeError(f"{self.name} cannot render.")

    def close(self) -> None:
        """Release the simulators' resources."""


@runtime_checkable
class Recognizes(Protocol):
    """An environment that tells from a simulator state alone whether the task is solved."""

    def solved_here(self) -> Bool[Tensor, " b"]:
        """Whether the present state of each episode solves its task."""
        ...


def is_states(starts: Starts) -> bool:
    """Whether episodes begin at simulator states rather than from seeds."""
    return isinstance(starts, Tensor) and starts.is_floating_point()
