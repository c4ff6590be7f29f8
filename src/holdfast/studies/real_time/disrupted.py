"""Action noise that pushes a whole plan aside, as in Bidirectional Decoding (Liu et al. 2024, arXiv 2408.17355)."""

from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ...policy import Policy
from ...policy.realtime import Course, DelayedExecutor
from ...seeding import stream
from ...types import Observation

CORRELATION = 0.9
"""Weight of the last plan's disturbance in the next one."""


@dataclass
class Disrupted:
    """A policy whose actions are disturbed in proportion to the motion of the plan that runs.

    With the actions p_k of plan i, coordinate by coordinate, and the strength σ,

        n_k = σ z (p_{k+1} − p_k)                  z = ± (1/2 + U[0, 1)), one draw for each plan and coordinate
        e^i_k = 0.9 e^{i−1}_k + 0.1 n_k            e^0 = n
        executed: p_k + Σ_{j ≤ k} e^i_j

    so that a plan lags behind, overshoots or goes the other way, and a new plan is disturbed much like the last one.
    The paper only names a correlated noise; these equations are those of its published code. Its actions begin one
    step later in the plan than its noise, because its policies plan from the previous observation on; here both begin
    with the plan.

    Attributes:
        policy: Policy with the execution of a `RealTime`, whose plans are known.
        strength: Scale σ; 1 in the paper.
    """

    policy: Policy
    strength: float = 1.0
    offsets: Float[Tensor, "b h m"] | None = field(default=None, init=False)
    steps: Float[Tensor, "b h m"] | None = field(default=None, init=False)
    begun: Int[Tensor, " b"] | None = field(default=None, init=False)
    rng: torch.Generator = field(default_factory=lambda: stream(0, "disruption"), init=False)

    def reset(self, seed: int | None = None) -> None:
        """Begin a batch of episodes; a seed restarts the draws as well."""
        self.policy.reset(seed)
        self.offsets = self.steps = self.begun = None
        if seed is not None:
            self.rng = stream(seed, "disruption")

    def act(self, observation: Observation, state: Float[Tensor, "b n"]) -> Float[Tensor, "b m"]:
        """The policy's action with the disturbance of the plan that runs."""
        action = self.policy.act(observation, state)
        acting = self.policy.acting
        assert isinstance(acting, DelayedExecutor)
        assert acting.course is not None
        index = self._disturb(acting.course)
        assert self.offsets is not None
        return action + self.offsets[torch.arange(len(index)), index].to(action)

    def _disturb(self, course: Course) -> Int[Tensor, " b"]:
        """Draw the disturbance of plans that have begun to run; the index of this step in each running plan."""
        # the course is already at the next step
        step = course.step - 1
        chosen, plans = replace(course, step=step).running()
        begun = torch.stack([plan.begins for plan in plans]).gather(0, chosen[None])[0]
        planned = torch.stack([plan.chunk.actions for plan in plans])[chosen, torch.arange(len(chosen))].detach()
        if self.steps is None or self.begun is None:
            self.steps = self._drawn(planned)
        elif bool((fresh := begun != self.begun).any()):
            mixed = CORRELATION * self.steps + (1 - CORRELATION) * self._drawn(planned)
            self.steps = torch.where(fresh[:, None, None], mixed, self.steps)
        self.begun, self.offsets = begun, self.steps.cumsum(1)
        return (step - begun).clamp(0, self.steps.shape[1] - 1)

    def _drawn(self, planned: Float[Tensor, "b h m"]) -> Float[Tensor, "b h m"]:
        shape = len(planned), 1, planned.shape[2]
        size = 0.5 + torch.rand(shape, generator=self.rng, dtype=torch.float64)
        sign = 2.0 * torch.randint(2, shape, generator=self.rng) - 1
        moves = planned.diff(dim=1, append=planned[:, -1:])
        return self.strength * sign * size * moves
