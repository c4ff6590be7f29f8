"""Plans that continue the last plan of their session: real-time chunking over a connection.

A robot asks for a plan while it executes the last one. It says how many steps of that plan it has executed, and how
many more it will have executed when the answer comes; the rest of the plan is the session's prefix.

    executed k   steps of the last plan that were executed before the newest observation of the request
    delay d      steps that are executed until the new plan can run; the new plan begins at the newest observation
    way          how the rest of the last plan holds the new one
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch

from ..data import encode
from ..errors import DataError
from ..policy import Planner
from ..policy.realtime import continues_only
from ..policy.realtime.held import Held
from ..types import Prefix, PrimitiveControllers
from .served import Served


@dataclass(frozen=True)
class Continues:
    """How a plan continues the last one of its session.

    Attributes:
        executed: Steps of the last plan that were executed.
        delay: Steps that are executed until the new plan can run.
        way: One of `Served.continuing`.
    """

    executed: int
    delay: int
    way: str

    def prefix(self, planner: Planner, last: PrimitiveControllers) -> Prefix | None:
        """The rest of the last plan, in normalised codes; `None` where nothing is left.

        Args:
            planner: The policy's planner.
            last: The last plan `[h]` of the session, before limits.
        """
        horizon = planner.spec.horizon
        left = max(horizon - self.executed, 0)
        if not left:
            return None
        running = last[(self.executed + torch.arange(horizon)).clamp(max=horizon - 1)[None]]
        codes = planner.code_scale.normalize(encode(planner.spec.codec, running).double())
        held = Held(codes=codes, left=torch.tensor([left]), delay=torch.tensor([min(self.delay, left)]))
        found = held.soft(jacobian=self.way == "guided") if self.way.startswith("guided") else held.firm()
        # without the axis of episodes: several sessions that hold the same steps are one batch
        return replace(found, weights=found.weights[0])


def continues_of(options: Mapping[str, Any], served: Served) -> Continues | None:
    """How the plan of a request continues the last one; `None` for a plan by itself.

    Raises:
        DataError: A value is no number of steps, or the policy cannot continue in this way.
    """
    if (executed := options.get("executed")) is None:
        if options.get("way") is not None:
            raise DataError("a way needs `executed`, the number of steps of the last plan that were executed.")
        return None
    if options.get("prefix") is not None:
        raise DataError("expected a prefix or `executed`, which stands for the rest of the last plan, got both.")
    can = served.continuing
    if not can:
        raise DataError(
            "this policy cannot continue a plan. Ask without `executed`, and go on at the current step of the new plan."
        )
    way = options.get("way", can[0])
    if way not in can:
        raise DataError(f"expected way as one of {', '.join(can)}, as this policy allows, got {way!r:.80}.")
    found = Continues(*_executed(executed, options.get("delay", 0), served.horizon), way)
    check_held(found.delay, served)
    return found


def check_held(count: int, served: Served) -> None:
    """Refuse to hold a number of steps that a policy with clean first steps has not learned to continue.

    Raises:
        DataError: The number was not trained, with those that were.
    """
    learned = served.policy.planner.prefix_delays
    if count and learned and count not in learned:
        raise DataError(f"{continues_only(learned)}, got {count}. Give one of these numbers as the delay.")


def _executed(executed: Any, delay: Any, horizon: int) -> tuple[int, int]:
    """Steps s of the last plan that were executed, and steps d until the new plan runs: s + d ≤ H."""
    for name, value in (("executed", executed), ("delay", delay)):
        if type(value) is not int or not 0 <= value <= horizon:
            raise DataError(
                f"expected {name} as a number of steps from 0 to {horizon}, the steps of a plan, got {value!r:.80}. "
                "Where the last plan has ended, ask without `executed`."
            )
    if executed + delay > horizon:
        raise DataError(
            f"a plan has {horizon} steps: after {executed} of them, expected delay as a number of steps from 0 to "
            f"{horizon - executed}, got {delay}. Ask earlier (delay <= executed <= {horizon} - delay), or without "
            "`executed`."
        )
    return executed, delay
