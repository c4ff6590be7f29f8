"""Learned local dynamics: a linear regression about each query point, whose coefficients are the linearisation.

    Δx ≈ c + A' (x − x_q) + B (u − u_q),    A = I + A'

fitted to the recorded steps nearest to `(x_q, u_q)`, weighted by their distance (Atkeson, Moore & Schaal 1997, "Locally
weighted learning for control"). Block et al. 2023, arXiv 2305.09619, compute gains from such linearisations.

In directions in which the nearest steps do not vary, the slopes are those of a linear regression on all steps.
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
from .transition_sets import Transitions, coordinate_names, nearest, spread_of

# Steps nearer to one another than this share of their spread count as one: their difference is rounding error.
_LEAST_REACH = 1e-9


@dataclass(frozen=True, eq=False)
class LocalLinear:
    """Dynamics by locally weighted linear regression; the linearisation needs no automatic differentiation.

    Attributes:
        steps: Data.
        scale: Scale of each coordinate of state and action in the computation of distances.
        neighbours: Number of steps per regression.
        trend: Slopes of the linear regression on all steps.
        ridge: Penalty on squared deviations from these slopes, over the distance of the farthest neighbour and relative
            to the summed weights of the data. At 0 only the nearest steps determine the slopes; at large values the
            model is one linear system.
        dt: Duration of a control step [s].
        state_names: Names of the state coordinates.
        action_names: Names of the action coordinates.
        name: Name in error messages and reports.
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
        return self.steps.states.shape[1]

    @property
    def n_actions(self) -> int:
        return self.steps.actions.shape[1]

    def step(self, state: Float[Tensor, "*b n"], action: Float[Tensor, "*b m"]) -> Float[Tensor, "*b n"]:
        """`x + c`: the local regression at the query point."""
        change, _ = self._regress(state, action)
        return state + change.to(state).reshape(state.shape)

    def linearize(self, states: Float[Tensor, "*b n"], actions: Float[Tensor, "*b m"]) -> Linearization:
        """Slopes of the regression at each point."""
        _, slopes = self._regress(states, actions)
        slopes = slopes.to(states).reshape(*states.shape[:-1], *slopes.shape[1:])
        A, B = slopes[..., : self.n_states], slopes[..., self.n_states :]
        return Linearization(A + torch.eye(self.n_states).to(A), B)

    def _regress(self, states: Tensor, actions: Tensor) -> tuple[Float[Tensor, "q n"], Float[Tensor, "q n d"]]:
        queries = torch.cat([states.reshape(-1, self.n_states), actions.reshape(-1, self.n_actions)], -1).double()
        inputs = self.steps.inputs / self.scale
        index, distance = nearest(inputs, queries / self.scale, self.neighbours)
        # tricube weights, nearly zero at the farthest neighbour: almost continuous when neighbours change, yet
        # positive when all neighbours are equally far
        reach = (1.1 * distance[:, -1:]).clamp(min=_LEAST_REACH)
        weight = (1 - (distance / reach) ** 3) ** 3
        weight = weight / weight.sum(-1, keepdim=True)
        # centred on the query, so that the intercept is the prediction; scaled by the reach, so that one ridge suits
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
    episodes: Episodes, *, neighbours: int | None = None, ridge: float = 1e-9, least_excitation: float = 1e-3
) -> LocalLinear:
    """Fit dynamics by locally weighted linear regression on recorded steps.

    Args:
        episodes: Demonstrations and exploration episodes (`explore`), joined.
        neighbours: Number of steps per regression. Default: three times the number of unknowns, at most all steps.
        ridge: See `LocalLinear`.
        least_excitation: See `check_excitation`; 0 accepts any data.

    Raises:
        DataError: There are too few steps for a regression, or actions are a function of the state.
        RecipeError: An argument is out of range.

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
    state_names, action_names = coordinate_names(episodes)
    scale = spread_of(steps.inputs)
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
    rows, unknowns = len(steps.states), steps.inputs.shape[1] + 1
    if rows < unknowns:
        raise DataError(f"expected at least {unknowns} steps for a regression of {unknowns} unknowns, got {rows}.")
    used = min(3 * unknowns, rows) if given is None else given
    if not unknowns <= used <= rows or ridge < 0:
        raise RecipeError(
            f"expected {unknowns} to {rows} neighbours (at least the unknowns of a regression, at most all steps) and "
            f"ridge >= 0, got {used} and {ridge:g}."
        )
    return used


def _trend(steps: Transitions, scale: Float[Tensor, " d"]) -> Float[Tensor, "n d"]:
    """Slopes of the linear regression of changes on all steps; zero in directions without variation."""
    inputs = (steps.inputs - steps.inputs.mean(0)) / scale
    left, singular, right = svd(inputs)
    # smaller singular values are rounding error
    significant = singular > 1e-10 * singular[0]
    inverse = torch.where(significant, 1 / torch.where(significant, singular, 1), 0)
    return (steps.changes - steps.changes.mean(0)).mT @ left @ (inverse[:, None] * right) / scale
