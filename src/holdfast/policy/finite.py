"""No number that is not finite leaves a policy.

    observation, state ──finite?──► policy ──finite?──► action
                          │ no                │ no
                          └── "raise": ActionError, DataError;  "hold": the last finite action of that episode ──►

The boundary is where a user's program receives numbers: `Policy.select_action`, `Policy.act`,
`Policy.predict_controllers` and `Policy.predict_action_chunk`. A simulated rollout is inside: many episodes share a
batch, and one that diverges must not end the others. Within `episodes_may_be_lost`, which `envs.rollout` enters, a
policy that would raise therefore hands out the number as it is; the rollout counts that episode as lost and never
passes the number to the environment.
"""

import math
import warnings
from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Literal, Protocol, runtime_checkable

import torch
from jaxtyping import Bool
from torch import Tensor

from ..errors import ActionError, DataError, HeldWarning
from ..types import Observation, PrimitiveControllers

_MAY_BE_LOST = ContextVar("_MAY_BE_LOST", default=False)


@contextmanager
def episodes_may_be_lost() -> Generator[None, None, None]:
    """Context of a simulated rollout, which checks actions itself, episode by episode."""
    before = _MAY_BE_LOST.set(True)
    try:
        yield
    finally:
        _MAY_BE_LOST.reset(before)


@runtime_checkable
class Acting(Protocol):
    """Executor of plans."""

    def reset(self, seed: int | None = None) -> None:
        """Start a new episode."""
        ...

    def act(self, observation: Observation, state: Tensor) -> Tensor:
        """Next actions `[b, m]`."""
        ...


class Guarded:
    """Executor that hands out finite actions only.

    Args:
        acting: Executor.
        on_nonfinite: "raise" or "hold"; see `Execution`.
    """

    def __init__(self, acting: Acting, on_nonfinite: Literal["raise", "hold"]) -> None:
        self.acting = acting
        self.holds = on_nonfinite == "hold"
        self._forget()

    def reset(self, seed: int | None = None) -> None:
        """Start a new episode."""
        self.acting.reset(seed)
        self._forget()

    def act(self, observation: Observation, state: Tensor) -> Tensor:
        """Next action of each episode, finite.

        Raises:
            DataError: An observation or a state is not finite, and there is no action to hold.
            ActionError: An action is not finite, and there is no action to hold.
        """
        if not self.holds:
            if not _MAY_BE_LOST.get():
                check_finite(observation, state)
            return finite_action(self.acting.act(observation, state))
        return self._held(observation, state)

    def _forget(self) -> None:
        self.last: tuple[Observation, Tensor, Tensor] | None = None
        self.said = False

    def _held(self, observation: Observation, state: Tensor) -> Tensor:
        """Next actions, with the last ones in the rows where a number is not finite."""
        bad = _rows(observation, state)
        if self.last is None:
            if not _MAY_BE_LOST.get():
                check_finite(observation, state)
            action = finite_action(self.acting.act(observation, state))
        else:
            observation, state = self._mended(bad, observation, state)
            action = self.acting.act(observation, state)
            bad = bad | ~action.isfinite().all(-1)
            action = torch.where(bad[:, None], self.last[2].to(action), action)
        self._say(bad)
        self.last = observation, state, action.clone()
        return action

    def _mended(self, bad: Bool[Tensor, " b"], observation: Observation, state: Tensor) -> tuple[Observation, Tensor]:
        """Observations and states with the last finite ones in bad rows, so that the window stays finite."""
        if self.last is None or not bool(bad.any()) or self.last[1].shape != state.shape:
            return observation, state  # the executor refuses another number of episodes
        seen, fed_back, _ = self.last
        before = seen.vector.to(observation.vector)
        mended = observation.with_vector(torch.where(bad[:, None], before, observation.vector))
        return mended, torch.where(bad[:, None], fed_back.to(state), state)

    def _say(self, bad: Bool[Tensor, " b"]) -> None:
        if not self.said and bool(bad.any()):
            self.said = True
            warnings.warn(
                f"a number is not finite in {int(bad.sum())} of {len(bad)} episodes: the policy repeats its last "
                "action there. It says so once per episode.",
                HeldWarning,
                stacklevel=5,
            )


def check_finite(observation: Observation, state: Tensor) -> None:
    """Refuse observations and feedback states that are not finite.

    Raises:
        DataError: A coordinate is not finite.
    """
    environment = observation.environment_state
    if not is_finite(observation.state) or (environment is not None and not is_finite(environment)):
        raise DataError(_sentence("the observation", observation.vector))
    if state is not observation.state and not is_finite(state):
        raise DataError(_sentence("the feedback state", state))


def finite_action(action: Tensor) -> Tensor:
    """The action; a rollout is handed any.

    Raises:
        ActionError: A coordinate is not finite.
    """
    if not is_finite(action) and not _MAY_BE_LOST.get():
        raise ActionError(
            f"the action would hold {_first(action)}: it was not handed out. The observation may be far from all "
            "demonstrations, or the weights are of no use: holdfast diagnose RUN says more. To repeat the last finite "
            "action instead, load the policy with on_nonfinite='hold'."
        )
    return action


def finite_controllers(controllers: PrimitiveControllers) -> PrimitiveControllers:
    """The controllers.

    Raises:
        ActionError: A reference action, a reference state or a gain is not finite.
    """
    for values in (controllers.actions, controllers.states, controllers.gains):
        finite_action(values)
    return controllers


def is_finite(values: Tensor) -> bool:
    """Whether all values are finite.

    >>> is_finite(torch.tensor([1.0, -2.0])), is_finite(torch.tensor([1.0, float("nan")]))
    (True, False)
    """
    # one sum costs a third of the test of each number, and is finite unless the numbers are huge
    return math.isfinite(values.sum().item()) or bool(values.isfinite().all())


def _rows(observation: Observation, state: Tensor) -> Bool[Tensor, " b"]:
    """Rows that hold a number that is not finite."""
    return ~(observation.vector.isfinite().all(-1) & state.isfinite().all(-1))


def _sentence(what: str, values: Tensor) -> str:
    return f"{what} holds {_first(values)}. Check the sensor or the reader; the policy cannot act on it."


def _first(values: Tensor) -> str:
    """The first value that is not finite, and its coordinate."""
    place = (~values.isfinite()).nonzero()[0]
    return f"{float(values[tuple(place)])} at coordinate {int(place[-1])}"
