"""Push-T: push a T-shaped block onto its outline (Florence et al. 2021; Chi et al. 2023, arXiv 2303.04137).

The simulator is gym-pusht (extra `pusht`). A policy says where the agent should go, in pixels of a 512 × 512 window:
the environment's own servo (k_p = 100, k_v = 20) is the primitive controller that takes it there, and the agent's
position is the state. What it sees besides comes in three kinds:

    pusht           nine keypoints of the block as observation.environment_state, 18 numbers [px]
    pusht-state     the block's x, y [px], cos θ, sin θ as observation.environment_state
    pusht-pixels    a picture of 96 × 96 pixels as observation.images.image

Published score: the largest clip(coverage / 0.95, 0, 1) of the episode, over 300 steps of 0.1 s.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from numpy import ndarray
from torch import Tensor

from ..errors import RecipeError, ShapeError
from ..types import Observation
from .closed_loop import Acts
from .environment import Seen, Step
from .episodes_run import run
from .pusht_table import Table

__all__ = [
    "KEYPOINTS",
    "PUSHT_FIRST_TEST_SEED",
    "PUSHT_SOLVED",
    "PUSHT_STEPS",
    "PushT",
    "PushTResult",
    "keypoints",
    "push_t",
]

PUSHT_STEPS = 300
PUSHT_FIRST_TEST_SEED = 100_000
"""Seeds below belong to training and tuning, as in Diffusion Policy."""
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
they reproduce to 2e-5 px wherever the block is at rest."""

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


class PushT:
    """Tables of Push-T, stepped together; an `Environment`.

    The reward of a step is clip(coverage / 0.95, 0, 1), so that an episode's published score is its largest reward.
    Extra: `coverage`, as it is.

    Args:
        count: How many.
        observation: What a policy sees besides the agent's position.

    Raises:
        MissingExtraError: gym-pusht is not installed.
        RecipeError: Less than one table.
    """

    dt = PUSHT_DT
    steps = PUSHT_STEPS
    n_actions = 2

    def __init__(self, count: int, *, observation: Kind = "keypoints") -> None:
        if count < 1:
            raise RecipeError(f"expected at least 1 table, got {count}.")
        self.name = "pusht" if observation == "keypoints" else f"pusht-{observation}"
        self._kind: Kind = observation
        self._tables = [Table() for _ in range(count)]

    @property
    def action_bounds(self) -> tuple[Float[Tensor, " m"], Float[Tensor, " m"]]:
        """The servo's target lies in the window [px]."""
        return torch.zeros(2, dtype=torch.float64), torch.full((2,), 512.0, dtype=torch.float64)

    def reset(self, seeds: Sequence[int]) -> Seen:
        """Begin one episode for each seed; 100 000, 100 001, … are the published test seeds.

        Raises:
            ShapeError: Another number of seeds than of tables.
        """
        self._check_count(len(seeds), "seeds")
        for table, seed in zip(self._tables, seeds, strict=True):
            table.reset(int(seed))
        return self._begin()

    def place(self, states: Float[Tensor, "b 5"], velocities: Float[Tensor, "b 2"] | None = None) -> Seen:
        """Begin one episode at each of the given states, exactly.

        Args:
            states: Agent x, y, block x, y [px] and angle [rad], as the demonstrations keep them.
            velocities: Of the agents [px/s]; at rest if nothing is said.

        Raises:
            ShapeError: Another number of states than of tables.
        """
        self._check_count(len(states), "states")
        still = torch.zeros(len(states), 2)
        for table, state, velocity in zip(
            self._tables, states, still if velocities is None else velocities, strict=True
        ):
            table.place([float(x) for x in state], [float(v) for v in velocity])
        return self._begin()

    def step(self, actions: Float[Tensor, "b m"]) -> Step:
        """One control step of all tables that are not over."""
        moved = ~self._over
        for table, action, moves in zip(self._tables, actions, moved, strict=True):
            if moves:
                table.step([float(x) for x in action])
        self._step += 1
        coverage = torch.tensor([table.coverage for table in self._tables], dtype=torch.float64)
        self._solved = self._solved | (moved & (coverage > PUSHT_SOLVED))
        self._over = self._over | self._solved | torch.tensor(self._step >= self.steps)
        reward = torch.where(moved, (coverage / PUSHT_SOLVED).clamp(0.0, 1.0), 0.0)
        seen = self._seen(moved)
        return Step(seen=seen, reward=reward, over=self._over, success=self._solved, extra={"coverage": coverage})

    def difference(self, x: Float[Tensor, "*b n"], y: Float[Tensor, "*b n"]) -> Float[Tensor, "*b n"]:
        """`x − y` of positions [px]."""
        return x - y

    @property
    def states(self) -> Float[Tensor, "b 5"]:
        """Where everything is: agent x, y, block x, y [px] and angle in [0, 2π) [rad]."""
        found = torch.tensor([table.state for table in self._tables], dtype=torch.float64)
        return torch.cat([found[:, :4], found[:, 4:] % (2 * torch.pi)], dim=-1)

    @property
    def velocities(self) -> Float[Tensor, "b 2"]:
        """How fast the agents go [px/s]."""
        return torch.tensor([table.velocity for table in self._tables], dtype=torch.float64)

    def frames(self) -> UInt8[ndarray, "b 96 96 3"]:
        """Each table from above."""
        return np.stack([table.picture() for table in self._tables])

    def close(self) -> None:
        """Give back what the simulators hold."""
        for table in self._tables:
            table.close()

    def _begin(self) -> Seen:
        count = len(self._tables)
        self._step = 0
        self._over, self._solved = torch.zeros(count, dtype=torch.bool), torch.zeros(count, dtype=torch.bool)
        self._pictures = torch.zeros(count, 96, 96, 3, dtype=torch.uint8)
        return self._seen(torch.ones(count, dtype=torch.bool))

    def _seen(self, moved: Bool[Tensor, " b"]) -> Seen:
        """What is shown, where only some tables have moved."""
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
        return Seen(observation=observation, state=agent)

    def _photographed(self, moved: Bool[Tensor, " b"]) -> UInt8[Tensor, "b 96 96 3"]:
        # drawing takes longer than stepping, so what stands still is not drawn again; a new tensor, as the last may
        # be kept by whoever saw it
        self._pictures = self._pictures.clone()
        for index, table in enumerate(self._tables):
            if moved[index]:
                self._pictures[index] = torch.tensor(table.picture())
        return self._pictures

    def _check_count(self, given: int, what: str) -> None:
        if given != len(self._tables):
            raise ShapeError(f"expected {len(self._tables)} {what}, one a table, got {given}.")


@dataclass(frozen=True)
class PushTResult:
    """What came of a set of episodes.

    Attributes:
        coverage: Largest coverage of each episode, as the published score clips it.
        solved: Whether the environment called the episode a success (coverage above 0.95).
    """

    coverage: Float[Tensor, " b"]
    solved: Bool[Tensor, " b"]


def push_t(
    policy: Acts,
    *,
    episodes: int,
    first_seed: int = PUSHT_FIRST_TEST_SEED,
    steps: int = PUSHT_STEPS,
    seed: int = 0,
    on_step: Callable[[int], None] = lambda step: None,
) -> PushTResult:
    """Run a policy that sees keypoints on `episodes` tables, seeded `first_seed`, `first_seed + 1`, …

    Args:
        policy: Asked once a step for all tables together.
        episodes: How many.
        first_seed: Of the first table's reset.
        steps: Length of an episode; a solved one stands still from then on.
        seed: Of the policy's own randomness.
        on_step: Called with the number of steps done.

    Raises:
        MissingExtraError: gym-pusht is not installed.
    """
    tables = PushT(episodes)
    seeds = range(first_seed, first_seed + episodes)
    try:
        flown = run(tables, policy, seeds=seeds, seed=seed, steps=steps, on_step=on_step)
    finally:
        tables.close()
    return PushTResult(coverage=flown.best_reward, solved=flown.extra["coverage"] > PUSHT_SOLVED)
