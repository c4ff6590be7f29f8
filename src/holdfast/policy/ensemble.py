"""Temporal ensembling: plan at every step, and average the overlapping plans.

step             t    t+1  t+2  t+3
plan at t        κ₀   κ₁   κ₂   κ₃
plan at t + 1         κ₀   κ₁   κ₂
plan at t + 2              κ₀   κ₁
executed at t + 2:         w₀ κ₂(x) + w₁ κ₁(x) + w₂ κ₀(x),    x the state at t + 2

Every controller is evaluated at the current state before averaging, so that no feedback is outdated. Rotations are
averaged in their group (`rotations.mean`), because numbers of two equal rotations may be far apart. Zhao et al. 2023
(arXiv 2304.13705), section III-C and algorithm 2.
"""

from collections import deque
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from ..errors import RecipeError
from ..rotations import Rotation, mean
from ..types import Observation, PrimitiveControllers
from .execute import ChunkExecutor
from .overlap import Ensemble


class TemporalEnsemble:
    """Executor that averages all plans that reach the current step.

    A plan counts as long as its horizon reaches the current step. (The published code treats plans whose actions are
    zero as missing.)

    Args:
        executor: Executor that plans at every step.
        options: Weights of plans by age.
        rotations: Coordinates of an action that are rotations.

    Raises:
        RecipeError: The executor executes more than one step of a plan.
    """

    def __init__(self, executor: ChunkExecutor, options: Ensemble, rotations: Sequence[Rotation] = ()) -> None:
        if executor.n_action_steps != 1:
            raise RecipeError(
                f"temporal ensembling plans at every step, but n_action_steps is {executor.n_action_steps}. "
                "Give n_action_steps=1, or no ensemble."
            )
        self.executor = executor
        self.options = options
        self.rotations = rotations
        self.chunks: deque[PrimitiveControllers] = deque()

    def reset(self, seed: int | None = None) -> None:
        """Start a new episode; a seed restarts the policy's randomness."""
        self.executor.reset(seed)
        self.chunks.clear()

    def act(self, observation: Observation, state: Float[Tensor, "b n"]) -> Float[Tensor, "b m"]:
        """Next action of each episode: the average over all plans that reach this step, within the limits."""
        self.executor.observe(observation)
        self.chunks.append(self.executor.plan())
        while self.chunks[0].actions.shape[-2] < len(self.chunks):
            self.chunks.popleft()
        return self.limit(self._average(state))

    def limit(self, action: Float[Tensor, "*b m"]) -> Float[Tensor, "*b m"]:
        """The action within the limits."""
        return self.executor.limit(action)

    def _average(self, state: Float[Tensor, "b n"]) -> Float[Tensor, "b m"]:
        last = len(self.chunks) - 1
        actions = [chunk.at(last - index)(state) for index, chunk in enumerate(self.chunks)]
        weights = self.options.weights(len(actions)).to(actions[0])
        return mean(torch.stack(actions), weights[:, None].expand(-1, len(state)), self.rotations)
