"""Temporal ensembling of plans that arrive late."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from ...rotations import Rotation, mean
from ..overlap import Ensemble
from .course import Course


def averaged(
    course: Course, state: Float[Tensor, "b n"], options: Ensemble, rotations: Sequence[Rotation] = ()
) -> Float[Tensor, "b m"]:
    """Average of the actions of all plans that have arrived and reach this step; weights as in `Ensemble`.

    Rotations among the coordinates of an action are averaged in their group.

    Where no plan reaches the step, the newest one's last controller goes on.
    """
    plans = course.plans
    step, newest = course.step, course.running()[0]
    actions = torch.stack([plan.at(step, last=plan.horizon - 1)(state) for plan in plans])
    counts = torch.stack([(plan.arrives <= step) & (plan.begins + plan.horizon > step) for plan in plans])
    counts |= ~counts.any(0) & (torch.arange(len(plans))[:, None] == newest)
    weights = torch.zeros(counts.shape, dtype=torch.float64)
    for row in range(counts.shape[1]):
        weights[counts[:, row], row] = options.weights(int(counts[:, row].sum()))
    return mean(actions, weights.to(actions), rotations)
