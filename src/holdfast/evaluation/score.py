"""How well a policy does where the expert started, and how far from the expert it goes.

    score    = Σ_t r_t(policy) / Σ_t r_t(expert),   r_t = exp(−cost(x_t, u_t))       (per start)
    distance = (1/T) Σ_t ‖x_t − x_t^expert‖
    diverged = max_t ‖x_t − x_t^expert‖ > radius

The score is that of the published quadrotor experiment (Block et al. 2023, arXiv 2307.14619, section 4.1, in the
authors' code). It rewards hovering at the goal, exceeds 1 for a policy that is quicker than the expert, and so does not
measure imitation; the distance does.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from torch import Tensor

from ..control import Task
from ..types import Trajectory
from .intervals import Estimate, bootstrap, rate

__all__ = ["Comparison", "compare", "summary"]

DIVERGENCE_RADIUS = 10.0
"""About twice the largest norm of an initial state of the quadrotor; in the state's own mixed units."""


@dataclass(frozen=True)
class Comparison:
    """A policy beside the expert, from the same initial states.

    Attributes:
        score: Ratio of summed rewards.
        error: State error ‖x_t − x_t^expert‖ at each step, the first at t = 1.
        diverged: Whether the error ever exceeded the radius.
    """

    score: Float[Tensor, " b"]
    error: Float[Tensor, "b t"]
    diverged: Bool[Tensor, " b"]

    @property
    def distance(self) -> Float[Tensor, " b"]:
        """Time-averaged state error of each start."""
        return self.error.mean(dim=1)


@torch.no_grad()
def compare(
    task: Task,
    policy: Trajectory,
    expert: Trajectory,
    *,
    lost: Bool[Tensor, "b t"] | None = None,
    radius: float = DIVERGENCE_RADIUS,
) -> Comparison:
    """Measure a policy's trajectories against the expert's, start by start.

    Args:
        task: Gives the cost and the difference of states.
        policy: The policy's trajectories.
        expert: The expert's, from the same initial states.
        lost: Steps at which an episode was no longer followed (`Rollout.lost`): they earn nothing and count as at
            least `radius` away.
        radius: State error beyond which an episode has diverged.
    """
    gone = torch.zeros_like(policy.actions[..., 0], dtype=torch.bool) if lost is None else lost

    def rewards_of(trajectory: Trajectory) -> Tensor:
        return torch.exp(-task.cost(trajectory.states[:, :-1], trajectory.actions))

    earned = rewards_of(policy).masked_fill(gone, 0.0).sum(dim=1)
    error = (policy.states - expert.states).square().sum(dim=-1).sqrt()[:, 1:]
    error = torch.where(gone, error.clamp(min=radius), error)
    diverged = (error > radius).any(dim=1) | gone.any(dim=1)
    return Comparison(score=earned / rewards_of(expert).sum(dim=1), error=error, diverged=diverged)


def summary(comparison: Comparison, *, seed: int = 0) -> dict[str, Estimate]:
    """The numbers that a report shows: mean score, median distance, share of diverged episodes."""
    return {
        "score": bootstrap(comparison.score, seed=seed),
        "distance": bootstrap(comparison.distance, _median, seed=seed),
        "diverged": rate(comparison.diverged),
    }


def _median(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.median(values, axis=-1)
