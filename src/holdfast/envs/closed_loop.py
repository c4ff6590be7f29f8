"""Closed loops, many at once: policy and system in step from given initial states.

    u_t = π(o_t, …),   x_{t+1} = f(x_t, u_t) + w_t

The disturbance w is data, not drawn here, so that two rollouts can share it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ..control import System
from ..types import Observation, Trajectory

__all__ = ["Acts", "Rollout", "rollout"]


@runtime_checkable
class Acts(Protocol):
    """Anything that controls a batch of episodes in step."""

    def reset(self, seed: int | None = None) -> None:
        """Forget the past; called once before a rollout."""
        ...

    def act(self, observation: Observation, state: Tensor) -> Tensor:
        """Actions `[b, m]` for observations and states `[b, ·]`."""
        ...


@dataclass(frozen=True)
class Rollout:
    """Trajectories of a closed loop.

    Attributes:
        trajectory: States and actions; finite everywhere.
        lost: From which step on an episode's state is no longer followed: it left the limits, or the policy or the
            system gave no number. From then on the episode stands still.
    """

    trajectory: Trajectory
    lost: Bool[Tensor, "b t"]

    @property
    def escaped(self) -> Bool[Tensor, " b"]:
        """Episodes that were lost on the way."""
        return self.lost[:, -1]

    def to(self, device: torch.device | str) -> "Rollout":
        """The same on another device."""
        path = self.trajectory
        moved = Trajectory(actions=path.actions.to(device), states=path.states.to(device))
        return Rollout(moved, self.lost.to(device))

    def parts(self, count: int) -> list["Rollout"]:
        """The episodes in so many equal parts."""
        path = self.trajectory
        parts = zip(path.actions.chunk(count), path.states.chunk(count), self.lost.chunk(count), strict=True)
        return [Rollout(Trajectory(actions=actions, states=states), lost) for actions, states, lost in parts]


@torch.no_grad()
def rollout(
    system: System,
    policy: Acts,
    initial_states: Float[Tensor, "b n"],
    *,
    steps: int,
    seed: int = 0,
    disturbance: Float[Tensor, "b t n"] | None = None,
    limit: float = 1e3,
    on_step: Callable[[int], None] = lambda step: None,
) -> Rollout:
    """Run a policy on a fully observed system.

    Args:
        system: The dynamics.
        policy: Reset with `seed`, then asked for one action a step.
        initial_states: Where each episode starts.
        steps: Control steps `T`.
        seed: Of the policy's randomness.
        disturbance: Added to the next state.
        limit: An episode whose state leaves [-limit, limit], or is no number, is frozen at its last state: a crash
            must not turn the statistics of the others into NaN.
        on_step: Called with the number of steps done.
    """
    policy.reset(seed)
    state = initial_states
    escaped = torch.zeros(state.shape[0], dtype=torch.bool, device=state.device)
    states, actions, lost = [state], list[Tensor](), list[Tensor]()
    for step in range(steps):
        action = policy.act(Observation(state=state), state).to(state)
        following = system.step(state, action)
        if disturbance is not None:
            following = following + disturbance[:, step]
        # `not <=` rather than `>`, so that NaN counts as outside
        escaped = escaped | ~(following.abs() <= limit).all(dim=-1) | ~action.isfinite().all(dim=-1)
        state = torch.where(escaped[:, None], state, following)
        states.append(state)
        actions.append(torch.where(escaped[:, None], action.nan_to_num(0.0, limit, -limit), action))
        lost.append(escaped)
        on_step(step + 1)
    trajectory = Trajectory(actions=torch.stack(actions, dim=1), states=torch.stack(states, dim=1))
    return Rollout(trajectory=trajectory, lost=torch.stack(lost, dim=1))
