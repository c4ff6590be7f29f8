"""Receding-horizon expert: plans `horizon` states ahead, executes the first action, and plans again."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor

from ..errors import RecipeError
from ..types import Trajectory
from .iterative_lqr import Derivatives, Objective, Plan, ilqr
from .systems.base import QuadraticTask, Task, knows


def mean_cost(task: Task, horizon: int) -> Objective:
    """Cost of a plan: its mean state cost plus its mean action cost.

        J = 1/h Σ_{t<h} c(x_t, u*) + 1/(h−1) Σ_{t<h−1} c(x*, u_t)

    with `(x*, u*)` the task's equilibrium. The task's cost must be separable, `c(x, u) = c(x, u*) + c(x*, u)`. The two
    means have different numbers of terms, so the action weight is `h/(h−1)` times that in `Σ c(x, u)`; there is no
    terminal cost. (As in the code of Block et al. 2023.)
    """

    def of_states(states: Tensor) -> Tensor:
        rest = task.equilibrium()[1].to(states)
        return task.cost(states, rest.expand(*states.shape[:-1], -1)) / horizon

    def of_actions(actions: Tensor) -> Tensor:
        rest = task.equilibrium()[0].to(actions)
        return task.cost(rest.expand(*actions.shape[:-1], -1), actions) / (horizon - 1)

    def stage(states: Tensor, actions: Tensor) -> Tensor:
        return of_states(states) + of_actions(actions)

    if not isinstance(task, QuadraticTask) or not _is_quadratic(task):
        return Objective(stage, of_states)
    at, rest = task.equilibrium()
    Q, R = (weight / count for weight, count in zip(task.weights(), (horizon, horizon - 1), strict=True))
    both = cast(Any, torch).block_diag(R, Q)
    return Objective(stage, of_states, _quadratic(both, torch.cat([rest, at])), _quadratic(Q, at))


def _is_quadratic(task: QuadraticTask) -> bool:
    known = ("cost", "weights", "equilibrium")
    return task.cost_is_quadratic and knows(task, "cost_is_quadratic", *known)


def _quadratic(weight: Float[Tensor, "d d"], center: Float[Tensor, " d"]) -> Derivatives:
    """Derivatives of `(z − c)ᵀW(z − c)`: gradient `2W(z − c)` and Hessian `2W`, for a symmetric W."""

    def derivatives(points: Float[Tensor, "b d"]) -> tuple[Float[Tensor, "b d"], Float[Tensor, "b d d"]]:
        twice = (weight + weight.mT).to(points)
        return (points - center.to(points)) @ twice, twice.expand(len(points), -1, -1)

    return derivatives


@dataclass(frozen=True)
class MpcExpert:
    """Model-predictive control by iterative LQR (the demonstrator of Block et al. 2023, arXiv 2307.14619).

    Attributes:
        task: System and cost; `mean_cost` defines the cost of a plan.
        horizon: Number of states of a plan, including the current one.
        tolerance: Gradient norm at which a plan counts as optimal.
        max_rounds: Maximum number of iLQR iterations per plan.

    Raises:
        RecipeError: The horizon has less than one action.

    >>> from holdfast.control.systems import scalar
    >>> expert = MpcExpert(scalar(a=1.0), horizon=3)
    >>> expert.rollout(torch.ones(1, 1), steps=2).states.flatten()
    tensor([1.0000, 0.4839, 0.2341])
    """

    task: Task
    horizon: int = 30
    tolerance: float = 1e-5
    max_rounds: int = 100

    def __post_init__(self) -> None:
        if self.horizon < 2:
            raise RecipeError(f"expected a horizon of at least 2 states (one action), got {self.horizon}.")

    def plan(self, state: Float[Tensor, "b n"], warm_start: Float[Tensor, "b h m"] | None = None) -> Plan:
        """Plan from each state."""
        if warm_start is None:
            warm_start = state.new_zeros(len(state), self.horizon - 1, self.task.n_actions)
        objective = mean_cost(self.task, self.horizon)
        return ilqr(self.task, objective, state, warm_start, tolerance=self.tolerance, max_rounds=self.max_rounds)

    def rollout(
        self, initial_states: Float[Tensor, "b n"], steps: int, *, progress: Callable[[int], None] | None = None
    ) -> Trajectory:
        """Demonstrations of `steps` steps, one from each initial state.

        Each plan starts from the previous one, shifted by one step, with its last action repeated.
        """
        states, actions = [initial_states], list[Tensor]()
        warm_start: Tensor | None = None
        for done in range(1, steps + 1):
            plan = self.plan(states[-1], warm_start)
            actions.append(plan.actions[:, 0])
            states.append(plan.states[:, 1])
            warm_start = torch.cat([plan.actions[:, 1:], plan.actions[:, -1:]], 1)
            if progress is not None:
                progress(done)
        return Trajectory(actions=torch.stack(actions, 1), states=torch.stack(states, 1))
