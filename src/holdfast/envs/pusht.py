"""Push-T: push a T-shaped block onto its outline (Florence et al. 2021; Chi et al. 2023, arXiv 2303.04137).

The simulator is gym-pusht (extra `pusht`). The action is the agent's target in pixels of a 512 × 512 window: the
environment's own servo (k_p = 100, k_v = 20) is the primitive controller that moves the agent there, and the agent's
position is the state. The rest of the observation comes in three kinds:

    pusht           nine keypoints of the block as observation.environment_state, 18 numbers [px]
    pusht-state     the block's x, y [px], cos θ, sin θ as observation.environment_state
    pusht-pixels    a picture of 96 × 96 pixels as observation.images.image

Published score: the largest clip(coverage / 0.95, 0, 1) of the episode, over 300 steps of 0.1 s.
"""

from dataclasses import replace
from types import MappingProxyType
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from numpy import ndarray
from torch import Tensor

from ..data.pusht_goal import GOAL
from ..errors import RecipeError
from ..types import Observation
from .batched import check_count
from .environment import Environment, Starts, Step, is_states
from .pusht_table import Table, check_gains

PUSHT_STEPS = 300
PUSHT_SOLVED = 0.95
"""Coverage above which an episode is solved."""
PUSHT_DT = 0.1

KEYPOINTS = (
    (9.2698, 90.0410),
    (-60.9835, -1.1867),
    (60.9128, -1.3934),
    (-0.2705, 25.5436),
    (-14.0649, 122.8159),
    (39.0027, 32.8574),
    (-39.9664, 32.7297),
    (-16.8243, 62.8632),
    (23.5415, -1.7003),
)
"""The block's keypoints in its own frame [px]: least squares on the published human demonstrations, whose keypoints
they reproduce to 7.3e-5 px (median 5.8e-5) at every step after which the block stays where it is."""

Kind = Literal["keypoints", "state", "pixels"]


def keypoints(pose: Float[Tensor, "*b 3"]) -> Float[Tensor, "*b 18"]:
    """The block's keypoints in the window for poses (x [px], y [px], angle [rad]): R(angle) p + (x, y).

    >>> keypoints(torch.tensor([100.0, 200.0, 0.0]))[:2]
    tensor([109.2698, 290.0410])
    """
    local = pose.new_tensor(KEYPOINTS)
    cos, sin = pose[..., 2, None].cos(), pose[..., 2, None].sin()
    x = cos * local[:, 0] - sin * local[:, 1] + pose[..., 0, None]
    y = sin * local[:, 0] + cos * local[:, 1] + pose[..., 1, None]
    return torch.stack([x, y], dim=-1).flatten(-2)


class PushT(Environment):
    """Tables of Push-T, stepped together.

    The reward of a step is clip(coverage / 0.95, 0, 1), so that an episode's published score is its largest reward.
    Extra: `coverage`, unclipped.

    Args:
        count: Number of tables.
        observation: Observation of the block: keypoints, state (pose) or pixels.
        goal: Position [px] and angle [rad] of the outline to cover. Default: gym-pusht's, (256, 256, π/4).
        gains: Stiffness k_p [1/s²] and damping k_v [1/s] of the servo, whose targets are then not bounded: a soft servo
            needs targets beyond the window to move as fast. Default: gym-pusht's, (100, 20), with targets within it.

    Raises:
        MissingExtraError: gym-pusht is not installed.
        RecipeError: Fewer than one table, a goal outside the window, or gains with which the servo is not stable.
    """

    dt = PUSHT_DT
    steps = PUSHT_STEPS
    n_actions = 2
    # the servo's target lies in the window
    action_bounds = torch.zeros(2, dtype=torch.float64), torch.full((2,), 512.0, dtype=torch.float64)
    units = MappingProxyType({"action": ("px", "px"), "state": ("px", "px")})
    restorable = True

    def __init__(
        self,
        count: int,
        *,
        observation: Kind = "keypoints",
        goal: tuple[float, float, float] | None = None,
        gains: tuple[float, float] | None = None,
    ) -> None:
        if count < 1:
            raise RecipeError(f"expected at least 1 table, got {count}.")
        if goal is not None and not (0 <= goal[0] <= 512 and 0 <= goal[1] <= 512 and abs(goal[2]) < 1e3):
            raise RecipeError(f"expected a goal x, y from 0 to 512 px and an angle in rad, got {goal}.")
        kind = "pusht" if observation == "keypoints" else f"pusht-{observation}"
        self.name = kind if goal is None else f"{kind}:{goal[0]:g},{goal[1]:g},{goal[2]:g}"
        self.goal = GOAL if goal is None else goal
        self._kind: Kind = observation
        if gains is None:
            self._tables = [Table(goal) for _ in range(count)]
        else:
            check_gains(*gains)
            self.action_bounds = None
            self._tables = [Table(goal, gains=gains) for _ in range(count)]

    def reset(self, starts: Starts) -> Step:
        """Begin one episode per seed or simulator state; 100 000, 100 001, … are the published test seeds."""
        check_count(starts, len(self._tables))
        if isinstance(starts, Tensor) and is_states(starts):
            self._place(starts)
        else:
            for table, seed in zip(self._tables, starts, strict=True):
                table.reset(int(seed))
        count = len(self._tables)
        self._step = 0
        self._solved = torch.zeros(count, dtype=torch.bool)
        self._pictures = torch.zeros(count, 96, 96, 3, dtype=torch.uint8)
        return self._shown(~self._solved)

    def step(self, actions: Float[Tensor, "b m"]) -> Step:
        """One control step of all tables that are not over."""
        moved = ~self._solved & torch.tensor(self._step < self.steps)
        for table, action, moves in zip(self._tables, actions, moved, strict=True):
            if moves:
                table.step([float(x) for x in action])
        self._step += 1
        coverage = torch.tensor([table.coverage for table in self._tables], dtype=torch.float64)
        self._solved = self._solved | (moved & (coverage > PUSHT_SOLVED))
        reward = torch.where(moved, (coverage / PUSHT_SOLVED).clamp(0.0, 1.0), 0.0)
        return replace(self._shown(moved), reward=reward, extra={"coverage": coverage})

    def get_state(self) -> Float[Tensor, "b 7"]:
        """Agent x, y, block x, y [px] and angle [rad], agent's velocity x, y [px/s]."""
        return torch.tensor([[*table.state, *table.velocity] for table in self._tables], dtype=torch.float64)

    def set_state(self, states: Float[Tensor, "b s"]) -> Step:
        """Move the tables to states of `get_state`, exactly; without the two velocities the agents are at rest."""
        self._place(states)
        return self._shown(~self._solved)

    def solved_here(self) -> Bool[Tensor, " b"]:
        """Whether each block covers its outline now."""
        return torch.tensor([table.coverage > PUSHT_SOLVED for table in self._tables])

    def _place(self, states: Tensor) -> None:
        check_count(states, len(self._tables))
        for table, state in zip(self._tables, states, strict=True):
            values = [float(value) for value in state]
            table.place(values[:5], values[5:] or (0.0, 0.0))

    @property
    def states(self) -> Float[Tensor, "b 5"]:
        """Agent x, y, block x, y [px] and angle in [0, 2π) [rad], as the published demonstrations record them."""
        found = self.get_state()
        return torch.cat([found[:, :4], found[:, 4:5] % (2 * torch.pi)], dim=-1)

    def render(self) -> UInt8[ndarray, "b 96 96 3"]:
        """Each table from above."""
        return np.stack([table.picture() for table in self._tables])

    def close(self) -> None:
        """Release the simulators' resources."""
        for table in self._tables:
            table.close()

    def _shown(self, moved: Bool[Tensor, " b"]) -> Step:
        """Current observations, where only some tables have moved."""
        states = self.states
        agent, pose = states[:, :2], states[:, 2:]
        match self._kind:
            case "keypoints":
                observation = Observation(state=agent, environment_state=keypoints(pose))
            case "state":
                turned = [pose[:, :2], pose[:, 2:].cos(), pose[:, 2:].sin()]
                observation = Observation(state=agent, environment_state=torch.cat(turned, dim=-1))
            case "pixels":
                observation = Observation(state=agent, images={"image": self._photographed(moved)})
        step = Step.first(observation, agent)
        over = torch.full_like(self._solved, self._step >= self.steps)
        return replace(step, terminated=self._solved, truncated=over & ~self._solved, success=self._solved)

    def _photographed(self, moved: Bool[Tensor, " b"]) -> UInt8[Tensor, "b 96 96 3"]:
        # rendering takes longer than stepping, so tables that did not move are not rendered again; a new tensor,
        # because the caller may keep the last one
        self._pictures = self._pictures.clone()
        for index, table in enumerate(self._tables):
            if moved[index]:
                self._pictures[index] = torch.tensor(table.picture())
        return self._pictures
