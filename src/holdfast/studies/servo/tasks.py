"""The three tasks of study servo: demonstrations, environments and loops under a servo of given gains.

    task          the servo moves          demonstrations                          solved
    reach         a point mass of 1 kg     of a hand-written law, new per seed     near the goal at the end
    quadrotor2d   the whole vehicle        model-predictive, new per seed          at rest near the goal at the end
    pusht         the agent                the 206 human ones                      the block covers 95 % of its outline

All servos of a seed get the same states; only the targets differ.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

from ...envs import FIRST_UNTOUCHED_SEED, Environment, Rollout
from ...envs.environment import Starts
from ...types import Episodes
from .laws import Gains

TaskName: TypeAlias = Literal["reach", "quadrotor2d", "pusht"]


@dataclass(frozen=True, eq=False)
class Loop:
    """Linear loop of a servo over one control step, with the rows that read the position.

    Attributes:
        A: Effect of the state.
        B: Effect of the target.
        C: Rows of the position.
    """

    A: Float[Tensor, "n k"]
    B: Float[Tensor, "r m"]
    C: Float[Tensor, "p s"]


@dataclass(frozen=True, eq=False)
class Retargeted:
    """Demonstrations with the targets of a servo, and how it tracks them.

    Attributes:
        episodes: The same states, with targets as actions.
        tracking: Root mean square distance of the servo's positions from the demonstrated ones, when it gets its
            targets from the start of each demonstration.
    """

    episodes: Episodes
    tracking: float


class ServoTask(ABC):
    """A task whose action is the target of a servo.

    Attributes:
        name: Name of the task.
        unit: Unit of its position.
        stiffness: Stiffness of the servos [1/s²].
        executed: Number of steps of a chunk that are executed before the next plan.
        n_obs_steps: Number of observations that the policy sees.
    """

    name: ClassVar[TaskName]
    unit: ClassVar[str]
    stiffness: ClassVar[tuple[float, ...]]
    executed: ClassVar[int]
    n_obs_steps: ClassVar[int] = 1

    @abstractmethod
    def demonstrations(self, count: int, seed: int) -> Episodes:
        """Demonstrations in the task's own actions."""

    @abstractmethod
    def retargeted(self, episodes: Episodes, gains: Gains) -> Retargeted:
        """Demonstrations with the targets of a servo."""

    @abstractmethod
    def environment(self, gains: Gains, count: int) -> Environment:
        """Environment under a servo."""

    @abstractmethod
    def loop(self, gains: Gains) -> Loop:
        """Linear loop of the servo."""

    @abstractmethod
    def displaced(self, episodes: Episodes, gains: Gains, size: float, steps: int) -> Float[Tensor, "b steps"]:
        """Distance of two replays of the same targets, of which one begins at a position that is displaced."""

    @abstractmethod
    def solved(self, found: Rollout) -> list[float]:
        """1 for each solved episode, otherwise 0."""

    def starts(self, count: int) -> Starts:
        """Starts of evaluation, which play no part in any choice."""
        return range(FIRST_UNTOUCHED_SEED, FIRST_UNTOUCHED_SEED + count)

    def score(self, found: Rollout) -> list[float]:
        """Score of each episode: by default whether it is solved."""
        return self.solved(found)


def shifted(states: Float[Tensor, "b n"], size: float) -> Float[Tensor, "b n"]:
    """States whose position, their first two coordinates, is displaced by a distance along the diagonal."""
    shift = torch.zeros_like(states)
    shift[:, :2] = size / 2**0.5
    return states + shift


def lengths(vectors: Float[Tensor, "*b d"]) -> Float[Tensor, "*b"]:
    """Euclidean lengths."""
    return vectors.square().sum(dim=-1).sqrt()


def padded(rows: Float[Tensor, "rows d"], episodes: Episodes) -> Float[Tensor, "b t d"]:
    """Rows by episode, in float64; the last one of each is repeated.

    >>> rows = torch.tensor([[1.0], [2.0], [3.0]])
    >>> padded(rows, Episodes(actions=rows, states=rows, lengths=torch.tensor([1, 2])))[..., 0]
    tensor([[1., 1.],
            [2., 3.]], dtype=torch.float64)
    """
    counts = episodes.lengths
    steps = torch.minimum(torch.arange(int(counts.max()))[None], counts[:, None] - 1)
    return rows[first_rows(episodes)[:, None] + steps].double()


def first_rows(episodes: Episodes) -> Tensor:
    """Row of the first step of each episode."""
    return episodes.lengths.cumsum(0) - episodes.lengths
