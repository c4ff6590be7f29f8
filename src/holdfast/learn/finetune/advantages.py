"""Advantages of plans, and the scale of their rewards."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

LARGEST_REWARD = 10.0
"""Bound of the absolute scaled rewards."""


def advantages_of(
    rewards: Float[Tensor, "t b"],
    values: Float[Tensor, "t b"],
    following: Float[Tensor, "t b"],
    *,
    terminated: Bool[Tensor, "t b"],
    truncated: Bool[Tensor, "t b"],
    gamma: float,
    gae_lambda: float,
) -> Float[Tensor, "t b"]:
    """Generalised advantage estimates, which distinguish terminations from truncations.

        δ_t = r_t + γ V(s_{t+1}) (1 − terminated_t) − V(s_t)
        A_t = δ_t + γ λ (1 − over_t) A_{t+1},     over_t = terminated_t or truncated_t

    After a termination nothing follows; after a truncation the value of the state that was reached stands for what
    would have followed, but no later advantage does. (Schulman et al. 2016, arXiv 1506.02438, eq. 16; truncations:
    Pardo et al. 2018, arXiv 1712.00378.)

    Args:
        rewards: Sum of the rewards of each plan's steps.
        values: Value of the state of each plan.
        following: Value of the state after each plan.
        terminated: Plans in which the episode ended by itself.
        truncated: Plans in which it reached the time limit.
        gamma: Discount factor.
        gae_lambda: λ; 0 looks one plan ahead, 1 to the end of the episode.

    >>> one, none = torch.ones(2, 1), torch.zeros(2, 1, dtype=torch.bool)
    >>> advantages_of(one, 0 * one, one, terminated=none, truncated=none, gamma=0.5, gae_lambda=1.0).flatten()
    tensor([2.2500, 1.5000])
    """
    differences = rewards + gamma * following.masked_fill(terminated, 0.0) - values
    found, later = list[Tensor](), torch.zeros_like(rewards[0])
    for difference, over in zip(differences.flip(0), (terminated | truncated).flip(0), strict=True):
        later = difference + gamma * gae_lambda * later.masked_fill(over, 0.0)
        found.append(later)
    return torch.stack(found[::-1])


@dataclass(frozen=True)
class RewardScale:
    """Running variance of discounted sums of rewards, whose root rewards are divided by.

        R_t = r_t + γ R_{t−1} within an episode

    (Engstrom et al. 2020, arXiv 2005.12729, section 3; merged over iterations as in Chan et al. 1979.)

    Attributes:
        mean: Mean of all sums.
        variance: Variance of all sums; 1 before there is any.
        count: Number of sums.
    """

    mean: float = 0.0
    variance: float = 1.0
    count: float = 1e-4

    def updated(self, rewards: Float[Tensor, "t b"], running: Bool[Tensor, "t b"], *, gamma: float) -> "RewardScale":
        """The scale after further episodes, each from its beginning; steps after their end do not count."""
        total, sums = torch.zeros_like(rewards[0]), list[Tensor]()
        for reward in rewards:
            total = reward + gamma * total
            sums.append(total)
        known = torch.stack(sums)[running].double()
        mean, variance, more = float(known.mean()), float(known.var(correction=0)), len(known)
        whole, apart = self.count + more, mean - self.mean
        squares = self.variance * self.count + variance * more + apart**2 * self.count * more / whole
        return RewardScale(self.mean + apart * more / whole, squares / whole, whole)

    def scaled(self, rewards: Float[Tensor, "t b"]) -> Float[Tensor, "t b"]:
        """Rewards divided by the standard deviation, within ±10."""
        return (rewards / (self.variance + 1e-8) ** 0.5).clamp(-LARGEST_REWARD, LARGEST_REWARD)
