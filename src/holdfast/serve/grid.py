"""The grid of a control loop: step k is due at t₀ + k·dt.

lateness of a call          what it is                     the next step is due
below −tolerance            early                          at the next grid time
up to the tolerance         on time                        at the next grid time
up to `leap`                missed                         at the first grid time after the call
above `leap`                a leap of the clock            dt after the call: the grid begins anew
time before the last call   the clock went backwards       dt after the call: the grid begins anew
"""

import math
from dataclasses import dataclass, replace
from typing import Literal

Meeting = Literal["on time", "early", "missed", "leapt", "backwards"]


@dataclass(frozen=True)
class Grid:
    """Times at which control steps are due.

    Attributes:
        start: Time t₀ [s].
        dt: Duration of a control step [s].
        tolerance: Lateness up to which a call is on time [s].
        leap: Lateness above which the clock is said to have leapt [s].
        index: Number k of the next grid time.
        before: Time of the last call [s].

    >>> grid = Grid.begun(100.0, dt=0.5, tolerance=0.1, leap=5.0)
    >>> grid.due, grid.met(100.55)[1], grid.met(100.7)[1]
    (100.5, 'on time', 'missed')
    """

    start: float
    dt: float
    tolerance: float
    leap: float
    index: int
    before: float

    @staticmethod
    def begun(now: float, *, dt: float, tolerance: float, leap: float) -> "Grid":
        """The grid whose step 0 is executed now."""
        return Grid(start=now, dt=dt, tolerance=tolerance, leap=leap, index=1, before=now)

    @property
    def due(self) -> float:
        """Time at which the next step is due [s]."""
        return self.start + self.index * self.dt

    def met(self, now: float) -> tuple["Grid", Meeting]:
        """The grid after a call at some time, and how well the call met it."""
        late = now - self.due
        if now < self.before or late > self.leap:
            anew = Grid.begun(now, dt=self.dt, tolerance=self.tolerance, leap=self.leap)
            return anew, "backwards" if now < self.before else "leapt"
        slots = 1 + max(0, math.floor(late / self.dt))
        following = replace(self, index=self.index + slots, before=now)
        return following, "missed" if late > self.tolerance else "early" if late < -self.tolerance else "on time"
