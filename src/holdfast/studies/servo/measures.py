"""Measures of a servo, and of a policy that was trained on its targets, apart from rollouts."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ...policy import Planner
from ...seeding import stream
from ...types import Episodes, Observation
from .formula import amplification, error_variance, stationary_amplification
from .laws import Gains
from .tasks import ServoTask

DISPLACEMENT = 1e-3
"""Displacement of a replay, in units of the task's position: small against all motions."""
WITHIN = 1.0
"""Time within which a displacement is followed [s]."""


@dataclass(frozen=True)
class ServoMeasures:
    """Measures of a servo.

    Attributes:
        remaining: Root mean square share of a displacement of the position that is left within 1 s, between replays of
            the same targets: 1 without any contraction, 0 if it vanishes at once.
        amplification: Largest variance of the position for independent errors of the targets of unit variance.
        variance: Largest variance of the position for errors of the targets as large as those of the policy [unit²]:
            amplification times validation loss, coordinate by coordinate.
        stationary: Stationary amplification of the canonical servo in continuous time.
    """

    remaining: float
    amplification: float
    variance: float
    stationary: float


def servo_measures(task: ServoTask, episodes: Episodes, gains: Gains, errors: Float[Tensor, " m"]) -> ServoMeasures:
    """Measures of a servo.

    Args:
        task: The task.
        episodes: Demonstrations with the servo's targets.
        gains: Gains of the servo.
        errors: Mean squared error of each coordinate of the target.
    """
    environment, loop = task.environment(gains, 1), task.loop(gains)
    dt, steps = environment.dt, environment.steps
    environment.close()
    left = task.displaced(episodes, gains, DISPLACEMENT, round(WITHIN / dt)) / DISPLACEMENT
    # Push-T's loop is that of one axis, the same for both
    own = errors.mean()[None] if loop.B.shape[1] == 1 else errors
    return ServoMeasures(
        remaining=float(left.square().mean().sqrt()),
        amplification=amplification(loop.A, loop.B, loop.C, steps),
        variance=error_variance(loop.A, loop.B, loop.C, own, steps),
        stationary=stationary_amplification(gains.stiffness, gains.damping),
    )


@torch.no_grad()
def target_errors(planner: Planner, episodes: Episodes, executed: int) -> Float[Tensor, " m"]:
    """Mean squared error of each coordinate of the target, over the executed steps of plans at every recorded step.

    Plans whose executed steps would go beyond the end of an episode are left out.
    """
    firsts = episodes.lengths.cumsum(0) - episodes.lengths
    count = (episodes.lengths - executed + 1).clamp(min=0)
    first = firsts.repeat_interleave(count)
    now = torch.cat([torch.arange(int(size)) for size in count]) + first
    back = torch.arange(1 - planner.spec.n_obs_steps, 1)
    rows = torch.maximum(now[:, None] + back, first[:, None])
    seen = episodes.observed
    window = Observation(state=seen.vector[rows]) if seen.environment_state is None else seen.map(lambda x: x[rows])
    planned = planner.plan(window, rng=stream(0, "study servo", "validation")).actions[:, :executed]
    wanted = episodes.actions[now[:, None] + torch.arange(executed)]
    return (planned.double() - wanted.double()).square().mean(dim=(0, 1))
