"""Score of a policy from the expert's initial states, and its distance to the expert.

    score    = Σ_t r_t(policy) / Σ_t r_t(expert),   r_t = exp(−cost(x_t, u_t))       (per start)
    distance = (1/T) Σ_t ‖x_t − x_t^expert‖
    diverged = max_t ‖x_t − x_t^expert‖ > radius

The score is that of the published quadrotor experiment (Block et al. 2023, arXiv 2307.14619, section 4.1, in the
authors' code). It rewards hovering at the goal and exceeds 1 for a policy that is faster than the expert, so it does
not measure imitation; the distance does.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ..control import Task
from ..types import Trajectory
from .intervals import Estimate, mean_over_starts, median_over_starts, rate

DIVERGENCE_RADIUS = 10.0
"""About twice the largest norm of the quadrotor's initial states, in the state's mixed units."""


@dataclass(frozen=True)
class Comparison:
    """Comparison of a policy with the expert, from the same initial states.

    Attributes:
        score: Ratio of summed rewards.
        error: State error ‖x_t − x_t^expert‖ at each step from t = 1 on.
        diverged: Episodes whose error ever exceeded the radius.
    """

    score: Float[Tensor, " b"]
    error: Float[Tensor, "b t"]
    diverged: Bool[Tensor, " b"]

    @property
    def distance(self) -> Float[Tensor, " b"]:
        """Time-averaged state error of each episode."""
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
    """Compare a policy's trajectories with the expert's, episode by episode.

    Args:
        task: Task with the cost.
        policy: The policy's trajectories.
        expert: The expert's trajectories from the same initial states.
        lost: Steps of lost episodes (`Rollout.lost`): they earn no reward and count as at least `radius` away.
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


def summary(comparison: Comparison) -> dict[str, Estimate]:
    """Numbers for reports: mean score, median distance, share of diverged episodes."""
    return {
        "score": mean_over_starts(comparison.score),
        "distance": median_over_starts(comparison.distance),
        "diverged": rate(comparison.diverged),
    }
