"""Execution under inference delay, in simulation: the same steps as with a clock, with delays that are drawn."""

from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ...data import encode, rotations_of
from ...seeding import stream
from ...types import Observation
from ..execute import ChunkExecutor
from ..planner import Planner
from .averaging import averaged
from .course import Course
from .delays import Delay, forecast
from .held import Held
from .plain import Ensembled, Naive
from .residual import Residual
from .way import Question, Way, check_learned, check_sizes


@dataclass(frozen=True)
class RealTime:
    """Execution of a policy whose plans take time.

    Attributes:
        delay: Control steps from an observation to the first action of the plan that answers it.
        way: How the policy acts until then.
    """

    delay: Delay = field(default_factory=Delay)
    way: Way = field(default_factory=Naive)


class DelayedExecutor:
    """Executor whose plans arrive some control steps after their observations.

    A plan is asked for every `n_action_steps` steps. The first plan of an episode is made before the robot moves.

    Args:
        executor: Executor with the planner, the window, the limits and the random stream of the policy.
        planner: Planner with the specification, the codec and the scales.
        options: Delay, and the way to act meanwhile.

    Raises:
        RecipeError: The delay does not fit the chunk, or the model cannot plan in this way, or has not learned to
            continue as many steps.
    """

    def __init__(self, executor: ChunkExecutor, planner: Planner, options: RealTime) -> None:
        self.executor = executor
        self.planner = planner
        self.options = options
        spec = planner.spec
        check_sizes(
            options.way, horizon=spec.horizon, n_action_steps=executor.n_action_steps, delay=options.delay.largest
        )
        options.way.check(planner.generator, spec)
        check_learned(options.way, options.delay, planner.prefix_delays)
        self.delays = stream(0, "inference delay")
        self.course: Course | None = None

    def reset(self, seed: int | None = None) -> None:
        """Start a new episode; a seed restarts the policy's randomness and the delays."""
        self.executor.reset(seed)
        if seed is not None:
            self.delays = stream(seed, "inference delay")
        self.course = None

    def act(self, observation: Observation, state: Float[Tensor, "b n"]) -> Float[Tensor, "b m"]:
        """Next action of each episode."""
        self.executor.observe(observation)
        course = self.course or Course.start(len(state), self.options.delay.largest)
        rows = course.due(self.executor.n_action_steps, waits=self.options.way.waits)
        if bool(rows.any()):
            course = self._asked(course, rows, state)
        action = self.action(course, observation, state)
        self.course = course.advanced()
        return self.executor.limit(action)

    def limit(self, action: Float[Tensor, "*b m"]) -> Float[Tensor, "*b m"]:
        """The action within the limits."""
        return self.executor.limit(action)

    def _asked(self, course: Course, rows: Bool[Tensor, " b"], state: Tensor) -> Course:
        """The course after a question: the plan is made at once, and arrives later."""
        first = not course.plans
        delay = torch.zeros_like(course.asked) if first else self.options.delay.draw(len(rows), rng=self.delays)
        expected = torch.zeros_like(delay) if first else forecast(course.recent)
        chunk = self.options.way.plan(self.question(course, expected, state, self.executor.seen()))
        way, at = self.options.way, course.step
        begins, arrives = (place(at, delay=delay, expected=expected) for place in (way.begins, way.arrives))
        return course.asks(rows, chunk, begins=begins, arrives=arrives, delay=delay)

    def question(self, course: Course, expected: Int[Tensor, " b"], state: Tensor, window: Observation) -> Question:
        """The question that is asked at a step of the course, with the rest of the running plan."""
        held = running = None
        if course.plans:
            running, left = course.rest()
            codes = self.planner.code_scale.normalize(encode(self.planner.spec.codec, running))
            held = Held(codes=codes, left=left, delay=expected)
        return Question(
            plans=self.executor.plans,
            window=window,
            state=state,
            held=held,
            running=running,
            rng=self.executor.rng,
        )

    def action(self, course: Course, observation: Observation, state: Tensor) -> Float[Tensor, "b m"]:
        """The action `[b, m]` of the current step of the course, before the limits."""
        way = self.options.way
        if isinstance(way, Ensembled):
            return averaged(course, state, way.weights, rotations_of(self.planner.spec.codec))
        action = course.controllers(last=self._last())(state)
        if isinstance(way, Residual):
            action = action + way.corrections.correction(observation, action, course.phase(self.planner.spec.horizon))
        return action

    def _last(self) -> int:
        """Index of the controller that goes on when there is no further one."""
        waits = self.options.way.waits
        return (self.executor.n_action_steps if waits else self.planner.spec.horizon) - 1
