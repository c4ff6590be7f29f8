"""Obstacle avoidance with the rewards of DPPO (Ren et al. 2024, arXiv 2409.00588), on which policies are fine-tuned.

    r_t = −0.1                                once the rod has touched a cylinder, or where x is outside [0.2, 0.8] m
    r_t = 1{left gap was taken} + 1{y > 0.4}  otherwise

The left gap is the left-most of the third row (x < 0.35 m); as published, it counts from the step after the one that
reaches the row. Episodes have 100 steps and do not end early: all are truncated. (irom-princeton/dppo, cfg/d3il;
allenzren/d3il, class ObstacleAvoidanceM5Env.)
"""

from dataclasses import replace
from typing import Literal, get_args

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ..control.systems.avoid_course import AVOID_ROD, clearance, gaps_passed, mode_of
from ..data import select
from ..errors import UnknownNameError
from ..types import Episodes
from .avoid import AvoidCourse, AvoidEnvironment

AvoidTask = Literal["m1", "m2", "m3"]

REWARDED_STEPS = 100
"""Control steps of an episode."""
SOLVED = 2.0
"""Reward of a step in which an episode is solved: the left gap was taken and the line at 0.4 m is passed."""

_TOUCHED, _LINE, _SIDES, _LEFT = -0.1, 0.4, (0.2, 0.8), 0
_RIGHT_THEN_LEFT = 12
"""First mode of the ways right of the first row and left of the second, DPPO's required modes 1 and 2."""


def modes_of_task(task: str) -> tuple[int, int]:
    """The two ways of a task's demonstrations: right of the first cylinder, left in the second row, then two gaps.

    M1 takes the first and the second gap of the third row, M2 the first and the third, M3 the first and the fourth.
    Rewards are the same: only the first gap is rewarded. (DPPO's d56_r12, d57_r12 and d58_r12.)

    Raises:
        UnknownNameError: No such task.

    >>> modes_of_task("m1"), modes_of_task("m3")
    ((12, 13), (12, 15))
    """
    if task not in get_args(AvoidTask):
        raise UnknownNameError("task", task, get_args(AvoidTask))
    return _RIGHT_THEN_LEFT, _RIGHT_THEN_LEFT + int(task[1])


def demonstrations_of(task: str, episodes: Episodes) -> Episodes:
    """The episodes that take one of the two ways of a task; 8 of D3IL's 96 human demonstrations for each task.

    Args:
        task: Name of the task.
        episodes: Episodes of obstacle avoidance, whose states begin with the desired and the actual position.

    Raises:
        UnknownNameError: No such task.
    """
    wanted = modes_of_task(task)
    modes = [float(mode_of(episodes.trajectory(index).states[:, 2:4])) for index in range(len(episodes))]
    return select(episodes, torch.tensor([index for index, mode in enumerate(modes) if mode in wanted]))


class RewardedAvoid(AvoidEnvironment):
    """Episodes of obstacle avoidance with DPPO's rewards, stepped together.

    The three tasks have the same dynamics and rewards and differ in their demonstrations (`modes_of_task`). An episode
    is solved as of a step with reward 2; published success averages the rewards over a chunk of four steps, of which
    all must be 2. A rod that has touched a cylinder goes on through it, because the arm is a linear tracker; every
    later reward is −0.1. An action that is not finite ends its episode: only then is it terminated.

    Extra: as of `AvoidEnvironment`.

    Args:
        count: Number of episodes stepped together.
        task: Name of the task.
        steps: Control steps of an episode.

    >>> env = RewardedAvoid(1, "m1")
    >>> env.name, env.steps
    ('avoid-m1', 100)
    """

    def __init__(self, count: int, task: str, *, steps: int = REWARDED_STEPS) -> None:
        super().__init__(count, steps=steps)
        self.modes = modes_of_task(task)
        self.name = f"avoid-{task}"

    def _advance(self, before: AvoidCourse, actions: Float[Tensor, "b m"], moves: Bool[Tensor, " b"]) -> AvoidCourse:
        state = torch.where(moves[:, None], self.system.step(before.state, actions), before.state)
        position = state[:, 2:4]
        touched = moves & (clearance(before.state[:, 2:4], position) < AVOID_ROD)
        after = replace(
            before,
            state=state,
            gaps=torch.where(before.gaps < 0, gaps_passed(position), before.gaps),
            collided=before.collided | touched,
        )
        return replace(after, success=moves & (_rewards(before, after) >= SOLVED))

    def _rewards(self, before: AvoidCourse, after: AvoidCourse, running: Bool[Tensor, " b"]) -> Float[Tensor, " b"]:
        return torch.where(running, _rewards(before, after), 0.0)


def _rewards(before: AvoidCourse, after: AvoidCourse) -> Float[Tensor, " b"]:
    x, y = after.state[:, 2], after.state[:, 3]
    # the published step computes its reward before it notes the gap
    reward = (before.gaps[:, 2] == _LEFT).double() + (y > _LINE).double()
    outside = (x < _SIDES[0]) | (x > _SIDES[1])
    return torch.where(after.collided | outside, _TOUCHED, reward)
