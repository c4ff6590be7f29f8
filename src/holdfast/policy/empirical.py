"""Exact deconvolution policy of a finite set of demonstrations, without any network.

    P(row i | õ) ∝ exp(−‖õ − o_i‖² / 2σ²),   then the chunk of row i

This is the deconvolution policy of the *empirical* demonstrations: the conditional law of a chunk given an observation
with noise of standard deviation σ (Block et al. 2023, arXiv 2307.14619, Def. 3.6, with the data in place of the
expert's law). A generative model that fits its training set exactly converges to it; the difference between the two
shows the effect of the network's interpolation.
"""

from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor

from ..data import MinMax, Windows, noised
from ..errors import RecipeError
from ..types import Episodes, Observation, Prefix, PrimitiveControllers


@dataclass(frozen=True)
class EmpiricalDeconvolution:
    """Samples chunks of the demonstrations, with the posterior probability of their rows given the noised observation.

    Attributes:
        episodes: Demonstrations.
        controllers: Primitive controllers, one per row.
        scale: Scale of observations; σ is in its units.
        sigma: Standard deviation of the noise in training and deployment.
        horizon: Number of steps in a chunk.
        n_obs_steps: Number of observations in a window.
        clip: Bound of normalised observations before the noise.
    """

    episodes: Episodes
    controllers: PrimitiveControllers
    scale: MinMax
    sigma: float
    horizon: int
    n_obs_steps: int = 1
    clip: float | None = None

    def __post_init__(self) -> None:
        if self.sigma <= 0:
            raise RecipeError(
                f"expected sigma > 0, got {self.sigma}: without noise, new observations have no posterior."
            )

    def plan(self, window: Observation, *, rng: torch.Generator, prefix: Prefix | None = None) -> PrimitiveControllers:
        """Chunks `[b, h]` of the demonstrations, in the precision of the window."""
        if prefix is not None:
            raise RecipeError(
                "the empirical deconvolution policy takes no prefix: it replays whole chunks. Remove the prefix."
            )
        seen = self.scale.normalize(window.vector)
        if self.clip is not None:
            seen = seen.clamp(-self.clip, self.clip)
        seen = noised(seen, self.sigma, rng=rng)
        distance = torch.cdist(seen.flatten(1), self._known.to(seen))
        chance = torch.softmax(-(distance**2) / (2 * self.sigma**2), dim=1)
        chosen = torch.multinomial(chance, 1, generator=rng)[:, 0]
        rows, _ = self._windows.chunk_rows(chosen)
        found = self.controllers[rows]
        return PrimitiveControllers(
            actions=found.actions.to(seen), states=found.states.to(seen), gains=found.gains.to(seen)
        )

    @cached_property
    def _windows(self) -> Windows:
        return Windows(lengths=self.episodes.lengths, n_obs_steps=self.n_obs_steps, horizon=self.horizon)

    @cached_property
    def _known(self) -> Float[Tensor, "rows d"]:
        """Normalised observation windows of the demonstrations."""
        demonstrated = self.scale.normalize(self.episodes.observed.vector)
        return demonstrated[self._windows.observation_rows(torch.arange(len(demonstrated)))].flatten(1)
