"""A control loop at the robot, with a planning thread: every observation is answered at once.

    with ControlLoop(policy, dt=0.02) as loop:
        loop.reset()
        while not done:
            loop.wait()                           # until the next time t₀ + k·dt
            robot.send(loop.act(robot.read()))    # the controller of this step, at the current state

The first plan of an episode is made before the robot moves; t₀ is when it is there. From then on no call waits for a
plan.
"""

import math
import time
import warnings
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from numbers import Integral
from typing import Any, Literal, assert_never

import torch
from torch import Tensor

from ..errors import RecipeError, StoppedError, TimingWarning
from ..policy import Policy
from ..policy.realtime import LONGEST_DELAY, Way, continues_only
from .clocked import Clocked
from .grid import Grid
from .pace import Counts, Pace
from .sources import Served, asked_of

Stop = Literal["misses", "unplanned"]


class ControlLoop:
    """A policy whose plans are made in a thread of their own while the robot moves.

    A policy that was trained with clean first steps (`prefix_delays`) continues the smallest trained number of steps
    that is at least the forecast of the delay, or the largest where none is, which a `TimingWarning` says once an
    episode.

    When a plan ends before the next one is there, its last controller goes on, with its feedback; a `TimingWarning`
    says so once an episode. After `Pace.most_misses` consecutive late calls, or `Pace.most_unplanned` consecutive steps
    beyond the end of a plan, the loop stops: every call until `reset` returns `Pace.hold`, or raises a `StoppedError`.

    Calls come from one thread. A step is an executed action: a call that comes a whole period late executes the next
    action of the plan, not the one after it, and delays are counted in these steps.

    Args:
        policy: A Holdfast policy, which is not changed; a `Client`; or any object with
            `predict_action_chunk(observation)` that returns `[h, m]`.
        dt: Duration of a control step [s]. Default: that of the policy's training data, if it is known.
        way: How to act while a plan is made. Default: as the policy is executed without a clock (`Naive`, or
            `Ensembled`). Policies of another kind have `Naive`, `Wait` and `Ensembled`.
        n_action_steps: Steps between two questions. Default: those of the policy.
        delay: Forecast of the delay before any was measured [control steps]. Default: 1, or that of `policy.realtime`.
        pace: Tolerances, and when to stop.
        clock: Time [s], which should not go backwards.
        sleep: Function that `wait` sleeps with.
        planning: Executor of one worker for the plans. Default: a thread, which `close` ends.

    Raises:
        RecipeError: The way, the delay or the steps do not fit the policy, or dt is not known.
    """

    def __init__(
        self,
        policy: Any,
        *,
        dt: float | None = None,
        way: Way | None = None,
        n_action_steps: int | None = None,
        delay: int | None = None,
        pace: Pace | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        planning: Executor | None = None,
    ) -> None:
        self.dt, self.pace = _dt_of(policy, dt), pace or Pace()
        self.clock, self.sleep = clock, sleep
        delay = _delay_of(policy) if delay is None else delay
        if not isinstance(delay, Integral) or not 0 <= delay <= LONGEST_DELAY:
            raise RecipeError(f"expected a delay of 0 to {LONGEST_DELAY} whole control steps, got {delay}.")
        if n_action_steps is not None and (not isinstance(n_action_steps, Integral) or n_action_steps < 1):
            raise RecipeError(
                f"expected n_action_steps, the control steps between two plans, as a whole number of at least 1, got "
                f"{n_action_steps}. Omit it for that of the policy."
            )
        self.source = asked_of(policy, way, n_action_steps, delay)
        self._own = planning is None
        self.planning = planning or ThreadPoolExecutor(1, thread_name_prefix="holdfast planning")
        self.clocked = Clocked(self.source, self.planning, delay)
        self.closed = False
        self.reset()

    def __enter__(self) -> "ControlLoop":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the planning thread; a plan that is being made is waited for."""
        self.closed = True
        if self._own:
            self.planning.shutdown(cancel_futures=True)

    def reset(self, seed: int | None = None) -> None:
        """Start a new episode, with counts of its own; a seed restarts the policy's randomness."""
        self._check_open()
        self.clocked.reset(seed)
        self.grid: Grid | None = None
        self.stopped: str | None = None
        self._misses = self._in_a_row = self._early = self._jumps = 0

    def wait(self) -> None:
        """Sleep until the next grid time; at most one control step, also if the clock went backwards."""
        if self.grid is not None and (left := self.grid.due - self.clock()) > 0:
            self.sleep(min(left, self.dt))

    def act(self, observation: Any, state: Any = None) -> Tensor:
        """Action `[m]` of this control step.

        Args:
            observation: As in `Policy.select_action`, of one robot; for another policy, what it takes.
            state: Feedback state `[n]` of the controllers. Default: `observation.state`.

        Raises:
            StoppedError: The loop has stopped and has no action to hold, or it was closed.
            ActionError: The action would not be finite.
            RecipeError: `Pace.hold` has another size than the actions, or the time is not finite.
            Exception: What the planning thread raised since the last call. The next call asks again.
        """
        self._check_open()
        if self.stopped is None:
            self._keep_time()
        if self.stopped is not None:
            return self._held()
        unplanned, untrained = self.clocked.unplanned, self.clocked.untrained
        action = self.source.answer(self.clocked, observation, state)
        if self.grid is None:
            self._check_hold(len(action))
            self.grid = self._begun(self._now())
        if unplanned == 0 < self.clocked.unplanned:
            self._say("the plan ended before the next one was there: its last controller goes on.")
        if untrained == 0 < self.clocked.untrained:
            self._say(
                f"{continues_only(self.source.learned)}, and the next plan is forecast to take longer: it continues "
                f"{max(self.source.learned)}, so that the action may jump when the plan arrives. Plan faster, train "
                "with more --prefix-delays, or use another way."
            )
        if self.clocked.in_a_row >= self.pace.most_unplanned:
            self._stop("unplanned")
            return self._held()
        return action

    @property
    def counts(self) -> Counts:
        """What happened since `reset`."""
        clocked = self.clocked
        recent = [int(delay) for delay in clocked.course.recent[0]]
        # the first entry is the forecast before any delay was measured
        measured = max(clocked.plans - 1, 0)
        return Counts(
            steps=clocked.course.step,
            plans=clocked.plans,
            misses=self._misses,
            early=self._early,
            late_plans=clocked.late,
            untrained=clocked.untrained,
            unplanned=clocked.unplanned,
            jumps=self._jumps,
            delays=tuple(recent[-measured:]) if measured else (),
        )

    def _begun(self, now: float) -> Grid:
        pace = self.pace
        return Grid.begun(
            now,
            dt=self.dt,
            tolerance=self.dt / 4 if pace.tolerance is None else pace.tolerance,
            leap=max(1.0, 20 * self.dt) if pace.leap is None else pace.leap,
        )

    def _keep_time(self) -> None:
        """Count how well this call meets the grid, and stop after too many misses."""
        if self.grid is None:
            return
        now, grid = self._now(), self.grid
        self.grid, meeting = grid.met(now)
        match meeting:
            case "on time":
                self._in_a_row = 0
            case "early":
                self._early += 1
                self._in_a_row = 0
            case "missed":
                self._misses += 1
                self._in_a_row += 1
            case "leapt" | "backwards":
                self._jumped(now, grid)
            case _:
                assert_never(meeting)
        if self._in_a_row >= self.pace.most_misses:
            self._stop("misses")

    def _jumped(self, now: float, grid: Grid) -> None:
        self._jumps += 1
        what = f"went back by {grid.before - now:.3g} s" if now < grid.before else f"is {now - grid.due:.3g} s late"
        self._say(f"the clock {what}: the grid of the control loop begins anew. Use a clock that nothing sets.")

    def _stop(self, why: Stop) -> None:
        count, what = {
            "misses": (self._in_a_row, "consecutive calls came too late"),
            "unplanned": (self.clocked.in_a_row, "consecutive steps had no plan"),
        }[why]
        self.stopped = (
            f"the control loop stopped at step {self.clocked.course.step}, because {count} {what} at {self.dt:.3g} s "
            "per step. Plan faster (policy.packed(), fewer sampling steps), control more slowly, or allow more in "
            "Pace; reset() begins anew."
        )
        if self.pace.hold is not None:
            self._say(self.stopped)

    def _held(self) -> Tensor:
        if self.pace.hold is None:
            raise StoppedError(self.stopped)
        return torch.tensor(self.pace.hold, dtype=torch.float64)

    def _now(self) -> float:
        now = self.clock()
        if not math.isfinite(now):
            raise RecipeError(f"expected the clock to return a finite time [s], got {now}. Use time.monotonic.")
        return now

    def _check_hold(self, size: int) -> None:
        """Refuse an action to hold of another size, before the robot moves."""
        if self.pace.hold is not None and len(self.pace.hold) != size:
            raise RecipeError(
                f"expected {size} numbers in Pace.hold, as in the policy's actions, got {len(self.pace.hold)}. Make a "
                "ControlLoop with another Pace."
            )

    def _check_open(self) -> None:
        if self.closed:
            raise StoppedError("the control loop was closed. Make a new ControlLoop.")

    def _say(self, sentence: str) -> None:
        warnings.warn(sentence, TimingWarning, stacklevel=4)


def _dt_of(policy: Any, dt: float | None) -> float:
    """The given duration of a step, or that of the policy's data."""
    if dt is None and isinstance(policy, Policy) and policy.interface is not None:
        dt = policy.interface.dt
    if dt is None and isinstance(policy, Served):
        dt = policy.metadata.get("dt")
    if dt is None or not 0 < dt < math.inf:
        raise RecipeError(f"expected dt, the duration of a control step, above 0 s, got {dt}. Give dt=0.02 for 50 Hz.")
    return dt


def _delay_of(policy: Any) -> int:
    known = policy.realtime if isinstance(policy, Policy) else None
    return 1 if known is None else known.delay.largest
