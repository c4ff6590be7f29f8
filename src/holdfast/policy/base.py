"""Specification of a policy, and the protocol of everything that plans."""

import math
from dataclasses import dataclass, field
from typing import Literal, Protocol, runtime_checkable

import torch

from ..data import Affine, Codec, Isotropic, NoiseLaw, Waypoints, check_noise_size, rotations_of, width
from ..errors import RecipeError, at_least
from ..models import Diffusion, Family, Flow, Streaming
from ..nn import Language, Vision
from ..rotations import Rotation, check_rotations, encoded_width
from ..types import Observation, Prefix, PrimitiveControllers
from .overlap import Ensemble
from .safety import SafetyFilter

LONGEST = 2**16
"""Largest number of steps of a chunk or window; the time of a control loop allows some hundred."""
LARGEST = 2**24
"""Largest number of numbers in a chunk or window."""


@runtime_checkable
class Plans(Protocol):
    """Anything that maps observation windows to composite actions."""

    def plan(self, window: Observation, *, rng: torch.Generator, prefix: Prefix | None = None) -> PrimitiveControllers:
        """Composite actions `[b, h]`; the first step corresponds to the last observation of the window."""
        ...


@runtime_checkable
class Restarts(Plans, Protocol):
    """Plans that continue the previous one."""

    def restart(self) -> None:
        """Forget the previous plan: a new episode begins."""
        ...


@dataclass(frozen=True)
class Execution:
    """Execution of a trained policy; changing it needs no new training.

    Attributes:
        n_action_steps: Number of steps executed before the next plan.
        sigma_deploy: Scale σ of the noise on normalised observations, fresh at every plan (the smoothed policy); its
            standard deviation for isotropic noise.
        clip_observation: Bound of normalised observations before the noise; 1 keeps them in the range of the training
            data.
        action_low: Lower limit of each action coordinate, in physical units.
        action_high: Upper limit of each action coordinate.
        noise_law: Law of the deployment noise of unit scale.
        ensemble: Temporal ensembling: plan at every step and average overlapping plans.
        stream: Keep the buffer of a streaming model between plans, which reduces the network calls to 1 / blocks. A
            plan is one block of the chunk, so `n_action_steps` must be horizon / blocks.
        on_nonfinite: Reaction to an observation, a state or an action that is not finite: "raise" an `ActionError`, or
            "hold", which repeats the episode's last finite action with a `HeldWarning`, and raises where there is none.
        sigma_features: Standard deviation of the noise on the features of pictures, fresh at every plan.
        filter: Constraints on the executed action and on the next state; each action is replaced by the nearest one
            that keeps them. `None` filters nothing.
    """

    n_action_steps: int = 8
    sigma_deploy: float = 0.0
    clip_observation: float | None = None
    action_low: tuple[float, ...] | None = None
    action_high: tuple[float, ...] | None = None
    noise_law: NoiseLaw = field(default_factory=Isotropic)
    ensemble: Ensemble | None = None
    stream: bool = False
    on_nonfinite: Literal["raise", "hold"] = "raise"
    sigma_features: float = 0.0
    filter: SafetyFilter | None = None

    def __post_init__(self) -> None:
        if self.on_nonfinite not in ("raise", "hold"):
            raise RecipeError(f"expected on_nonfinite as 'raise' or 'hold', got {self.on_nonfinite!r}.")
        for name in ("sigma_deploy", "sigma_features"):
            if not 0 <= getattr(self, name) < math.inf:
                raise RecipeError(f"expected {name} of 0 or above, got {getattr(self, name)}.")
        if self.clip_observation is not None and not 0 < self.clip_observation < math.inf:
            raise RecipeError(f"expected clip_observation above 0, or None, got {self.clip_observation}.")
        self._check_limits()

    def _check_limits(self) -> None:
        for name in ("action_low", "action_high"):
            if not all(map(math.isfinite, getattr(self, name) or ())):
                raise RecipeError(f"expected finite limits, or None for no limits, got {name}={getattr(self, name)}.")
        if any(low > high for low, high in zip(self.action_low or (), self.action_high or (), strict=False)):
            raise RecipeError(f"expected action_low <= action_high, got {self.action_low} and {self.action_high}.")


@dataclass(frozen=True, kw_only=True)
class PolicySpec:
    """Everything that defines a policy except its weights and scales.

    Attributes:
        n_states: Number of coordinates of the feedback state.
        n_actions: Number of coordinates of an action.
        n_observed: Number of coordinates of an observation.
        codec: Contents of a chunk step: actions alone, affine controllers, or way-points of a PD cascade.
        model: Generative model.
        n_obs_steps: Number of observations in a window.
        horizon: Number of steps in a planned chunk.
        execution: Execution settings.
        vision: What the policy sees of its cameras; `None` sees readings only.
        language: Instructions that the policy follows; `None` follows none.
        observed_rotations: Coordinates of the observation that are rotations; the model sees six numbers of each.
    """

    n_states: int
    n_actions: int
    n_observed: int
    codec: Codec = field(default_factory=Affine)
    model: Family = field(default_factory=Diffusion)
    n_obs_steps: int = 2
    horizon: int = 16
    execution: Execution = field(default_factory=Execution)
    vision: Vision | None = None
    language: Language | None = None
    observed_rotations: tuple[Rotation, ...] = ()

    def __post_init__(self) -> None:
        steps = self.execution.n_action_steps
        if not 1 <= steps <= self.horizon:
            raise RecipeError(
                f"chunk horizon {self.horizon} is shorter than n_action_steps {steps}. "
                f"Lower n_action_steps, or train with horizon >= {steps}."
                if steps > 0
                else f"expected at least 1 action step between plans, got {steps}."
            )
        if self.n_obs_steps < 1:
            raise RecipeError(f"expected at least 1 observation step, got {self.n_obs_steps}.")
        self._check_sizes()
        check_noise_size(self.execution.noise_law, self.n_encoded)
        if self.execution.filter is not None:
            self.execution.filter.check(n_states=self.n_states, n_actions=self.n_actions)
        if self.execution.stream:
            self._check_stream()
        if self.language is not None and self.language.guidance != 1 and not isinstance(self.model, Diffusion | Flow):
            raise RecipeError(
                f"classifier-free guidance is for diffusion and flow models, not for {type(self.model).__name__}. Set "
                "the guidance of instructions to 1."
            )
        if self.execution.sigma_features and self.vision is None:
            raise RecipeError(
                f"sigma_features {self.execution.sigma_features:g} is noise on the features of pictures, but the "
                "policy sees none. Set it to 0, or train with --images."
            )

    @property
    def n_encoded(self) -> int:
        """Number of coordinates of an observation whose rotations are six numbers each."""
        return encoded_width(self.observed_rotations, self.n_observed)

    @property
    def n_seen(self) -> int:
        """Number of readings, features and coordinates of an instruction that the generative model sees."""
        of_instruction = 0 if self.language is None else self.language.width
        if self.vision is None:
            return self.n_encoded + of_instruction
        return self.n_readings + self.vision.n_features + of_instruction

    @property
    def n_readings(self) -> int:
        """Number of readings that the generative model sees."""
        return 0 if self.vision is not None and self.vision.readings == "none" else self.n_encoded

    def _check_sizes(self) -> None:
        at_least(1, n_states=self.n_states, n_actions=self.n_actions, n_observed=self.n_observed)
        check_rotations(self.observed_rotations, self.n_observed, "the observation")
        check_rotations(rotations_of(self.codec), self.n_actions, "the action")
        if isinstance(self.codec, Waypoints):
            self.codec.check(n_states=self.n_states, n_actions=self.n_actions)
        of_chunk, of_window = width(self.codec, self.n_states, self.n_actions), self.n_seen
        for steps, numbers, name in ((self.horizon, of_chunk, "chunk"), (self.n_obs_steps, of_window, "window")):
            if steps > LONGEST or steps * numbers > LARGEST:
                raise RecipeError(
                    f"expected a {name} of at most {LONGEST} steps and {LARGEST} numbers, got {steps} steps of "
                    f"{numbers}."
                )
        for name in ("action_low", "action_high"):
            limits = getattr(self.execution, name)
            if limits is not None and len(limits) != self.n_actions:
                raise RecipeError(
                    f"expected {name} with one limit for each of {self.n_actions} coordinates of an action, got "
                    f"{len(limits)}."
                )

    def _check_stream(self) -> None:
        if not isinstance(self.model, Streaming):
            raise RecipeError(f"only a Streaming model keeps a buffer between plans, not {type(self.model).__name__}.")
        block = self.horizon // self.model.blocks
        if self.execution.n_action_steps != block or self.execution.ensemble is not None:
            raise RecipeError(
                f"a buffer of {self.model.blocks} blocks gives {block} of {self.horizon} steps at a time: expected "
                f"n_action_steps={block} and no ensemble, got {self.execution.n_action_steps} and "
                f"{self.execution.ensemble}."
            )
