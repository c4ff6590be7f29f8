"""Who acts in a rollout: policies, plain functions, delayed policies, and others that take over."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..errors import RecipeError, ShapeError
from ..types import Observation
from .environment import Step

POLICY, EXPERT, PERSON = 0, 1, 2
"""Values of `Intervention.actor` and of the recorded column `intervention`."""


@runtime_checkable
class Actor(Protocol):
    """Anything that chooses actions for a batch of episodes stepped together."""

    def reset(self, seed: int | None = None) -> None:
        """Begin a batch of episodes; called once before a rollout."""
        ...

    def act(self, observation: Observation, state: Tensor) -> Tensor:
        """Actions `[b, m]` for observations and feedback states `[b, ·]`."""
        ...


@dataclass(frozen=True)
class Intervention:
    """Who acts in one control step.

    Attributes:
        actor: `POLICY`, `EXPERT` or `PERSON` for each episode.
        action: Their actions; rows of `POLICY` are ignored.
    """

    actor: Int[Tensor, " b"]
    action: Float[Tensor, "b m"]


def taken_over(chosen: Float[Tensor, "b m"], other: object) -> Float[Tensor, "b m"]:
    """The actions of a step in which others act in some episodes.

    Raises:
        RecipeError: It is no `Intervention`, or it names an unknown actor.
        ShapeError: It has another number of episodes or action coordinates.
    """
    if not isinstance(other, Intervention):
        raise RecipeError(f"expected intervene to return an Intervention or None, got {type(other).__name__}.")
    shapes = tuple(other.actor.shape), tuple(other.action.shape)
    if shapes != ((len(chosen),), tuple(chosen.shape)):
        raise ShapeError(
            f"expected an Intervention with actor {(len(chosen),)} and action {tuple(chosen.shape)}, got {shapes[0]} "
            f"and {shapes[1]}."
        )
    if not bool(((other.actor >= POLICY) & (other.actor <= PERSON)).all()):
        raise RecipeError(f"expected actors {POLICY} (policy), {EXPERT} (expert) or {PERSON} (person).")
    return torch.where((other.actor > POLICY)[:, None], other.action.to(chosen), chosen)


Intervene = Callable[[int, Step, Tensor], Intervention | None]
"""(control step, current observation and state, the policy's actions) → who acts instead, or `None` for nobody."""


class PlainPolicy:
    """A function `observation → action` as a policy, for example a policy of another library.

    Args:
        function: Maps one observation `[d]` (state, then environment state) as a NumPy array to an action `[m]`; with
            `batched`, all observations `[b, d]` to actions `[b, m]`. The action may be anything array-like.
        batched: Whether the function takes all episodes at once. A function with memory must be batched and keep one
            memory per episode.
        on_reset: Called with the seed before every batch of episodes.

    >>> policy = PlainPolicy(lambda observation: -0.5 * observation[:1])
    >>> policy.act(Observation(state=torch.tensor([[2.0, 0.0], [4.0, 0.0]])), torch.zeros(2, 2))
    tensor([[-1.], [-2.]])
    """

    def __init__(
        self,
        function: Callable[[Any], Any],
        *,
        batched: bool = False,
        on_reset: Callable[[int | None], None] = lambda seed: None,
    ) -> None:
        self.function = function
        self.batched = batched
        self.on_reset = on_reset

    def reset(self, seed: int | None = None) -> None:
        """Begin a batch of episodes."""
        self.on_reset(seed)

    def act(self, observation: Observation, state: Float[Tensor, "b n"]) -> Float[Tensor, "b m"]:
        """The function's action for each observation.

        Raises:
            ShapeError: The function did not return one action per episode.
        """
        vector = observation.vector
        inputs = vector.detach().cpu().numpy().copy()
        outputs = self.function(inputs) if self.batched else [self.function(row) for row in inputs]
        actions = torch.stack([torch.as_tensor(row) for row in outputs]).to(vector)
        if actions.dim() != 2 or len(actions) != len(vector):
            raise ShapeError(
                f"expected one action [m] for each of {len(vector)} observations, got an array of shape "
                f"{list(actions.shape)}. A function of all observations at once needs batched=True."
            )
        return actions


@dataclass
class Delayed:
    """Every action is executed `steps` control steps after it was chosen; the first one is held until then."""

    policy: Actor
    steps: int
    pending: deque[Tensor] = field(default_factory=lambda: deque[Tensor]())

    def reset(self, seed: int | None = None) -> None:
        """Begin a batch of episodes."""
        self.policy.reset(seed)
        self.pending.clear()

    def act(self, observation: Observation, state: Float[Tensor, "b n"]) -> Float[Tensor, "b m"]:
        """The action chosen `steps` control steps ago."""
        self.pending.append(self.policy.act(observation, state).clone())
        return self.pending.popleft() if len(self.pending) > self.steps else self.pending[0]
