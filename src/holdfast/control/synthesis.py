"""Synthesis oracle: primitive controllers that stabilise a system about demonstrations.

    κ_t(x) = u_t + K_t (x − x_t),        so  κ_t(x_t) = u_t  exactly.

`Synthesis` is the union of the methods that choose `K`. (Block et al. 2023, arXiv 2307.14619, section 2.)
"""

import math
from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..errors import RecipeError, ShapeError, SynthesisError
from ..types import Episodes, PrimitiveControllers, Trajectory
from .linearization import Linearization, linearize
from .riccati import dare, gain, riccati_step, tvlqr
from .systems.base import System

Weight: TypeAlias = float | tuple[float, ...]


@dataclass(frozen=True)
class _Regulator:
    """A linear-quadratic regulator.

    Attributes:
        state_weight: Diagonal of Q; a number applies to all states.
        action_weight: Diagonal of R; a number applies to all actions.
    """

    state_weight: Weight = 1.0
    action_weight: Weight = 1.0

    def __post_init__(self) -> None:
        _check_weights(self.state_weight, self.action_weight)


@dataclass(frozen=True)
class Tvlqr(_Regulator):
    """Time-varying LQR: backward Riccati recursion along the demonstration.

    Attributes:
        terminal: Terminal value of the recursion. `value`: infinite-horizon value of the last linearisation, as if it
            held forever. `cost`: Q, as if the task ended there. Use `cost` if the last linearisation cannot be
            stabilised or does not represent what follows, as for a legged robot in its flight phase. Every
            demonstration then has gains, but the last gains are weak and the others need not contract; check them
            with `products`.
    """

    terminal: Literal["value", "cost"] = "value"


@dataclass(frozen=True)
class Dare(_Regulator):
    """Infinite-horizon LQR of each step's linearisation, as in the published code of Block et al. 2023."""


@dataclass(frozen=True)
class Receding(_Regulator):
    """Feedback of a receding-horizon expert with a quadratic cost: its own response to a deviation.

    The gain at each step is the first gain of the regulator that minimises, over `horizon` states and `horizon − 1`
    actions,

        mean_k xᵀQx + mean_k uᵀRu

    without a terminal cost, as `MpcExpert` does. The last linearisation is repeated beyond the end of the
    demonstration.

    Attributes:
        horizon: Number of states of the expert's plan, including the current one.
    """

    horizon: int = 30

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.horizon < 2:
            raise RecipeError(f"expected a horizon of at least 2 states (one action), got {self.horizon}.")


@dataclass(frozen=True)
class NoFeedback:
    """No feedback, K = 0: open-loop actions."""


Synthesis: TypeAlias = Tvlqr | Dare | Receding | NoFeedback


def synthesize(method: Synthesis, system: System, trajectory: Trajectory) -> PrimitiveControllers:
    """One primitive controller for each step of the trajectories, `[*b, t]`; gains are computed in float64.

    Raises:
        SynthesisError: No feedback stabilises a linearisation (`Dare`: any; `Tvlqr` and `Receding`: the last;
            `Tvlqr(terminal="cost")`: does not apply); the message names the step and the mode.
        ShapeError: The length of a weight differs from the dimension of the state or action.

    >>> from holdfast.control.systems import scalar
    >>> still = Trajectory(actions=torch.zeros(3, 1), states=torch.zeros(4, 1))
    >>> synthesize(Dare(), scalar(a=1.0), still).gains.flatten()
    tensor([-0.6180, -0.6180, -0.6180])
    """
    actions, states = trajectory.actions, trajectory.states[..., :-1, :]
    lengths = torch.full(actions.shape[:-2], trajectory.steps, device=actions.device)
    gains = _gains(method, system, states, actions, lengths)
    return PrimitiveControllers(actions=actions, states=states, gains=gains)


def synthesize_episodes(method: Synthesis, system: System, episodes: Episodes) -> PrimitiveControllers:
    """One primitive controller for each step of ragged episodes; final states are not needed.

    Raises:
        SynthesisError: No feedback stabilises a linearisation; the message names the episode, the step and the mode.
        ShapeError: The length of a weight differs from the dimension of the state or action.
    """
    # Shorter episodes are padded with their last row, which does not change the gains: a repeated last linearisation
    # is a fixed point of the recursion from its own infinite-horizon value, and Receding assumes it beyond the end.
    # The recursion from the terminal cost excludes the padding.
    step = torch.arange(int(episodes.lengths.max()), device=episodes.actions.device)
    inside = step < episodes.lengths[:, None]
    rows = episodes.starts[:, None] + torch.minimum(step, episodes.lengths[:, None] - 1)
    gains = _gains(method, system, episodes.states[rows], episodes.actions[rows], episodes.lengths)
    return PrimitiveControllers(actions=episodes.actions, states=episodes.states, gains=gains[inside])


def _gains(
    method: Synthesis,
    system: System,
    states: Float[Tensor, "*b t n"],
    actions: Float[Tensor, "*b t m"],
    lengths: Int[Tensor, "*b"],
) -> Float[Tensor, "*b t m n"]:
    """Gains of one method, computed in float64 and returned in the dtype of the actions."""
    if isinstance(method, NoFeedback):
        return PrimitiveControllers.open_loop(actions, states).gains
    Q = _diagonal(method.state_weight, system.state_names, "state_weight").to(actions.device)
    R = _diagonal(method.action_weight, system.action_names, "action_weight").to(actions.device)
    along = linearize(system, states.double(), actions.double())
    match method:
        case Tvlqr(terminal="cost"):
            gains = _finite_horizon_gains(along, Q, R, lengths)
        case Tvlqr():
            terminal = _value_at_end(along, Q, R, system.state_names, lengths - 1)
            gains = tvlqr(along.A, along.B, Q, R, terminal.squeeze(-3))[0]
        case Dare():
            P = dare(along.A, along.B, Q, R, state_names=system.state_names)
            gains = gain(along.A, along.B, R, P)
        case Receding(horizon=horizon):
            _value_at_end(along, Q, R, system.state_names, lengths - 1)
            gains = _receding_gains(along, Q, R * (horizon / (horizon - 1)), horizon)
    return gains.to(actions.dtype)


def _finite_horizon_gains(
    along: Linearization, Q: Float[Tensor, "n n"], R: Float[Tensor, "m m"], lengths: Int[Tensor, "*b"]
) -> Float[Tensor, "*b t m n"]:
    """Gains of the backward recursion from Q at the end of each trajectory."""
    _check_finite(along)
    # with A = B = 0 in the padding, the recursion stays at Q until the trajectory's last step
    inside = (torch.arange(along.A.shape[-3], device=Q.device) < lengths[..., None])[..., None, None]
    A, B = torch.where(inside, along.A, 0), torch.where(inside, along.B, 0)
    return tvlqr(A, B, Q, R, Q.expand_as(along.A[..., -1, :, :]))[0]


def _check_finite(along: Linearization) -> None:
    """Raise SynthesisError, naming the step, if a linearisation contains NaN or infinity."""
    broken = ~(along.A.isfinite().all(-1) & along.B.isfinite().all(-1)).all(-1)
    if broken.any():
        *trajectory, step = (int(index) for index in broken.nonzero()[0])
        of = f" of trajectory {', '.join(map(str, trajectory))}" if trajectory else ""
        raise SynthesisError(
            f"expected a finite linearization, but at step {step}{of} it contains NaN or infinity. "
            "Look for them in the demonstration."
        )


def _value_at_end(
    along: Linearization,
    Q: Float[Tensor, "n n"],
    R: Float[Tensor, "m m"],
    state_names: tuple[str, ...],
    last_steps: Int[Tensor, "*b"],
) -> Float[Tensor, "*b 1 n n"]:
    """Infinite-horizon value of the last linearisation, which must be stabilisable; earlier ones need not be."""
    return dare(
        along.A[..., -1:, :, :], along.B[..., -1:, :, :], Q, R, state_names=state_names, steps=last_steps[..., None]
    )


def _receding_gains(
    along: Linearization, Q: Float[Tensor, "n n"], R: Float[Tensor, "m m"], horizon: int
) -> Float[Tensor, "*b t m n"]:
    """First gains of the regulators that start at each step, computed for all steps at once."""
    last = along.A.shape[-3] - 1
    steps = torch.arange(last + 1, device=along.A.device)
    gains, values = along.B.mT, Q.expand_as(along.A)
    for ahead in reversed(range(horizon - 1)):
        index = (steps + ahead).clamp(max=last)
        here = along.A.index_select(-3, index), along.B.index_select(-3, index)
        gains, values = riccati_step(*here, Q, R, values)
    return gains


def _diagonal(weight: Weight, names: tuple[str, ...], what: str) -> Float[Tensor, "n n"]:
    entries = (weight,) * len(names) if isinstance(weight, (int, float)) else weight
    if len(entries) != len(names):
        raise ShapeError(f"expected {what} to be one number or {len(names)}, for {', '.join(names)}; got {weight}.")
    return torch.tensor(entries, dtype=torch.float64).diag()


def _check_weights(state_weight: Weight, action_weight: Weight) -> None:
    states = state_weight if isinstance(state_weight, tuple) else (state_weight,)
    actions = action_weight if isinstance(action_weight, tuple) else (action_weight,)
    if not (all(0 <= value < math.inf for value in states) and all(0 < value < math.inf for value in actions)):
        raise RecipeError(
            f"expected state_weight >= 0 and action_weight > 0, got {state_weight} and {action_weight}. "
            "Raise them: with a negative weight or a free action there is no optimal feedback."
        )
