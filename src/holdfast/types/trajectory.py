"""Trajectories, and the primitive controllers that are synthesised along them."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Trajectory:
    """Trajectories of equal length: `states[t] --actions[t]--> states[t + 1]`.

    >>> import torch
    >>> Trajectory(actions=torch.zeros(5, 10, 1), states=torch.zeros(5, 11, 2)).steps
    10
    """

    actions: Float[Tensor, "*b t m"]
    states: Float[Tensor, "*b t+1 n"]

    @property
    def steps(self) -> int:
        """Number of control steps `T`."""
        return self.actions.shape[-2]


@dataclass(frozen=True, kw_only=True)
class PrimitiveControllers:
    """Affine feedback laws κ = (ū, x̄, K); along a chunk's steps, a *composite action*.

        κ(x) = ū + K (x − x̄)

    `K = 0` is an ordinary open-loop action. (Block et al. 2023, arXiv 2307.14619, section 2.)

    >>> import torch
    >>> hold = PrimitiveControllers(
    ...     actions=torch.tensor([1.0]), states=torch.tensor([0.0]), gains=torch.tensor([[-0.5]])
    ... )
    >>> hold(torch.tensor([2.0]))
    tensor([0.])
    """

    actions: Float[Tensor, "*b m"]
    states: Float[Tensor, "*b n"]
    gains: Float[Tensor, "*b m n"]

    def __call__(self, state: Float[Tensor, "*b n"]) -> Float[Tensor, "*b m"]:
        """The action at a state, in the higher of the two precisions."""
        if state.dtype != self.actions.dtype:
            common = torch.promote_types(state.dtype, self.actions.dtype)
            wider = PrimitiveControllers(
                actions=self.actions.to(common), states=self.states.to(common), gains=self.gains.to(common)
            )
            return wider(state.to(common))
        return self.actions + (self.gains @ (state - self.states).unsqueeze(-1)).squeeze(-1)

    def at(self, index: int) -> "PrimitiveControllers":
        """Controllers of one step of chunks `[*b, h]`."""
        return PrimitiveControllers(
            actions=self.actions[..., index, :], states=self.states[..., index, :], gains=self.gains[..., index, :, :]
        )

    def __getitem__(self, rows: int | Int[Tensor, "..."]) -> "PrimitiveControllers":
        """Controllers of some entries of the first axis."""
        return PrimitiveControllers(actions=self.actions[rows], states=self.states[rows], gains=self.gains[rows])

    @staticmethod
    def open_loop(actions: Float[Tensor, "*b m"], states: Float[Tensor, "*b n"]) -> "PrimitiveControllers":
        """Actions without feedback: K = 0."""
        # one expanded zero: the gains of ten million rows would fill a workstation's memory
        gains = actions.new_zeros(()).expand(*actions.shape, states.shape[-1])
        return PrimitiveControllers(actions=actions, states=states, gains=gains)
