"""A cell of study theorems: rollouts of expert and flawed policy, and the bound that applies to them."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ...analysis.bounds import Bound
from ...analysis.couplings import PairedRollouts
from ...evaluation.intervals import Estimate
from ...types import Trajectory


@dataclass(frozen=True)
class Flaw:
    """Flaw of a policy.

    Attributes:
        bias: Length of the error of every plan, or action.
        slip: Probability of a plan that starts `far` off.
        far: Distance by which such a plan is off.
    """

    bias: float = 0.0
    slip: float = 0.0
    far: float = 5.0

    def __str__(self) -> str:
        return f"slips, p = {self.slip:g}" if self.slip else f"bias {self.bias:g}"


@dataclass(frozen=True)
class Cell:
    """Rollouts of expert and policy, and the bound that applies to them.

    Attributes:
        sigma: σ of the observation noise; for plain plans the std of the plan.
        chunks: Number of decisions H.
        bound: The bound at ε, given the measured loss.
        surely: A lower bound on the loss at ε without matching (see `laws`): exact for Gaussian laws, else the lower
            end of a 95 % interval.
    """

    system: str
    theorem: str
    flaw: str
    sigma: float
    chunks: int
    rollouts: PairedRollouts
    bound: Callable[[float, Estimate | None], Bound]
    surely: Callable[[float], float]


def paired(
    expert: Trajectory,
    policy: Trajectory,
    chunk: int,
    *,
    pool: bool = False,
    difference: Callable[[Tensor, Tensor], Tensor] = torch.sub,
) -> PairedRollouts:
    """Rollouts from one start, or from pooled starts, at a few of their steps.

    Losses are measured in the first, the middle and the last chunk, at their first and last step and a quarter on; the
    largest of these is at most that over all steps. Where starts are pooled, whole laws are coupled, and the first
    state, which enters no loss, is set to zero.
    """
    chunks = expert.steps // chunk
    places = [h * chunk + k for h in (0, chunks // 2, chunks - 1) for k in (0, chunk // 4, chunk - 1)]
    rows = torch.tensor(sorted(set(places)))

    def thinned(runs: Trajectory) -> Trajectory:
        first = runs.states[:, :1]
        kept = torch.cat([torch.zeros_like(first) if pool else first, runs.states[:, rows + 1]], 1)
        return Trajectory(actions=runs.actions[None, :, rows], states=kept[None])

    return PairedRollouts(expert=thinned(expert), policy=thinned(policy), difference=difference)
