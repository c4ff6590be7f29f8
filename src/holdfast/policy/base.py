"""What a policy is made of, as stored values, and the one verb that its layers share."""

import math
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import torch

from ..data import Actions, Affine, Isotropic, NoiseLaw, check_noise_size
from ..errors import RecipeError
from ..models import Diffusion, Family, Streaming
from ..types import Observation, Prefix, PrimitiveControllers
from .overlap import Ensemble

__all__ = ["Execution", "Plans", "PolicySpec", "Restarts"]


@runtime_checkable
class Plans(Protocol):
    """Anything that turns observation windows into composite actions."""

    def plan(self, window: Observation, *, rng: torch.Generator, prefix: Prefix | None = None) -> PrimitiveControllers:
        """Composite actions `[b, h]`; the first step answers the window's last observation."""
        ...


@runtime_checkable
class Restarts(Plans, Protocol):
    """Plans that go on where the last one ended."""

    def restart(self) -> None:
        """Forget the last plan: the next one is the first of an episode."""
        ...


@dataclass(frozen=True)
class Execution:
    """How a trained policy is run; nothing here needs a new training.

    Attributes:
        n_action_steps: Steps executed before the next plan.
        sigma_deploy: Std of the noise on normalised observations, fresh at every plan (the smoothed policy).
        clip_observation: Bound of normalised observations before the noise; 1 keeps them in the training data's range.
        action_low: Smallest action of each coordinate, in the system's units.
        action_high: Largest action of each coordinate.
        noise_law: Of the deployment noise; others than the Gaussian are for reading published figures.
        ensemble: Average what all plans so far say of each step (temporal ensembling); plans are then made at every
            step.
        stream: Keep a streaming model's buffer between plans, which then cost 1 / blocks of the network calls. A plan
            is one block of the chunk, so `n_action_steps` is horizon / blocks.
    """

    n_action_steps: int = 8
    sigma_deploy: float = 0.0
    clip_observation: float | None = None
    action_low: tuple[float, ...] | None = None
    action_high: tuple[float, ...] | None = None
    noise_law: NoiseLaw = field(default_factory=Isotropic)
    ensemble: Ensemble | None = None
    stream: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.sigma_deploy < math.inf:
            raise RecipeError(f"expected sigma_deploy of 0 or above, got {self.sigma_deploy}.")
        if self.clip_observation is not None and not self.clip_observation > 0:
            raise RecipeError(f"expected clip_observation above 0, or None, got {self.clip_observation}.")
        if any(low > high for low, high in zip(self.action_low or (), self.action_high or (), strict=False)):
            raise RecipeError(f"expected action_low <= action_high, got {self.action_low} and {self.action_high}.")


@dataclass(frozen=True, kw_only=True)
class PolicySpec:
    """Everything that a policy is built from, besides its weights and scales.

    Attributes:
        n_states: Coordinates that primitive controllers feed back.
        n_actions: Coordinates of an action.
        n_observed: Coordinates of an observation.
        codec: What a chunk's step holds: actions alone, or affine controllers.
        model: The generative model.
        n_obs_steps: Observations in a window.
        horizon: Steps in a planned chunk.
        execution: How the policy is run.
    """

    n_states: int
    n_actions: int
    n_observed: int
    codec: Actions | Affine = field(default_factory=Affine)
    model: Family = field(default_factory=Diffusion)
    n_obs_steps: int = 2
    horizon: int = 16
    execution: Execution = field(default_factory=Execution)

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
        check_noise_size(self.execution.noise_law, self.n_observed)
        if self.execution.stream:
            self._check_stream()

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
