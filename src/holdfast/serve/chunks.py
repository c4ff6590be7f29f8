"""Plans at the robot: the controllers of a chunk evaluated at the current state, in NumPy.

u = Σ w_i (ū_i + K_i (x − x̄_i)),     i over the plans that reach this step; one plan without temporal ensembling
"""

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from ..rotations import Form

Numbers = NDArray[Any]


@dataclass(frozen=True, kw_only=True)
class Chunk:
    """Composite action of a plan, κ(x) = ū + K (x − x̄) at each step.

    Attributes:
        actions: Reference actions ū `[h, m]`.
        states: Reference states x̄ `[h, n]`; `None` for actions without feedback.
        gains: Gains K `[h, m, n]`; `None` for actions without feedback.
    """

    actions: Numbers
    states: Numbers | None = None
    gains: Numbers | None = None

    @staticmethod
    def of(reply: Mapping[str, Any]) -> "Chunk":
        """The chunk of a server's reply."""
        laws: Mapping[str, Any] = reply.get("controllers") or {}
        # where there are limits, `actions` is within them, before the feedback is added
        return Chunk(actions=laws.get("actions", reply["actions"]), states=laws.get("states"), gains=laws.get("gains"))

    def at(self, step: int, state: Numbers) -> Numbers:
        """Action `[m]` of a step at a state `[n]`.

        >>> gains, zero = np.array([[[-0.5]]]), np.zeros((1, 1))
        >>> Chunk(actions=zero + 1, states=zero, gains=gains).at(0, np.array([2.0]))
        array([0.])
        """
        if self.gains is None or self.states is None:
            return self.actions[step].copy()
        return self.actions[step] + self.gains[step] @ (state - self.states[step])


def weights(count: int, *, decay: float, newest_first: bool) -> Numbers:
    """Weights of overlapping plans, oldest first, as in `policy.Ensemble`.

    >>> (7 * weights(3, decay=0.693147, newest_first=False)).round(3)
    array([4., 2., 1.])
    """
    raw = np.exp(-decay * np.arange(count))
    return (raw[::-1] if newest_first else raw) / raw.sum()


@dataclass
class Running:
    """Plans that are executed, newest last.

    Attributes:
        every: Number of steps executed before the next plan.
        ensemble: Decay and order of temporal ensembling, or `None`.
        low: Lower limits of the action, or `None`.
        high: Upper limits of the action, or `None`.
        rotations: First coordinate and form of each rotation in an action, which plans average in the group.
    """

    every: int
    ensemble: Mapping[str, Any] | None = None
    low: Numbers | None = None
    high: Numbers | None = None
    rotations: Sequence[tuple[int, str]] = ()
    chunks: deque[tuple[int, Chunk]] = field(default_factory=deque[tuple[int, Chunk]])
    step: int = 0

    def clear(self) -> None:
        """Start a new episode."""
        self.chunks.clear()
        self.step = 0

    @property
    def needs_plan(self) -> bool:
        """Whether the next step begins with a plan."""
        return not self.chunks or self.step - self.chunks[-1][0] >= self.every

    def take(self, chunk: Chunk) -> None:
        """Add a plan whose first step is the next one, and forget those that do not reach it."""
        self.chunks.append((self.step, chunk))
        while self.ensemble is None and len(self.chunks) > 1:
            self.chunks.popleft()
        while self.step - self.chunks[0][0] >= len(self.chunks[0][1].actions):
            self.chunks.popleft()

    def act(self, state: Numbers) -> Numbers:
        """Action `[m]` of the next step, within the limits."""
        actions = np.stack([chunk.at(self.step - begun, state) for begun, chunk in self.chunks])
        action = actions[-1] if self.ensemble is None else self._averaged(actions, self.ensemble)
        self.step += 1
        return action if self.low is None and self.high is None else np.clip(action, self.low, self.high)

    def _averaged(self, actions: Numbers, ensemble: Mapping[str, Any]) -> Numbers:
        """Weighted mean `[m]` of actions `[k, m]`, of rotations in their group."""
        by_age = weights(len(actions), **ensemble)
        if not self.rotations:
            return by_age @ actions
        import torch  # here: a client of policies without rotations needs NumPy only

        from ..rotations import Rotation, mean

        known = [Rotation(first, cast("Form", form)) for first, form in self.rotations]
        values = torch.as_tensor(actions)
        return mean(values, torch.as_tensor(by_age).to(values), known).numpy()
