"""Jumps of the action where one skill takes over from another.

    jump of a switch at step s = max ‖u_i − u_{i−1}‖ over i = s, …, s + window

A hand-over moves a change of the action to later steps, so that the largest change within a window is what can be
compared between ways of switching.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor


@dataclass(frozen=True)
class SwitchJumps:
    """Changes of the action from one step to the next, in the units of the action.

    Attributes:
        switches: The jump of each switch.
        elsewhere: Changes in all steps outside the windows of switches.
        episode: Episode of each switch.
    """

    switches: Float[Tensor, " switches"]
    elsewhere: Float[Tensor, " steps"]
    episode: Int[Tensor, " switches"]


def switch_jumps(
    actions: Float[Tensor, "b t m"], skills: Int[Tensor, "b t"], lengths: Int[Tensor, " b"], *, window: int = 3
) -> SwitchJumps:
    """Jumps at the switches of episodes.

    Args:
        actions: Executed actions.
        skills: Number of the skill that ran in each step (`SkillPolicy.chosen`).
        lengths: Number of steps of each episode; later ones do not count.
        window: Number of steps after a switch in which its jump is sought.

    >>> force = torch.tensor([[[0.0], [0.0], [3.0], [3.0], [3.5], [3.5]]])
    >>> found = switch_jumps(force, torch.tensor([[0, 0, 1, 1, 1, 1]]), torch.tensor([6]), window=1)
    >>> found.switches.tolist(), found.elsewhere.tolist()
    ([3.0], [0.0, 0.5, 0.0])
    """
    change = torch.zeros_like(actions[..., 0])
    change[:, 1:] = torch.diff(actions, dim=1).square().sum(dim=-1).sqrt()
    steps = torch.arange(actions.shape[1])
    inside = steps < lengths[:, None]
    switched = torch.zeros_like(inside)
    switched[:, 1:] = torch.diff(skills, dim=1) != 0
    switched &= inside
    near, largest = switched.clone(), torch.where(switched, change, 0.0)
    for later in range(1, window + 1):
        near[:, later:] |= switched[:, :-later]
        shifted = torch.zeros_like(change)
        shifted[:, :-later] = torch.where(inside, change, 0.0)[:, later:]
        largest = torch.where(switched, torch.maximum(largest, shifted), largest)
    # the first action of an episode has none before it
    return SwitchJumps(largest[switched], change[inside & ~near & (steps > 0)], switched.nonzero()[:, 0])
