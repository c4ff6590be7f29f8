"""Way-points: the set-points of a PD (impedance) cascade as the code of a step.

    u = u₀ + k (p* − p) + d (v* − v)              for each action coordinate; p, v its position and velocity

    ū = u₀,   x̄ = (p*, v*),   K = −[k d]           as a primitive controller κ(x) = ū + K (x − x̄)

A demonstration records u and x, not (p*, v*). Its way-points are those with which the cascade takes the recorded
action in the recorded state, with the recorded velocity as its set-point:

    v* = v,   p* = p + (u − u₀) / k

so that κ(x_t) = u_t holds exactly, as for every synthesis of primitive controllers. Where the stiffness is part of the
chunk, it is that of the demonstration's gains (`train --synthesis`), and the damping changes with its square root,
which keeps the damping ratio: d(k) = d √(k / k₀). (Hogan 1985, Impedance control, part I, eq. 1; Chi et al. 2023, arXiv
2303.04137, section 4.4, on position against velocity control.)
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ..errors import RecipeError
from ..types import PrimitiveControllers


@dataclass(frozen=True, kw_only=True)
class Waypoints:
    """Code of set-points of position and velocity, with gains that are given, not learned.

    Attributes:
        positions: Index of the state coordinate that each action coordinate moves.
        velocities: Index of its velocity.
        stiffness: Stiffness k₀ of each action coordinate, above 0 [action per position].
        damping: Damping d of each action coordinate at this stiffness [action per velocity].
        feed_forward: Constant part u₀ of each action, for example the force that carries the weight. Empty: 0.
        stiffness_range: Factor r ≥ 1. Above 1, log(k / k₀) of each action coordinate is part of the chunk, within
            [−log r, log r]; 1 keeps k = k₀.

    Raises:
        RecipeError: Numbers of coordinates differ, a coordinate is used twice, or a gain is not positive and finite.
    """

    positions: tuple[int, ...]
    velocities: tuple[int, ...]
    stiffness: tuple[float, ...]
    damping: tuple[float, ...]
    feed_forward: tuple[float, ...] = ()
    stiffness_range: float = 1.0

    def __post_init__(self) -> None:
        count = len(self.positions)
        for name in ("velocities", "stiffness", "damping", *(("feed_forward",) if self.feed_forward else ())):
            if len(getattr(self, name)) != count or not count:
                raise RecipeError(
                    f"way-points have {count} positions and {len(getattr(self, name))} {name}. Give one of each for "
                    "each action coordinate, in the order of the actions."
                )
        used = (*self.positions, *self.velocities)
        if min(used) < 0 or len({*used}) < len(used):
            raise RecipeError(
                f"expected different state coordinates, counted from 0, as positions and velocities of way-points, got "
                f"{_listed(self.positions)} and {_listed(self.velocities)}."
            )
        if not all(0 < k < math.inf for k in self.stiffness) or not all(0 <= d < math.inf for d in self.damping):
            raise RecipeError(
                f"expected a stiffness above 0 and a damping of 0 or above, got {_listed(self.stiffness)} and "
                f"{_listed(self.damping)}."
            )
        if not all(map(math.isfinite, self.feed_forward)):
            raise RecipeError(f"expected a finite feed-forward action, got {_listed(self.feed_forward)}.")
        if not 1 <= self.stiffness_range < math.inf:
            raise RecipeError(f"expected a stiffness_range of 1 or above, got {self.stiffness_range:g}.")

    @property
    def plans_stiffness(self) -> bool:
        """Whether the stiffness is part of the chunk."""
        return self.stiffness_range > 1

    @property
    def width(self) -> int:
        """Number of code entries per step: velocity, position and, if planned, log stiffness of each action."""
        return (3 if self.plans_stiffness else 2) * len(self.positions)

    def check(self, *, n_states: int, n_actions: int) -> None:
        """Refuse sizes that these coordinates do not fit.

        Raises:
            RecipeError: Another number of actions, or coordinates that the state does not have.
        """
        if len(self.positions) != n_actions:
            raise RecipeError(
                f"an action has {n_actions} coordinates, but the way-points are of {len(self.positions)}: positions "
                f"{_listed(self.positions)}. Give one position, velocity, stiffness and damping for each action "
                "coordinate."
            )
        if (largest := max(*self.positions, *self.velocities)) >= n_states:
            raise RecipeError(
                f"the way-points use state coordinate {largest}, but the state has {n_states}, counted from 0. "
                "`holdfast inspect` lists them."
            )

    def encode(self, controllers: PrimitiveControllers) -> Float[Tensor, "*b w"]:
        """Way-points of the cascade that acts like each controller at its reference state.

        For controllers that `decode` made, these are their own way-points.
        """
        ratio = self._ratio(controllers.gains)
        stiffness = ratio.exp() * ratio.new_tensor(self.stiffness)
        positions = controllers.states[..., list(self.positions)]
        offset = (controllers.actions - self._feed_forward(controllers.actions)) / stiffness
        # first what is recorded, then what depends on gains
        parts = [controllers.states[..., list(self.velocities)], positions + offset]
        return torch.cat([*parts, ratio] if self.plans_stiffness else parts, dim=-1)

    def decode(self, code: Float[Tensor, "*b w"], *, n_states: int) -> PrimitiveControllers:
        """Primitive controllers of way-points; reference states are 0 where nothing is fed back."""
        m = len(self.positions)
        ratio = self._limited(code[..., 2 * m :]) if self.plans_stiffness else torch.zeros_like(code[..., :m])
        stiffness = ratio.exp() * code.new_tensor(self.stiffness)
        damping = (ratio / 2).exp() * code.new_tensor(self.damping)
        of_position, of_velocity = (_selection(code, chosen, n_states) for chosen in (self.positions, self.velocities))
        return PrimitiveControllers(
            actions=self._feed_forward(code[..., :m]).expand_as(code[..., :m]),
            states=code[..., :m] @ of_velocity + code[..., m : 2 * m] @ of_position,
            gains=-(stiffness[..., None] * of_position + damping[..., None] * of_velocity),
        )

    def _feed_forward(self, like: Tensor) -> Float[Tensor, " m"]:
        return like.new_tensor(self.feed_forward or (0.0,) * len(self.positions))

    def _ratio(self, gains: Float[Tensor, "*b m n"]) -> Float[Tensor, "*b m"]:
        """log(k / k₀) of gains, within the range; 0 where the position is not fed back."""
        index = torch.arange(len(self.positions), device=gains.device)
        stiffness = -gains[..., index, list(self.positions)]
        if not self.plans_stiffness:
            return torch.zeros_like(stiffness)
        lowest = stiffness.new_tensor(self.stiffness) / self.stiffness_range
        # a gain of the wrong sign has no logarithm; the softest spring is the nearest
        ratio = (torch.maximum(stiffness, lowest) / stiffness.new_tensor(self.stiffness)).log()
        return torch.where(stiffness == 0, 0.0, self._limited(ratio))

    def _limited(self, ratio: Tensor) -> Tensor:
        most = math.log(self.stiffness_range)
        return ratio.clamp(-most, most)


def _selection(like: Tensor, chosen: tuple[int, ...], n_states: int) -> Float[Tensor, "m n"]:
    """Rows of the identity."""
    return torch.eye(n_states, dtype=like.dtype, device=like.device)[list(chosen)]


def _listed(values: tuple[int | float, ...]) -> str:
    return ", ".join(f"{value:g}" for value in values) or "none"
