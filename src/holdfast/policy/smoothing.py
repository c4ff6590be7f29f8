"""Smoothed policy: add noise to the observation, then plan.

    π̂_σ(· | o) = law of π̂(· | õ),   õ ~ N(o, σ² I)   in normalised coordinates

It is total-variation continuous whatever π̂ is: TV(π̂_σ(o), π̂_σ(o')) ≤ ‖o − o'‖ / (2σ) (Pinsker). With the σ of the
training noise it is the *replica* policy. Block et al. 2023 (arXiv 2307.14619), Def. 3.5 and section 3.3.
"""

from dataclasses import dataclass, field

import torch

from ..data import Isotropic, NoiseLaw, noised
from ..types import Observation, Prefix, PrimitiveControllers
from .planner import Planner


@dataclass(frozen=True)
class Smoothed:
    """Planner with noise on its observations.

    Attributes:
        planner: Policy π̂.
        sigma: Scale σ of the noise; 0 adds none.
        law: Law of the noise.
        clip: Bound of normalised observations before the noise. Clipped to the range of the training data, the network
            does not extrapolate, and the gains correct the rest.
        sigma_features: Standard deviation of the noise on the features of pictures.
    """

    planner: Planner
    sigma: float = 0.0
    clip: float | None = None
    law: NoiseLaw = field(default_factory=Isotropic)
    sigma_features: float = 0.0

    def plan(self, window: Observation, *, rng: torch.Generator, prefix: Prefix | None = None) -> PrimitiveControllers:
        """One composite action `[b, h]` for each window, with fresh noise."""
        return self.planner.plan_normalized(self.noised(window, rng=rng), rng=rng, prefix=prefix)

    def noised(self, window: Observation, *, rng: torch.Generator) -> Observation:
        """Input of the planner: windows normalised, clipped and noised, with noised features in place of pictures and
        vectors in place of instructions.
        """
        normalized = self.planner.normalize(window)
        vector = normalized.vector
        if self.clip is not None:
            vector = vector.clamp(-self.clip, self.clip)
        seen = self.planner.seen(normalized.with_vector(noised(vector, self.sigma, rng=rng, law=self.law)))
        vision = self.planner.spec.vision
        if vision is None or not self.sigma_features:
            return seen
        first = 0 if vision.readings == "none" else vector.shape[-1]
        readings, features, rest = (
            seen.state[..., :first],
            seen.state[..., first : first + vision.n_features],
            seen.state[..., first + vision.n_features :],
        )
        features = noised(features, self.sigma_features, rng=rng)
        return Observation(state=torch.cat([readings, features, rest], dim=-1))
