"""What a control loop asks for plans: a Holdfast policy with all ways, or anything with `predict_action_chunk`."""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol, cast, runtime_checkable

import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor

from ..errors import RecipeError, ShapeError
from ..policy import Ensemble, Filtered, Policy
from ..policy.finite import Acting, Guarded, finite_action
from ..policy.observed import as_observation, feedback_state, remembered
from ..policy.real_numbers import as_numbers
from ..policy.realtime import (
    LONGEST_DELAY,
    Conditioned,
    Continued,
    Course,
    Delay,
    DelayedExecutor,
    Ensembled,
    Guided,
    Naive,
    RealTime,
    Residual,
    Trained,
    Wait,
    Way,
    check_learned,
    check_sizes,
    steps_to_hold,
)
from ..policy.realtime.averaging import averaged
from ..rotations import Rotation, check_rotations
from ..types import Observation, PrimitiveControllers
from .chunks import Chunk, Running

Work = Callable[[], PrimitiveControllers]
"""The making of one plan `[1, h]`, called in the planning thread."""


@runtime_checkable
class Served(Protocol):
    """A policy that computes elsewhere, such as `Client`."""

    metadata: dict[str, Any]
    running: Running

    @property
    def n_obs_steps(self) -> int:
        """Number of observations in a window."""
        ...

    def plan(
        self, observations: Sequence[Any], *, executed: int | None = None, delay: int = 0, way: str | None = None
    ) -> Chunk:
        """Composite action of a plan for the last observations, which continues the last one if `executed` is given."""
        ...

    def state_of(self, observation: Any, state: Any = None) -> NDArray[Any]:
        """Feedback state of an observation."""
        ...


@runtime_checkable
class Asked(Protocol):
    """Where plans come from.

    Attributes:
        way: How to act while a plan is made.
        n_action_steps: Steps between two questions.
        learned: Numbers of steps of a running plan that the policy has learned to continue; empty for all others.
    """

    way: Way
    n_action_steps: int
    learned: tuple[int, ...]

    def reset(self, seed: int | None) -> None:
        """Start a new episode."""
        ...

    def answer(self, acting: Any, observation: Any, state: Any) -> Tensor:
        """The action `[m]` of an executor, for an observation in any form."""
        ...

    def observe(self, observation: Any) -> None:
        """Append an observation to the window."""
        ...

    def work(self, course: Course, expected: Int[Tensor, " b"], state: Any) -> Work:
        """The making of a plan for the window as it is now."""
        ...

    def rehearsal(self, course: Course, state: Any) -> Work | None:
        """The making of a plan that continues the running one, is thrown away and changes nothing.

        `None` where plans that continue another are made as the first one is.
        """
        ...

    def action(self, course: Course, observation: Any, state: Any) -> Float[Tensor, "b m"]:
        """The action of the current step of the course, within the limits."""
        ...


class Own:
    """A Holdfast policy.

    Args:
        policy: Policy; its planner is used, its episode is not touched.
        way: How to act while a plan is made.
        n_action_steps: Steps between two questions.
        delay: Forecast of the delay before any was measured.
    """

    def __init__(self, policy: Policy, way: Way | None, n_action_steps: int | None, delay: int) -> None:
        execution = policy.spec.execution
        self.way = way or _way_of(policy)
        self.n_action_steps = n_action_steps or execution.n_action_steps
        self.learned = policy.planner.prefix_delays
        changed = replace(execution, n_action_steps=self.n_action_steps, stream=False)
        first = _first_delay(self.way, delay, self.learned, policy.spec.horizon - self.n_action_steps)
        self.first = first.largest if self.learned else max(1, first.largest)
        self.policy = Policy(policy.planner, execution=changed, realtime=RealTime(first, self.way))
        self.delayed = cast(DelayedExecutor, self.policy.acting)

    def reset(self, seed: int | None) -> None:
        """Start a new episode."""
        self.delayed.reset(seed)
        self.guarded: Guarded | None = None

    def answer(self, acting: Acting, observation: Any, state: Any) -> Tensor:
        """The action `[m]`, finite."""
        seen = as_observation(observation, self.policy.spec, self.policy.interface)
        if seen.state.dim() != 1:
            raise ShapeError(f"expected the observation [n] of one robot, got shape {list(seen.state.shape)}.")
        feedback = feedback_state(state, observation, seen, self.policy.spec)
        self.guarded = self.guarded or self._guarded(acting)
        single = remembered(seen, self.policy.spec).map(lambda values: values[None])
        return self.guarded.act(single, feedback[None])[0]

    def _guarded(self, acting: Acting) -> Guarded:
        """What hands out actions, behind the policy's safety filter if it has one."""
        execution = self.policy.spec.execution
        filtered = acting if execution.filter is None else Filtered(acting, execution.filter)
        return Guarded(filtered, execution.on_nonfinite)

    def observe(self, observation: Observation) -> None:
        """Append an observation to the window."""
        self.delayed.executor.observe(observation)

    def work(self, course: Course, expected: Int[Tensor, " b"], state: Tensor) -> Work:
        """The making of a plan; what is held is cut from the course as it is now, which is a value."""
        window = self.delayed.executor.seen()
        return lambda: self.way.plan(self.delayed.question(course, expected, state, window))

    def rehearsal(self, course: Course, state: Tensor) -> Work | None:
        """The making of a plan that continues the running one, with a copy of the policy's randomness."""
        if isinstance(self.way, Naive | Wait | Ensembled | Residual | Continued):
            return None
        expected = torch.full_like(course.asked, self.first)
        question = self.delayed.question(course, expected, state, self.delayed.executor.seen())
        rng = torch.Generator(question.rng.device)
        rng.set_state(question.rng.get_state())
        return lambda: self.way.plan(replace(question, rng=rng))

    def action(self, course: Course, observation: Observation, state: Tensor) -> Float[Tensor, "b m"]:
        """The action of the current step of the course."""
        return self.delayed.limit(self.delayed.action(course, observation, state))


class Foreign:
    """Any object with `predict_action_chunk(observation)`, or a client of a policy server.

    The feedback of gains is executed where plans have gains, as those of `Client.plan`.

    Args:
        policy: Object.
        way: How to act while a plan is made: `Naive`, `Wait` or `Ensembled`, which need only plans; with a client
            also `Guided`, `Conditioned` or `Trained`, where the server's policy can continue a plan so.
        n_action_steps: Steps between two questions. Default: those of the server's policy.
        delay: Forecast of the delay before any was measured.

    Raises:
        RecipeError: The way needs more than plans, the number of steps is not known, or steps or delay do not fit the
            server's plans.
    """

    def __init__(self, policy: Any, way: Way | None, n_action_steps: int | None, delay: int) -> None:
        client = policy if isinstance(policy, Served) else None
        self.client = client
        self.policy: Any = policy
        self.running = client.running if client is not None else Running(every=n_action_steps or 0)
        served = None if self.running.ensemble is None else Ensemble(**self.running.ensemble)
        self.way = way or (Naive() if served is None else Ensembled(served))
        self.continues = _continuing(self.way)
        told = {} if client is None else client.metadata
        can = [str(name) for name in told.get("continuing") or ()]
        if not isinstance(self.way, Naive | Wait | Ensembled) and self.continues not in can:
            more = f", or on this server {', '.join(can)}" if can else ""
            raise RecipeError(
                f"the way {type(self.way).__name__} needs a Holdfast policy in this process, or one on a server that "
                f"can continue plans so. Use Naive, Wait or Ensembled{more}."
            )
        self.n_action_steps = n_action_steps or self.running.every
        if self.n_action_steps < 1:
            raise RecipeError(
                "expected n_action_steps, the control steps between two plans, of at least 1: the policy does not "
                "state it. Give about half of the steps of a plan."
            )
        self.rotations = _rotations_in(told)
        self.learned = tuple(map(int, told.get("prefix_delays") or ()))
        self._check_given(told.get("horizon"), n_action_steps, delay)
        self.window = deque[Any](maxlen=client.n_obs_steps if client is not None else 1)
        self.horizon = 0
        self.shape: tuple[int, ...] | None = None

    def _check_given(self, horizon: int | None, n_action_steps: int | None, delay: int) -> None:
        """Refuse given steps and delays that do not fit the plans of a server; its own settings are as they are."""
        if horizon is not None and (n_action_steps is not None or delay > 1):
            check_sizes(self.way, horizon=horizon, n_action_steps=self.n_action_steps, delay=delay)
        _first_delay(self.way, delay, self.learned, (horizon or LONGEST_DELAY) - self.n_action_steps)

    def reset(self, seed: int | None) -> None:
        """Start a new episode, also of the policy if it has episodes."""
        self.window.clear()
        if callable(reset := getattr(self.policy, "reset", None)):
            reset(*(() if seed is None else (seed,)))

    def answer(self, acting: Any, observation: Any, state: Any) -> Tensor:
        """The action `[m]`, finite."""
        return finite_action(acting.act(observation, self._feedback(observation, state)))[0]

    def observe(self, observation: Any) -> None:
        """Append an observation to the window."""
        self.window.append(observation)

    def work(self, course: Course, expected: Int[Tensor, " b"], state: Any) -> Work:
        """The making of a plan for the window as it is now."""
        window, options = list(self.window), dict[str, Any]()
        if self.continues is not None and course.plans:
            executed = course.step - int(course.plans[-1].begins[0])
            # of a plan that has ended, nothing is left to continue
            if (left := self.horizon - executed) > 0:
                options = {"executed": executed, "delay": min(int(expected[0]), left), "way": self.continues}
        return lambda: self._checked(self._chunk(window, options))

    def rehearsal(self, course: Course, state: Any) -> None:
        """None: a plan of another policy may change that policy, and one of a server changes the session."""

    def action(self, course: Course, observation: Any, state: Tensor) -> Float[Tensor, "b m"]:
        """The action of the current step of the course."""
        if isinstance(self.way, Ensembled):
            action = averaged(course, state, self.way.weights, self.rotations)
        else:
            last = self.n_action_steps if self.way.waits else self.horizon
            action = course.controllers(last=last - 1)(state)
        low, high = (None if one is None else torch.tensor(one) for one in (self.running.low, self.running.high))
        return action if low is None and high is None else torch.clamp(action, min=low, max=high)

    def _chunk(self, window: list[Any], options: dict[str, Any]) -> Chunk:
        if self.client is not None:
            return self.client.plan(window, **options)
        found = self.policy.predict_action_chunk(window[-1])
        found = found.cpu() if isinstance(found, Tensor) else found
        actions = as_numbers(found, "the plan of predict_action_chunk").double().numpy()
        return Chunk(actions=actions[0] if actions.ndim == 3 and len(actions) == 1 else actions)

    def _checked(self, chunk: Chunk) -> PrimitiveControllers:
        """The plan as a batch of one."""
        if chunk.actions.ndim != 2 or len(chunk.actions) < self.n_action_steps:
            raise ShapeError(
                f"expected a plan [h, m] of at least n_action_steps = {self.n_action_steps} steps, got an array of "
                f"shape {list(chunk.actions.shape)}."
            )
        shape = chunk.actions.shape
        if self.shape not in (None, shape):
            raise ShapeError(
                f"expected a plan of the shape {list(self.shape or ())} of the first one, got {list(shape)}. Return "
                "plans of one length and of one number of action coordinates."
            )
        self.shape, self.horizon = shape, len(chunk.actions)
        actions = torch.tensor(chunk.actions, dtype=torch.float64)[None]
        if chunk.states is None or chunk.gains is None:
            return PrimitiveControllers.open_loop(actions, actions.new_zeros(1, self.horizon, 0))
        states, gains = (torch.tensor(part, dtype=torch.float64)[None] for part in (chunk.states, chunk.gains))
        return PrimitiveControllers(actions=actions, states=states, gains=gains)

    def _feedback(self, observation: Any, state: Any) -> Tensor:
        """State `[1, n]` of the controllers; without feedback it has no coordinates."""
        if self.client is None or not self.client.metadata.get("controllers"):
            return torch.zeros(1, 0, dtype=torch.float64)
        return torch.as_tensor(self.client.state_of(observation, state), dtype=torch.float64)[None]


def asked_of(policy: Any, way: Way | None, n_action_steps: int | None, delay: int) -> Asked:
    """The source of a policy's plans.

    Raises:
        RecipeError: The object does not plan, or cannot plan in this way.
    """
    if isinstance(policy, Policy):
        return Own(policy, way, n_action_steps, delay)
    if not callable(getattr(policy, "predict_action_chunk", None)):
        raise RecipeError(
            f"expected a policy with predict_action_chunk(observation), got {type(policy).__name__}. Load one with "
            "holdfast.load(RUN), or connect with holdfast.serve.Client(URL)."
        )
    return Foreign(policy, way, n_action_steps, delay)


def _first_delay(way: Way, delay: int, learned: Sequence[int], most: int) -> Delay:
    """The delay that is forecast at first, or the trained one that stands for it.

    Raises:
        RecipeError: It is above every number of steps that the policy has learned to continue.
    """
    if not way.continues or not learned:
        return Delay(delay)
    if delay > max(learned):
        check_learned(way, Delay(delay), learned)
    return Delay(steps_to_hold(delay, learned, max(most, 0)))


def _rotations_in(told: Mapping[str, Any]) -> tuple[Rotation, ...]:
    """Coordinates of an action that a server says are rotations."""
    action: Any = told.get("action")
    given: Any = cast("Mapping[str, Any]", action).get("rotations") if isinstance(action, Mapping) else None
    rotations = tuple(Rotation(int(first), form) for first, form in given or ())
    check_rotations(rotations, rotations[-1].last if rotations else 0, "the server's actions")
    return rotations


def _continuing(way: Way) -> str | None:
    """The server's name of a way in which a plan continues the last one; `None` for other ways."""
    match way:
        case Guided():
            return "guided" if way.jacobian else "guided-no-jacobian"
        case Trained():
            return "trained"
        case Conditioned():
            return "conditioned"
        case _:
            return None


def _way_of(policy: Policy) -> Way:
    """How a policy acts under delay unless something else is said."""
    if policy.realtime is not None:
        return policy.realtime.way
    ensemble = policy.spec.execution.ensemble
    return Naive() if ensemble is None else Ensembled(ensemble)
