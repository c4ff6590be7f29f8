"""Safety filter: the nearest action that keeps stated constraints on the action and on the next state.

    u = argmin ‖W^½ (u − û)‖    subject to
        low ≤ u ≤ high                                    limits of the action
        |u − u_before| ≤ rate                             limits of its change from step to step
        G x' ≤ h,   x' = A x + B u + c                    half-spaces of the next state
        h − G x' ≥ (1 − γ) (h − G x)                      the same as discrete barriers, γ < 1

û is the action of the policy and x the state that its controllers feed back. A barrier with γ < 1 lets the distance to
a half-space shrink by the factor 1 − γ at most, so that the state approaches it slowly; γ = 1 asks only for the next
state. (Agrawal and Sreenath 2017, Discrete control barrier functions, RSS, eq. 12.)

The projection onto this polytope is exact: it is a least-distance problem, solved by non-negative least squares
(Lawson and Hanson 1974, Solving least squares problems, chapter 23, algorithm LDP), which also tells when no action
keeps all constraints. Then limits and rates are kept, and the half-spaces are violated least, in the sum of squares.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from torch import Tensor

from ..errors import RecipeError
from ..types import Observation
from .finite import Acting

Numbers = tuple[float, ...]
Rows = tuple[tuple[float, ...], ...]
Values = NDArray[np.float64]

NEAR = 1e-9
"""Violation that counts as none, relative to the size of the constraint."""
_SOFT = 1e3
"""Weight of the violation against the distance to the policy's action, where no action keeps all constraints."""


@dataclass(frozen=True, kw_only=True)
class SafetyFilter:
    """Constraints that every executed action keeps.

    Attributes:
        action_low: Lower limit of each action coordinate, or `None`.
        action_high: Upper limit.
        rate: Largest change of each action coordinate from one step to the next, or `None`.
        half_spaces: Rows G of the half-spaces G x' ≤ h of the next state.
        offsets: Their right-hand sides h.
        decay: γ in (0, 1]; 1 asks for the next state only, less makes each half-space a barrier.
        state_matrix: Rows of A of the (linearised) dynamics x' = A x + B u + c; needed with half-spaces.
        action_matrix: Rows of B.
        drift: c. Empty: 0.
        weights: Weight W of each action coordinate in the distance. Empty: 1.

    Raises:
        RecipeError: Sizes that do not fit one another, numbers that are not finite, or no constraint at all.
    """

    action_low: Numbers | None = None
    action_high: Numbers | None = None
    rate: Numbers | None = None
    half_spaces: Rows = ()
    offsets: Numbers = ()
    decay: float = 1.0
    state_matrix: Rows = ()
    action_matrix: Rows = ()
    drift: Numbers = ()
    weights: Numbers = ()

    def __post_init__(self) -> None:
        rows = (*self.half_spaces, *self.state_matrix, *self.action_matrix)
        listed = (self.action_low, self.action_high, self.rate, self.offsets, self.drift, self.weights, *rows)
        if not all(map(math.isfinite, (value for values in listed for value in values or ()))):
            raise RecipeError("expected finite numbers in a safety filter. Leave out what is not limited.")
        if not self.half_spaces and not any((self.action_low, self.action_high, self.rate)):
            raise RecipeError("a safety filter without constraints. Give action_low, action_high, rate or half_spaces.")
        if not 0 < self.decay <= 1:
            raise RecipeError(f"expected a decay above 0 and at most 1, got {self.decay:g}.")
        if min(self.rate or (1.0,)) <= 0 or min(self.weights or (1.0,)) <= 0:
            raise RecipeError("expected a rate and weights above 0 for each action coordinate.")
        if any(low > high for low, high in zip(self.action_low or (), self.action_high or (), strict=False)):
            raise RecipeError(f"expected action_low <= action_high, got {self.action_low} and {self.action_high}.")
        if len(self.offsets) != len(self.half_spaces):
            raise RecipeError(
                f"{len(self.half_spaces)} half-spaces have {len(self.offsets)} offsets. Give one offset for each."
            )
        if self.half_spaces and not (self.state_matrix and self.action_matrix):
            raise RecipeError(
                "half-spaces limit the next state, which needs dynamics. Give state_matrix and action_matrix, for "
                "example those of a linearisation (holdfast.control)."
            )

    def check(self, *, n_states: int, n_actions: int) -> None:
        """Refuse sizes of another robot.

        Raises:
            RecipeError: A constraint has another number of coordinates than the policy.
        """
        n, m = n_states, n_actions
        sizes = [(name, len(getattr(self, name) or ()), m) for name in ("action_low", "action_high", "rate", "weights")]
        sizes += [("drift", len(self.drift), n)]
        sizes += [(f"row {i} of half_spaces", len(row), n) for i, row in enumerate(self.half_spaces)]
        if self.state_matrix or self.action_matrix:
            sizes += [("state_matrix", len(self.state_matrix), n), ("action_matrix", len(self.action_matrix), n)]
        sizes += [(f"row {i} of state_matrix", len(row), n) for i, row in enumerate(self.state_matrix)]
        sizes += [(f"row {i} of action_matrix", len(row), m) for i, row in enumerate(self.action_matrix)]
        for name, found, expected in sizes:
            if found not in (0, expected) or (found == 0 and "row" in name):
                raise RecipeError(
                    f"expected {name} of the safety filter with {expected} numbers, for {n} states and {m} actions, "
                    f"got {found}."
                )

    def nearest(
        self, action: Float[Tensor, "b m"], state: Float[Tensor, "b n"], before: Float[Tensor, "b m"] | None = None
    ) -> tuple[Float[Tensor, "b m"], Bool[Tensor, " b"], Bool[Tensor, " b"]]:
        """The nearest action that keeps the constraints, where it differs, and where no action keeps all of them.

        Actions that are not finite are left as they are.

        Args:
            action: The policy's action û.
            state: The state x that its controllers feed back.
            before: The executed action of the step before; `None` at the start, where the rate is not limited.
        """
        low, high = self._box(action, before)
        normals, limits = self._of_action(state.double(), action.shape[-1])
        wished = action.double()
        over = (wished < low - NEAR) | (wished > high + NEAR)
        beyond = (wished @ normals.mT - limits) > NEAR * (1 + limits.abs())
        active = (over.any(-1) | beyond.any(-1)) & wished.isfinite().all(-1) & state.isfinite().all(-1)
        found, infeasible = action.clone(), torch.zeros_like(active)
        scale = torch.tensor(self.weights or (1.0,) * action.shape[-1], dtype=torch.float64).sqrt()
        for row in map(int, active.nonzero()[:, 0]):
            box = low[row].numpy(), high[row].numpy()
            made = _projected(wished[row].numpy(), scale.numpy(), box, normals.numpy(), limits[row].numpy())
            if made is None:
                infeasible[row] = True
                made = _least_violating(wished[row].numpy(), scale.numpy(), box, normals.numpy(), limits[row].numpy())
            found[row] = torch.as_tensor(made).to(found)
        return found, active, infeasible

    def _box(self, action: Tensor, before: Tensor | None) -> tuple[Tensor, Tensor]:
        """Limits of the action at this step, in double precision: its own, and those of its change."""
        far = torch.full(action.shape, math.inf, dtype=torch.float64)
        low = -far if self.action_low is None else _double(self.action_low).expand(far.shape)
        high = far if self.action_high is None else _double(self.action_high).expand(far.shape)
        if self.rate is None or before is None:
            return low, high
        rate, last = _double(self.rate), before.double().clamp(low, high)
        return low.maximum(last - rate), high.minimum(last + rate)

    def _of_action(self, state: Float[Tensor, "b n"], m: int) -> tuple[Float[Tensor, "k m"], Float[Tensor, "b k"]]:
        """Half-spaces of the action, N u ≤ l, of those of the next state."""
        if not self.half_spaces:
            return state.new_zeros(0, m), state.new_zeros(len(state), 0)
        G, A, B = (_double(rows) for rows in (self.half_spaces, self.state_matrix, self.action_matrix))
        h = _double(self.offsets)
        still = state @ A.mT + _double(self.drift or (0.0,) * state.shape[-1])
        allowed = self.decay * h + (1 - self.decay) * (state @ G.mT)
        return G @ B, allowed - still @ G.mT


def _double(values: Numbers | Rows) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def _projected(
    wished: Values, scale: Values, box: tuple[Values, Values], normals: Values, limits: Values
) -> Values | None:
    """The minimum of ‖scale (u − wished)‖ in the box and the half-spaces; `None` where they have no common point."""
    rows, right = _all_rows(box, normals, limits)
    # in d = scale (u − wished):  −(rows / scale) d ≥ rows · wished − right
    step = _least_distance(-rows / scale, rows @ wished - right)
    if step is None:
        return None
    return np.clip(wished + step / scale, *box)


def _least_violating(
    wished: Values, scale: Values, box: tuple[Values, Values], normals: Values, limits: Values
) -> Values:
    """The action in the box whose half-spaces have the least sum of squared violations."""
    m = len(wished)
    limited, right = _all_rows(box, normals[:0], limits[:0])
    sizes = np.linalg.norm(normals, axis=1)
    # half-spaces that the action cannot change are left out
    kept = sizes > NEAR
    rows, ends = normals[kept] / sizes[kept, None], limits[kept] / sizes[kept]
    slack = -np.eye(int(kept.sum())) / _SOFT
    wide = np.block([[limited / scale, np.zeros((len(limited), len(slack)))], [rows / scale, slack]])
    step = _least_distance(-wide, np.concatenate([limited @ wished - right, rows @ wished - ends]))
    return np.clip(wished if step is None else wished + step[:m] / scale, *box)


def _all_rows(box: tuple[Values, Values], normals: Values, limits: Values) -> tuple[Values, Values]:
    """The finite sides of the box and the half-spaces, as rows · u ≤ right."""
    low, high = box
    unit = np.eye(len(low))
    below, above = np.isfinite(low), np.isfinite(high)
    rows = [-unit[below], unit[above], normals.reshape(-1, len(low)) if len(limits) else unit[:0]]
    return np.concatenate(rows), np.concatenate([-low[below], high[above], limits])


def _least_distance(rows: Values, right: Values) -> Values | None:
    """The least ‖d‖ subject to rows · d ≥ right, by non-negative least squares; `None` where there is no such d."""
    sizes = np.linalg.norm(rows, axis=1)
    if bool((right[sizes <= NEAR] > NEAR).any()):
        return None
    rows, right = rows[sizes > NEAR] / sizes[sizes > NEAR, None], right[sizes > NEAR] / sizes[sizes > NEAR]
    if not len(right) or float(right.max()) <= 0:
        return cast("Values", np.zeros(rows.shape[1]))
    # the largest violation is the least possible distance, and the unit in which it is found
    unit = right.max()
    target = np.zeros(rows.shape[1] + 1)
    target[-1] = 1
    design = np.concatenate([rows.T, right[None] / unit])
    multipliers = _non_negative(design, target)
    rest = design @ multipliers - target
    if -rest[-1] <= NEAR:
        return None
    step = -rest[:-1] / rest[-1] * unit
    exact = _polished(rows, right, multipliers > 0, 1e-10 * unit)
    if exact is not None:
        return exact
    return step if _keeps(step, rows, right, 1e-6 * unit) else None


def _polished(rows: Values, right: Values, tight: NDArray[np.bool_], within: float) -> Values | None:
    """The least step to constraints that hold with equality, without the rounding of the division by a small rest.

    Constraints that it violates are added, and those that would pull, not push, are left out, until none is violated.
    """
    for _ in range(2 * len(right)):
        step = _least_squares(rows[tight], right[tight])
        gaps: Values = right - rows @ step
        if float(gaps.max()) <= within:
            return step
        tight[int(gaps.argmax())] = True
        step = _least_squares(rows[tight], right[tight])
        pushes = _least_squares(rows[tight].T, step)
        tight[np.flatnonzero(tight)[pushes < 0]] = False
    return None


def _non_negative(design: Values, target: Values) -> Values:
    """The solution of least squares without negative entries."""
    from scipy import optimize  # pyright: ignore[reportMissingTypeStubs]  # heavy

    solve = cast("Callable[[Values, Values], tuple[Values, float]]", cast("Any", optimize).nnls)
    return solve(design, target)[0]


def _least_squares(design: Values, target: Values) -> Values:
    """The least solution of least squares."""
    return cast("Values", np.linalg.lstsq(design, target, rcond=None)[0])


def _keeps(step: Values, rows: Values, right: Values, within: float) -> bool:
    """Whether a step keeps constraints, rows · step ≥ right, up to a violation."""
    return bool((rows @ step >= right - within).all())


class Filtered:
    """Executor whose actions are filtered, with counts of the filter's work.

    Args:
        acting: Executor.
        limits: The constraints.

    Attributes:
        active: Whether the last action of each episode was changed; `None` before the first.
        infeasible: Whether no action would have kept all constraints there.
    """

    def __init__(self, acting: Acting, limits: SafetyFilter) -> None:
        self.acting, self.limits = acting, limits
        self._forget()

    def reset(self, seed: int | None = None) -> None:
        """Start a new episode."""
        self.acting.reset(seed)
        self._forget()

    def act(self, observation: Observation, state: Float[Tensor, "b n"]) -> Float[Tensor, "b m"]:
        """Next action of each episode, filtered."""
        action = self.acting.act(observation, state)
        if self.before is not None and self.before.shape != action.shape:
            self.before = None
        action, self.active, self.infeasible = self.limits.nearest(action, state, self.before)
        self.before = action
        return action

    def _forget(self) -> None:
        self.before: Tensor | None = None
        self.active: Tensor | None = None
        self.infeasible: Tensor | None = None
