"""Execution with a planning thread: the same course as in simulation, with delays that are seen, not drawn.

    act (step t)      plan there? ──► runs from now on, its delay is t − (step of its question)
                      due?        ──► question with what is held now ──► planning thread
                      controller of step t of the running plan, at the current state

(Black et al. 2025, arXiv 2506.07339, algorithm 1; a delay is counted in executed steps, as its line 21 does.)
"""

from concurrent.futures import Executor, Future
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..policy.realtime import Course, steps_to_hold
from ..policy.realtime.delays import forecast
from ..types import PrimitiveControllers
from .sources import Asked, Work


@dataclass(frozen=True)
class Pending:
    """A plan that is being made.

    Attributes:
        future: Plan, when it is there.
        step: Control step of the question.
        expected: Forecast of its delay [control steps].
        first: Whether nothing is executed before it arrives.
    """

    future: Future[PrimitiveControllers]
    step: int
    expected: int
    first: bool


class Clocked:
    """Executor of one episode whose plans are made elsewhere, meanwhile.

    Args:
        source: Where plans come from.
        planning: Executor of one worker, which makes the plans.
        delay: Forecast of the delay before any was measured [control steps].

    Attributes:
        course: What was asked for and what runs.
        plans: Number of plans that arrived.
        late: Number of these that arrived later than forecast, or after the running plan had ended.
        untrained: Number of questions whose forecast is above every number of steps that the policy has learned to
            continue.
        unplanned: Number of steps beyond the end of the running plan.
        in_a_row: Number of these since the last planned step.
    """

    def __init__(self, source: Asked, planning: Executor, delay: int) -> None:
        self.source, self.planning, self.delay = source, planning, delay
        self.pending: Pending | None = None
        self._rehearsed = False
        self._begin()

    def reset(self, seed: int | None = None) -> None:
        """Start a new episode; a plan that is being made is waited for and dropped, as it draws random numbers."""
        pending, self.pending = self.pending, None
        if pending is not None and not pending.future.cancel():
            pending.future.exception()
        self.source.reset(seed)
        self._begin()

    def act(self, observation: Any, state: Any) -> Float[Tensor, "1 m"]:
        """Action of this step, which waits for the first plan of an episode only.

        Raises:
            Exception: What the planning thread raised since the last call.
        """
        course = self._arrived(self.course)
        self.source.observe(observation)
        if self.pending is None and bool(course.due(self.source.n_action_steps, waits=self.source.way.waits)):
            self.pending = self._ask(course, state)
            course = self._arrived(course)
        action = self.source.action(course, observation, state)
        self._count_unplanned(course)
        self.course = course.advanced()
        return action

    def _begin(self) -> None:
        self.course = Course.start(1, self.delay)
        self.plans = self.late = self.unplanned = self.in_a_row = self.untrained = 0

    def _ask(self, course: Course, state: Any) -> Pending:
        """A question to the planning thread."""
        first = not course.plans
        expected = torch.zeros_like(course.asked) if first else forecast(course.recent)
        work = self.source.work(course, self._held(course, expected), state)
        if first and not self._rehearsed:
            work, self._rehearsed = self._with_rehearsal(work, course, state), True
        return Pending(self.planning.submit(work), step=course.step, expected=int(expected), first=first)

    def _with_rehearsal(self, work: Work, course: Course, state: Any) -> Work:
        """The making of the first plan, and of one that continues it, which is thrown away, before the robot moves.

        The first plan of a process that continues another takes many times as long as later ones (0.4 s instead of 5 ms
        was seen), because PyTorch then sets up its differentiation.
        """

        def both() -> PrimitiveControllers:
            chunk = work()
            begun = taken(course, chunk, delay=0, step=course.step, expected=0, source=self.source)
            if (rehearsal := self.source.rehearsal(begun, state)) is not None:
                rehearsal()
            return chunk

        return both

    def _held(self, course: Course, expected: Int[Tensor, " b"]) -> Int[Tensor, " b"]:
        """Steps of the running plan that the next one continues: the forecast, or a number that was trained."""
        learned = self.source.learned
        if not course.plans or not learned or not self.source.way.continues:
            return expected
        self.untrained += int(expected) > max(learned)
        return torch.tensor([steps_to_hold(int(expected), learned, most=int(course.rest()[1]))])

    def _arrived(self, course: Course) -> Course:
        """The course with the plan that was asked for, if it is there."""
        pending = self.pending
        if pending is None or not (pending.first or pending.future.done()):
            return course
        self.pending = None
        chunk = pending.future.result()
        delay = course.step - pending.step
        self.plans += 1
        self.late += delay > pending.expected or (self.in_a_row > 0 and not pending.first)
        return taken(course, chunk, delay=delay, step=pending.step, expected=pending.expected, source=self.source)

    def _count_unplanned(self, course: Course) -> None:
        index, plans = course.running()
        ended = int(plans[int(index)].left(course.step)) == 0
        self.unplanned += ended
        self.in_a_row = self.in_a_row + 1 if ended else 0


def taken(
    course: Course, chunk: PrimitiveControllers, *, delay: int, step: int, expected: int, source: Asked
) -> Course:
    """The course as if, at the step of the question, it had been known when the plan arrives."""
    seen, forecasts = torch.tensor([delay]), torch.tensor([expected])
    way = source.way
    begins, arrives = (place(step, delay=seen, expected=forecasts) for place in (way.begins, way.arrives))
    every = torch.ones(1, dtype=torch.bool)
    asked = replace(course, step=step).asks(every, chunk, begins=begins, arrives=arrives, delay=seen)
    return replace(asked, step=course.step)
