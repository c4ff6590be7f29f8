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
def compare(task: Task, policy: Trajectory, expert: Trajectory, *, radius: float = DIVERGENCE_RADIUS) -> Comparison:
    """Measure a policy's trajectories against the expert's, start by start."""
    rewards = [
        torch.exp(-task.cost(trajectory.states[:, :-1], trajectory.actions)).sum(dim=1)
        for trajectory in (policy, expert)
    ]
    error = task.difference(policy.states, expert.states).square().sum(dim=-1).sqrt()[:, 1:]
    return Comparison(score=rewards[0] / rewards[1], error=error, diverged=error.amax(dim=1) > radius)


def summary(comparison: Comparison, *, seed: int = 0) -> dict[str, Estimate]:
    """The numbers that a report shows: mean score, median distance, share of diverged episodes."""
    return {
        "score": bootstrap(comparison.score, seed=seed),
        "distance": bootstrap(comparison.distance, _median, seed=seed),
        "diverged": rate(comparison.diverged),
    }


def _median(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.median(values, axis=-1)
