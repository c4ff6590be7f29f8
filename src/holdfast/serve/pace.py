"""Settings of a control loop, and what it counts."""

import math
from dataclasses import dataclass

from ..errors import RecipeError, at_least


@dataclass(frozen=True, kw_only=True)
class Pace:
    """How strictly a control loop keeps time, and when it stops.

    Attributes:
        tolerance: Lateness up to which a call is on time [s]. Default: a quarter of a control step.
        leap: Lateness above which the clock is said to have leapt [s]. Default: 1 s, or 20 control steps if that is
            longer.
        most_misses: Number of consecutive missed calls at which the loop stops.
        most_unplanned: Number of consecutive steps beyond the end of the plan at which the loop stops.
        hold: Action `[m]` that is executed after a stop; `None` raises a `StoppedError` instead.
    """

    tolerance: float | None = None
    leap: float | None = None
    most_misses: int = 10
    most_unplanned: int = 10
    hold: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        at_least(1, most_misses=self.most_misses, most_unplanned=self.most_unplanned)
        for name in ("tolerance", "leap"):
            value = getattr(self, name)
            if value is not None and not 0 <= value < math.inf:
                raise RecipeError(f"expected {name} of 0 s or more, got {value}.")
        if self.hold is not None and not all(map(math.isfinite, self.hold)):
            raise RecipeError(f"expected a finite action to hold, got {list(self.hold)}.")


@dataclass(frozen=True, kw_only=True)
class Counts:
    """What happened in an episode of a control loop.

    Attributes:
        steps: Executed control steps.
        plans: Plans that arrived.
        misses: Calls later than their grid time plus the tolerance.
        early: Calls before their grid time minus the tolerance.
        late_plans: Plans that arrived later than forecast, or after the running plan had ended.
        untrained: Plans for which more steps were forecast than the policy has learned to continue; it continued the
            largest number that it has learned.
        unplanned: Steps beyond the end of the running plan, in which its last controller went on.
        jumps: Times at which the clock went backwards or leapt.
        delays: Delays of the last plans [control steps], at most ten.
    """

    steps: int = 0
    plans: int = 0
    misses: int = 0
    early: int = 0
    late_plans: int = 0
    untrained: int = 0
    unplanned: int = 0
    jumps: int = 0
    delays: tuple[int, ...] = ()
