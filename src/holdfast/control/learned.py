"""Learned dynamics, local: a linear regression about each query, whose coefficients are the linearisation.

    Δx ≈ c + A' (x − x_q) + B (u − u_q),    A = I + A'

fitted to the recorded steps nearest to `(x_q, u_q)`, near ones weighing more (Atkeson, Moore & Schaal 1997, "Locally
weighted learning for control"). With gains from such linearisations: Block et al. 2023, arXiv 2305.09619.

Directions in which the near steps do not differ keep the slopes of the linear regression on all steps.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ..errors import DataError, RecipeError
from ..types import Episodes
from ._typed import solve, svd
from .exploration import excited_transitions
from .linearization import Linearization
from .transition_sets import Transitions, named, nearest

__all__ = ["LocalLinear", "fit_local_linear"]

# Steps nearer to one another than this share of their spread count as one: what they differ by is rounding.
_LEAST_REACH = 1e-9


@dataclass(frozen=True, eq=False)
class LocalLinear:
    """Dynamics by locally weighted linear regression; its own linearisation needs no autograd.

    Attributes:
        steps: The data.
        scale: What each coordinate of state and action is divided by before distances are taken.
        neighbours: Steps that a regression uses.
        trend: Slopes of the linear regression on all steps.
        ridge: Weight on squared departures from these slopes, over the distance of the farthest neighbour, relative to
            the summed weights of the data: 0 trusts the near steps in every direction, much is one linear system.
        dt: Seconds a control step [s].
        state_names: What each state coordinate is.
        action_names: What each action coordinate is.
        name: What error messages and reports call it.
    """

    steps: Transitions
    scale: Float[Tensor, " d"]
    neighbours: int
    trend: Float[Tensor, "n d"]
    ridge: float
    dt: float
    state_names: tuple[str, ...]
    action_names: tuple[str, ...]
    name: str = "learned"

    @property
    def n_states(self) -> int:
        """Coordinates of a state."""
        return self.steps.states.shape[1]

    @property
    def n_actions(self) -> int:
        """Coordinates of an action."""
        return self.steps.actions.shape[1]

    def step(self, state: Float[Tensor, "*b n"], action: Float[Tensor, "*b m"]) -> Float[Tensor, "*b n"]:
        """`x + c`: the local regression at the point itself."""
        change, _ = self._regress(state, action)
        return state + change.to(state).reshape(state.shape)

    def linearize(self, states: Float[Tensor, "*b n"], actions: Float[Tensor, "*b m"]) -> Linearization:
        """The regressions' slopes at each point."""
        _, slopes = self._regress(states, actions)
        slopes = slopes.to(states).reshape(*states.shape[:-1], *slopes.shape[1:])
        A, B = slopes[..., : self.n_states], slopes[..., self.n_states :]
        return Linearization(A + torch.eye(self.n_states).to(A), B)

    def _regress(self, states: Tensor, actions: Tensor) -> tuple[Float[Tensor, "q n"], Float[Tensor, "q n d"]]:
        """Change and slopes at each of some points."""
        queries = torch.cat([states.reshape(-1, self.n_states), actions.reshape(-1, self.n_actions)], -1).double()
        inputs = self.steps.inputs / self.scale
        index, distance = nearest(inputs, queries / self.scale, self.neighbours)
        # tricube weights, nearly zero at the farthest neighbour: as good as continuous where neighbours change, yet
        # some weight is left where all are equally far
        reach = (1.1 * distance[:, -1:]).clamp(min=_LEAST_REACH)
        weight = (1 - (distance / reach) ** 3) ** 3
        weight = weight / weight.sum(-1, keepdim=True)
        # centred on the query, so that the intercept is the prediction; in units of the reach, so that one ridge fits
        # dense and sparse regions
        near = (inputs[index] - (queries / self.scale)[:, None]) / reach[..., None]
        design = torch.cat([near, torch.ones_like(near[..., :1])], -1)
        penalty = torch.tensor([self.ridge] * near.shape[-1] + [0.0]).to(near).diag()
        weighted = design.mT * weight[:, None]
        departures = self.steps.changes - self.steps.inputs @ self.trend.mT
        found = solve(weighted @ design + penalty, weighted @ departures[index])
        slopes = found[:, :-1].mT / reach[..., None] / self.scale
        return found[:, -1] + queries @ self.trend.mT, slopes + self.trend


def fit_local_linear(
    episodes: Episodes,
    *,
    neighbours: int | None = None,
    ridge: float = 1e-9,
    least_excitation: float = 1e-3,
) -> LocalLinear:
    """Dynamics by locally weighted linear regression on recorded steps.

    Args:
        episodes: Demonstrations and explored episodes (`explore`), joined.
        neighbours: Steps that a regression uses; three times its unknowns if nothing is said, but all there are where
            that is fewer.
        ridge: See `LocalLinear`.
        least_excitation: See `check_excitation`; 0 accepts any data.

    Raises:
        DataError: Too few steps for one regression, or actions that are a function of the state.
        RecipeError: A number out of range.

    >>> from holdfast.control.systems import scalar
    >>> from holdfast.seeding import stream
    >>> x, u = (torch.randn(50, 1, dtype=torch.float64, generator=stream(0, what)) for what in "xu")
    >>> one_step = Episodes(
    ...     actions=u, states=x, lengths=torch.ones(50, dtype=torch.int64), final_states=scalar().step(x, u)
    ... )
    >>> point = fit_local_linear(one_step).linearize(torch.zeros(1), torch.zeros(1))
    >>> f"{float(point.A):.3f} {float(point.B):.3f}"
    '0.900 1.000'
    """
    steps = excited_transitions(episodes, least=least_excitation)
    state_names, action_names = named(episodes)
    spread = steps.inputs.std(0)
    scale = torch.where(spread > 0, spread, 1)
    return LocalLinear(
        steps=steps,
        scale=scale,
        neighbours=_neighbours(steps, neighbours, ridge),
        trend=_trend(steps, scale),
        ridge=ridge,
        dt=episodes.dt or 1.0,
        state_names=state_names,
        action_names=action_names,
    )


def _neighbours(steps: Transitions, given: int | None, ridge: float) -> int:
    """How many steps a regression uses."""
    rows, unknowns = len(steps.states), steps.inputs.shape[1] + 1
    if rows < unknowns:
        raise DataError(f"expected at least {unknowns} steps for a regression of {unknowns} unknowns, got {rows}.")
    used = min(3 * unknowns, rows) if given is None else given
    if not unknowns <= used <= rows or ridge < 0:
        raise RecipeError(
            f"expected {unknowns} to {rows} neighbours (unknowns of a regression; steps in the data) and ridge >= 0, "
            f"got {used} and {ridge:g}."
        )
    return used


def _trend(steps: Transitions, scale: Float[Tensor, " d"]) -> Float[Tensor, "n d"]:
    """Slopes of the linear regression of changes on all steps; zero in directions that the data lack."""
    inputs = (steps.inputs - steps.inputs.mean(0)) / scale
    left, singular, right = svd(inputs)
    # what is smaller than rounding's share of the largest is none
    kept = singular > 1e-10 * singular[0]
    inverse = torch.where(kept, 1 / torch.where(kept, singular, 1), 0)
    return (steps.changes - steps.changes.mean(0)).mT @ left @ (inverse[:, None] * right) / scale
