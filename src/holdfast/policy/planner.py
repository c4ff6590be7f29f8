"""Planner = scale ∘ model ∘ codec: observation window → composite action."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ..data import MinMax, decode, width
from ..errors import ShapeError
from ..models import ChunkModel, Sizes
from ..tokens import Tokenizer
from ..types import Observation, Prefix, PrimitiveControllers
from .base import PolicySpec

__all__ = ["Planner", "build_model"]


def build_model(spec: PolicySpec, *, seed: int = 0, tokenizer: Tokenizer | None = None) -> ChunkModel:
    """The untrained generative model of a policy; PyTorch's global generator is left as it was.

    Args:
        spec: What to build.
        seed: Of the first weights.
        tokenizer: Fitted, for families of tokens.
    """
    before = torch.get_rng_state()
    torch.default_generator.manual_seed(seed)
    try:
        return spec.model.build(sizes_of(spec), tokenizer=tokenizer)
    finally:
        torch.set_rng_state(before)


def sizes_of(spec: PolicySpec) -> Sizes:
    """How large the chunks and observation windows of a policy's model are."""
    return Sizes(
        horizon=spec.horizon,
        width=width(spec.codec, spec.n_states, spec.n_actions),
        n_obs_steps=spec.n_obs_steps,
        n_observed=spec.n_observed,
    )


@dataclass(frozen=True)
class Planner:
    """A trained generative model with the scales and the codec around it.

    Attributes:
        spec: What the policy is built from.
        model: The generative model.
        observation_scale: Observation ↔ [-1, 1].
        code_scale: Code ↔ [-1, 1].
    """

    spec: PolicySpec
    model: ChunkModel
    observation_scale: MinMax
    code_scale: MinMax

    def normalize(self, window: Observation) -> Observation:
        """Observation windows in the model's coordinates."""
        vector = window.vector
        if vector.shape[-1] != self.spec.n_observed:
            raise ShapeError(
                f"expected observations of {self.spec.n_observed} numbers, as in training, got {vector.shape[-1]}."
            )
        return window.with_vector(self.observation_scale.normalize(vector))

    def plan(self, window: Observation, *, rng: torch.Generator, prefix: Prefix | None = None) -> PrimitiveControllers:
        """One composite action `[b, h]` for each window."""
        return self.plan_normalized(self.normalize(window), rng=rng, prefix=prefix)

    def plan_normalized(
        self, window: Observation, *, rng: torch.Generator, prefix: Prefix | None = None
    ) -> PrimitiveControllers:
        """The composite action `[b, h]` for each window that is normalised already."""
        code = self.model.sample(self.model_input(window), rng=rng, prefix=prefix)
        return self.controllers(code, like=window.vector)

    def model_input(self, window: Observation) -> Observation:
        """Normalised windows on the device and in the precision of the model's weights."""
        return window.to(next(self.model.parameters()))

    def controllers(self, code: Float[Tensor, "b h w"], *, like: Tensor) -> PrimitiveControllers:
        """The composite actions that a model's chunks stand for, in the precision and on the device of `like`."""
        # a coordinate that never changed in training has no range: whatever was generated for it is an error
        code = code.masked_fill(self.code_scale.constant.to(code.device), 0.0)
        # back in the caller's precision and device: float32 would round gains that multiply small differences
        physical = self.code_scale.denormalize(code.to(like))
        return decode(self.spec.codec, physical, n_states=self.spec.n_states, n_actions=self.spec.n_actions)
