"""The goal of Push-T's demonstrations, by the poses in which the block comes to rest.

gym-pusht fixes the goal at (256 px, 256 px, π/4). Demonstrations end when the block covers 95 % of its outline, within
14 px and 0.17 rad of the goal in the published set (medians 7 px and 0.04 rad), so last poses that agree on another
place show another goal.
"""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor

GOAL = (256.0, 256.0, math.pi / 4)
"""Position [px] and angle [rad] of the outline in gym-pusht."""
APART, TURNED = 25.0, 0.3
"""Largest distance [px] and angle [rad] between a goal and the typical last pose."""
FEWEST = 4
"""Episodes below which last poses show nothing."""


def other_goal(states: Float[Tensor, "rows 5"], lengths: Int[Tensor, " episodes"]) -> tuple[float, float, float] | None:
    """The typical last pose of the block, if it is not the environment's goal and most episodes agree on it.

    Args:
        states: Agent x, y, block x, y [px] and angle [rad] of every step.
        lengths: Steps of each episode.

    >>> rest = torch.tensor([[0.0, 0.0, 100.0, 300.0, 0.5]]).expand(8, 5)
    >>> [round(value, 2) for value in other_goal(rest, torch.tensor([2, 2, 2, 2])) or ()]
    [100.0, 300.0, 0.5]
    """
    if len(lengths) < FEWEST:
        return None
    last = states[lengths.cumsum(0) - 1, 2:5].double()
    # the median of directions, so that angles of a whole turn are equal
    place = last[:, :2].median(dim=0).values
    angle = torch.atan2(last[:, 2].sin().median(), last[:, 2].cos().median())
    if _near(place, angle, torch.tensor(GOAL[:2], dtype=torch.float64), torch.tensor(GOAL[2])):
        return None
    agree = [_near(pose[:2], pose[2], place, angle) for pose in last]
    if sum(agree) <= len(agree) / 2:
        return None
    return float(place[0]), float(place[1]), float(angle)


def _near(place: Tensor, angle: Tensor, other: Tensor, other_angle: Tensor) -> bool:
    turned = torch.remainder(angle - other_angle + math.pi, 2 * math.pi) - math.pi
    return float((place - other).square().sum().sqrt()) <= APART and abs(float(turned)) <= TURNED
