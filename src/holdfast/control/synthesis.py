"""The synthesis oracle: demonstrations → primitive controllers that hold on to them.

    κ_t(x) = u_t + K_t (x − x_t),        so  κ_t(x_t) = u_t  exactly.

How `K` is chosen is the sum type `Synthesis`. (Block et al. 2023, arXiv 2307.14619, section 2.)
"""

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

__all__ = ["Dare", "NoFeedback", "Receding", "Synthesis", "Tvlqr", "synthesize", "synthesize_episodes"]

Weight: TypeAlias = float | tuple[float, ...]


@dataclass(frozen=True)
class Tvlqr:
    """Time-varying regulator: backward Riccati recursion along the demonstration.

    Attributes:
        state_weight: Diagonal of Q; one number stands for all states.
        action_weight: Diagonal of R; one number stands for all actions.
        terminal: What the recursion starts from. `value`: the infinite-horizon value of the last linearisation, as if
            that went on for ever. `cost`: Q, as if the task ended there; the way where the last linearisation by
            itself cannot be stabilised, or says little of what follows, as that of a legged robot in flight. Every
            demonstration then has gains, but the last ones are weak, and nothing promises that the others contract:
            measure it (`products`).
    """

    state_weight: Weight = 1.0
    action_weight: Weight = 1.0
    terminal: Literal["value", "cost"] = "value"

    def __post_init__(self) -> None:
        _check_weights(self.state_weight, self.action_weight)


@dataclass(frozen=True)
class Dare:
    """Infinite-horizon regulator of each step's linearisation, frozen (the published code of Block et al. 2023).

    Attributes:
        state_weight: Diagonal of Q; one number stands for all states.
        action_weight: Diagonal of R; one number stands for all actions.
    """

    state_weight: Weight = 1.0
    action_weight: Weight = 1.0

    def __post_init__(self) -> None:
        _check_weights(self.state_weight, self.action_weight)


@dataclass(frozen=True)
class Receding:
    """The feedback of a receding-horizon expert with a quadratic cost: how it would itself answer a deviation.

    The first gain, at each step, of the regulator that minimises, over `horizon` states and `horizon − 1` actions,

        mean_k xᵀQx + mean_k uᵀRu

    without further terminal cost: what `MpcExpert` minimises. Beyond the demonstration's end its last linearisation
    repeats.

    Attributes:
        state_weight: Diagonal of Q; one number stands for all states.
        action_weight: Diagonal of R; one number stands for all actions.
        horizon: States of the expert's plan, the current one included [steps].
    """

    state_weight: Weight = 1.0
    action_weight: Weight = 1.0
    horizon: int = 30

    def __post_init__(self) -> None:
        _check_weights(self.state_weight, self.action_weight)
        if self.horizon < 2:
            raise RecipeError(f"expected a horizon of at least 2 states (one action), got {self.horizon}.")


@dataclass(frozen=True)
class NoFeedback:
    """K = 0: ordinary open-loop actions."""


Synthesis: TypeAlias = Tvlqr | Dare | Receding | NoFeedback


def synthesize(method: Synthesis, system: System, trajectory: Trajectory) -> PrimitiveControllers:
    """One primitive controller for each step of the trajectories, `[*b, t]`; gains are computed in float64.

    Args:
        method: How gains are chosen.
        system: What to linearise.
        trajectory: Demonstrations, batched over any leading axes.

    Raises:
        SynthesisError: A linearisation that no feedback stabilises, for `Dare` any, for `Tvlqr` and `Receding` the last
            one, for `Tvlqr(terminal="cost")` none; the message names the step and the mode.
        ShapeError: A weight has another length than the state or the action.

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
    """One primitive controller for each row of a ragged set; final states are not needed.

    Raises:
        SynthesisError: A linearisation that no feedback stabilises; the message names episode, step and mode.
        ShapeError: A weight has another length than the state or the action.
    """
    # Shorter episodes are padded by their last row. That changes nothing: a repeated last linearisation is a fixed
    # point of the recursion from its own infinite-horizon value, and is what Receding assumes beyond the end. A
    # recursion from the cost leaves the padding out.
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
    """Gains of one method, computed in float64, returned in the dtype of the actions."""
    if isinstance(method, NoFeedback):
        return PrimitiveControllers.open_loop(actions, states).gains
    Q = _diagonal(method.state_weight, system.state_names, "state_weight").to(actions.device)
    R = _diagonal(method.action_weight, system.action_names, "action_weight").to(actions.device)
    along = linearize(system, states.double(), actions.double())
    match method:
        case Tvlqr(terminal="cost"):
            gains = _finite_horizon_gains(along, Q, R, lengths)
        case Tvlqr():
            gains = _tvlqr_gains(along, Q, R, system.state_names, lengths - 1)
        case Dare():
            P = dare(along.A, along.B, Q, R, state_names=system.state_names)
            gains = gain(along.A, along.B, R, P)
        case Receding(horizon=horizon):
            _value_at_end(along, Q, R, system.state_names, lengths - 1)
            gains = _receding_gains(along, Q, R * (horizon / (horizon - 1)), horizon)
    return gains.to(actions.dtype)


def _tvlqr_gains(
    along: Linearization,
    Q: Float[Tensor, "n n"],
    R: Float[Tensor, "m m"],
    state_names: tuple[str, ...],
    last_steps: Int[Tensor, "*b"],
) -> Float[Tensor, "*b t m n"]:
    """Gains of the backward recursion from the infinite-horizon value of the last linearisation."""
    terminal = _value_at_end(along, Q, R, state_names, last_steps)
    return tvlqr(along.A, along.B, Q, R, terminal.squeeze(-3))[0]


def _finite_horizon_gains(
    along: Linearization, Q: Float[Tensor, "n n"], R: Float[Tensor, "m m"], lengths: Int[Tensor, "*b"]
) -> Float[Tensor, "*b t m n"]:
    """Gains of the backward recursion from Q at each trajectory's own end."""
    _check_finite(along)
    # where nothing goes on, A = B = 0, the recursion stays at Q: so it begins at Q wherever a trajectory ends
    inside = (torch.arange(along.A.shape[-3], device=Q.device) < lengths[..., None])[..., None, None]
    A, B = torch.where(inside, along.A, 0), torch.where(inside, along.B, 0)
    return tvlqr(A, B, Q, R, Q.expand_as(along.A[..., -1, :, :]))[0]


def _check_finite(along: Linearization) -> None:
    """Raises SynthesisError, naming the step, where a linearisation holds no number."""
    broken = ~(along.A.isfinite().all(-1) & along.B.isfinite().all(-1)).all(-1)
    if broken.any():
        *trajectory, step = (int(index) for index in broken.nonzero()[0])
        of = f" of trajectory {', '.join(map(str, trajectory))}" if trajectory else ""
        raise SynthesisError(
            f"expected a finite linearisation, but at step {step}{of} it holds NaN or infinity. "
            "Look for them in the demonstration."
        )


def _value_at_end(
    along: Linearization,
    Q: Float[Tensor, "n n"],
    R: Float[Tensor, "m m"],
    state_names: tuple[str, ...],
    last_steps: Int[Tensor, "*b"],
) -> Float[Tensor, "*b 1 n n"]:
    """The infinite-horizon value of the last linearisation, which is the one that must hold for ever.

    Raises:
        SynthesisError: No feedback stabilises it. Those before it may be unstabilisable for a moment, as a vehicle
            without thrust is, and the demonstration still be held.
    """
    return dare(
        along.A[..., -1:, :, :], along.B[..., -1:, :, :], Q, R, state_names=state_names, steps=last_steps[..., None]
    )


def _receding_gains(
    along: Linearization, Q: Float[Tensor, "n n"], R: Float[Tensor, "m m"], horizon: int
) -> Float[Tensor, "*b t m n"]:
    """First gains of the regulators that start at each step, all steps at once."""
    last = along.A.shape[-3] - 1
    steps = torch.arange(last + 1, device=along.A.device)
    gains, values = along.B.mT, Q.expand_as(along.A)
    for ahead in reversed(range(horizon - 1)):
        index = (steps + ahead).clamp(max=last)
        here = along.A.index_select(-3, index), along.B.index_select(-3, index)
        gains, values = riccati_step(*here, Q, R, values)
    return gains


def _diagonal(weight: Weight, names: tuple[str, ...], what: str) -> Float[Tensor, "n n"]:
    """A weight as a diagonal matrix over the named coordinates."""
    entries = (weight,) * len(names) if isinstance(weight, (int, float)) else weight
    if len(entries) != len(names):
        raise ShapeError(f"expected {what} to be one number or {len(names)}, for {', '.join(names)}; got {weight}.")
    return torch.tensor(entries, dtype=torch.float64).diag()


def _check_weights(state_weight: Weight, action_weight: Weight) -> None:
    states = state_weight if isinstance(state_weight, tuple) else (state_weight,)
    actions = action_weight if isinstance(action_weight, tuple) else (action_weight,)
    if min(states) < 0 or min(actions) <= 0:
        raise RecipeError(
            f"expected state_weight >= 0 and action_weight > 0, got {state_weight} and {action_weight}. "
            "Raise them: a negative weight has no optimal feedback, and neither has a free action."
        )
