"""The interface of ways to act while the next plan is being made."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ...errors import RecipeError
from ...models import ChunkModel
from ...types import Observation, PrimitiveControllers
from ..base import LONGEST, Plans, PolicySpec
from .delays import LONGEST_DELAY, Delay
from .held import Held


@dataclass(frozen=True)
class Question:
    """What a plan is made from.

    Attributes:
        plans: Planner of the policy.
        window: Observation windows, the newest observation last.
        state: Feedback states.
        held: The running plan from now on; `None` at the start of an episode.
        running: Its controllers from now on; `None` at the start of an episode.
        rng: Random generator of the policy.
    """

    plans: Plans
    window: Observation
    state: Float[Tensor, "b n"]
    held: Held | None
    running: PrimitiveControllers | None
    rng: torch.Generator


class Way(ABC):
    """How a policy acts while its next plan is being made.

    Attributes:
        starts: Control step to which the first controller of a plan belongs: the step of its observation, the step at
            which it arrives, or the step at which it is forecast to arrive.
        waits: The robot stands still until the plan arrives.
        averages: Overlapping plans are averaged.
        continues: The steps that are executed until the plan arrives are given to the model.
    """

    starts: ClassVar[Literal["observation", "arrival", "forecast"]] = "observation"
    waits: ClassVar[bool] = False
    averages: ClassVar[bool] = False
    continues: ClassVar[bool] = False

    @abstractmethod
    def plan(self, question: Question) -> PrimitiveControllers:
        """Composite actions `[b, h]` for the observations of a question."""

    def begins(self, asked: int, *, delay: Int[Tensor, " b"], expected: Int[Tensor, " b"]) -> Int[Tensor, " b"]:
        """Control step to which the first controller of a plan belongs.

        Args:
            asked: Control step of the question.
            delay: Delay of the plan.
            expected: Forecast of the delay at the question.
        """
        match self.starts:
            case "observation":
                return torch.full_like(delay, asked)
            case "arrival":
                return asked + delay
            case "forecast":
                return asked + expected

    def arrives(self, asked: int, *, delay: Int[Tensor, " b"], expected: Int[Tensor, " b"]) -> Int[Tensor, " b"]:
        """First control step at which a plan can run: a plan for a later state does not run before that state.

        Args:
            asked: Control step of the question.
            delay: Delay of the plan.
            expected: Forecast of the delay at the question.
        """
        return asked + (torch.maximum(delay, expected) if self.starts == "forecast" else delay)

    def check(self, model: ChunkModel, spec: PolicySpec) -> None:
        """Refuse models that cannot plan in this way.

        Raises:
            RecipeError: The model cannot, with those that can.
        """
        return


def alternatives(model: ChunkModel) -> str:
    """Names of ways that a model can do with nothing else at hand, as the end of a sentence."""
    known = "trained" if model.takes_clean_prefix else "conditioned" if model.conditioning == "exact" else None
    names = ["naive", "bid", *(["guided"] if model.can_be_guided else []), *([known] if known else [])]
    return f"{', '.join(names[:-1])} or {names[-1]}"


def check_learned(way: Way, delay: Delay, learned: Sequence[int]) -> None:
    """Refuse delays for which a policy that was trained with clean first steps has not learned to continue a plan.

    Without delay nothing is continued, so that 0 is always accepted.

    Args:
        way: How the policy acts meanwhile.
        delay: Inference delay.
        learned: Numbers of clean first steps in training (`prefix_delays`); empty for other policies.

    Raises:
        RecipeError: A delay is none of these, with those that are.
    """
    if not way.continues or not learned:
        return
    unknown = sorted({*range(max(delay.low, 1), delay.largest + 1)} - {*learned})
    if unknown:
        raise RecipeError(
            f"{continues_only(learned)}, not {_listed(unknown)}. Give a delay among these numbers, train with "
            f"--prefix-delays {' '.join(map(str, sorted({0, *learned, *unknown})))}, or use another --realtime: naive "
            "or bid."
        )


def continues_only(learned: Sequence[int]) -> str:
    """What a policy that was trained with clean first steps can continue, as the beginning of a sentence.

    >>> continues_only((0, 1, 3))
    'the policy was trained to continue 0, 1 or 3 steps of a running plan (--prefix-delays)'
    """
    return f"the policy was trained to continue {_listed(sorted({*learned}))} steps of a running plan (--prefix-delays)"


def steps_to_hold(expected: int, learned: Sequence[int], most: int) -> int:
    """Number of steps of the running plan that the next one is to continue, where only some numbers were trained.

    The smallest trained number that is at least the forecast, so that all steps that are executed meanwhile are held;
    else the largest trained one, so that the last of them are not. Where all numbers can be continued, the forecast.

    Args:
        expected: Forecast of the delay [control steps].
        learned: Numbers of clean first steps in training (`prefix_delays`); empty for other policies.
        most: Number of steps that the running plan still has.

    >>> steps_to_hold(2, (0, 1, 3), most=8), steps_to_hold(5, (0, 1, 3), most=8), steps_to_hold(5, (), most=8)
    (3, 3, 5)
    """
    if not learned:
        return min(expected, most)
    known = [number for number in {0, *learned} if number <= most]
    return min((number for number in known if number >= expected), default=max(known))


def _listed(numbers: Sequence[int]) -> str:
    """Numbers in words.

    >>> _listed([1]), _listed([0, 1, 2])
    ('1', '0, 1 or 2')
    """
    *others, last = map(str, numbers)
    return f"{', '.join(others)} or {last}" if others else last


def check_sizes(way: Way, *, horizon: int, n_action_steps: int, delay: int) -> None:
    """Refuse a delay at which no controller would be left to execute.

    d ≤ s, so that a plan arrives before the next one is asked for, and d ≤ H − s, so that the running plan lasts until
    then; also for plans for a forecast state, which begin earlier than they arrive where the forecast is too small. A
    robot that waits executes each plan from its start.

    Raises:
        RecipeError: The numbers do not fit, with those that would.
    """
    if way.waits:
        if delay > LONGEST_DELAY:
            raise RecipeError(
                f"expected a delay of at most {LONGEST_DELAY} steps, for which a robot waits, got {delay}."
            )
        return
    longest = horizon - delay
    if delay <= n_action_steps <= longest:
        return
    if delay > longest:
        train = f", or train with horizon >= {2 * delay}" if 2 * delay <= LONGEST else ""
        raise RecipeError(
            f"a delay of {delay} steps is too long for chunks of {horizon}: expected delay <= n_action_steps <= "
            f"{horizon} - delay. {_allowed(horizon, n_action_steps)}{train}."
        )
    raise RecipeError(
        f"with chunks of {horizon} steps and a delay of {delay}, expected n_action_steps from {delay} to {longest}, "
        f"got {n_action_steps}. {_allowed(horizon, n_action_steps)}."
    )


def _allowed(horizon: int, n_action_steps: int) -> str:
    """The delays that fit, as the beginning of a sentence."""
    here, best = min(n_action_steps, horizon - n_action_steps), horizon // 2
    more = "" if here == best else f" (at most {best} with n_action_steps = {best})"
    return f"Give a delay of at most {here}{more}"
