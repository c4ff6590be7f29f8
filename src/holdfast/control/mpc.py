"""The receding-horizon expert: plan `horizon` states ahead, take the first action, plan again."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ..errors import RecipeError
from ..types import Trajectory
from .iterative_lqr import Objective, Plan, ilqr
from .systems.base import Task

__all__ = ["MpcExpert", "mean_cost"]


def mean_cost(task: Task, horizon: int) -> Objective:
    """The cost of a plan: its mean over the plan's states plus its mean over the plan's actions.

        J = 1/h Σ_{t<h} c(x_t, u*) + 1/(h−1) Σ_{t<h−1} c(x*, u_t)

    with `(x*, u*)` the task's equilibrium. The task's cost must be the sum of a state's and an action's cost, so that
    `c(x, u) = c(x, u*) + c(x*, u)`. The two means differ in their number of terms, so that actions weigh `h/(h−1)` of
    what they do in `Σ c(x, u)`; no state is weighed as the terminal one. (So the code of Block et al. 2023.)
    """

    def of_states(states: Tensor) -> Tensor:
        rest = task.equilibrium()[1].to(states)
        return task.cost(states, rest.expand(*states.shape[:-1], -1)) / horizon

    def of_actions(actions: Tensor) -> Tensor:
        rest = task.equilibrium()[0].to(actions)
        return task.cost(rest.expand(*actions.shape[:-1], -1), actions) / (horizon - 1)

    return Objective(stage=lambda x, u: of_states(x) + of_actions(u), final=of_states)


@dataclass(frozen=True)
class MpcExpert:
    """Model-predictive control by iterative LQR (the demonstrator of Block et al. 2023, arXiv 2307.14619).

    Attributes:
        task: The system and its cost; see `mean_cost` for how a plan is judged.
        horizon: States of a plan, the current one included [steps].
        tolerance: Gradient norm at which a plan counts as optimal.
        max_rounds: Limit on iLQR's rounds per plan.

    Raises:
        RecipeError: The horizon has no room for an action.

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
        """The plan from each state.

        Args:
            state: Where the plans start.
            warm_start: First guess of the `horizon − 1` actions; zero actions where it is `None`.
        """
        if warm_start is None:
            warm_start = state.new_zeros(len(state), self.horizon - 1, self.task.n_actions)
        objective = mean_cost(self.task, self.horizon)
        return ilqr(self.task, objective, state, warm_start, tolerance=self.tolerance, max_rounds=self.max_rounds)

    def rollout(
        self,
        initial_states: Float[Tensor, "b n"],
        steps: int,
        *,
        progress: Callable[[int], None] | None = None,
    ) -> Trajectory:
        """Demonstrations of `steps` steps, one from each initial state.

        Each plan starts from the one before it, shifted by one step, its last action repeated.

        Args:
            initial_states: Where the demonstrations start.
            steps: Control steps of each.
            progress: Called after each step with the number of steps done.
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
