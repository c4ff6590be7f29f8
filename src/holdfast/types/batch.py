"""What generative models are trained on, and what they are conditioned on."""

from dataclasses import dataclass, replace

from jaxtyping import Bool, Float, Int
from torch import Tensor

from .observation import Observation

Chunks = Float[Tensor, "b h w"]
"""Encoded chunks, one for each batch entry."""
Window = Float[Tensor, "b o d"]
"""Vectors of the last `o` observations of each batch entry, oldest first."""


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Normalised training batch of a model.

    Attributes:
        observation: Observation windows `[b, o, ·]`, oldest step first; the last step is *now*.
        chunk: Encoded composite actions; the first step corresponds to the newest observation.
        mask: True where the chunk's step is inside its episode, False where it repeats the last one.
        known: Number of first steps that the model is given without noise, for families with `clean_prefix`.
        following: Normalised readings of the observation that follows each step of the chunk, for families that model
            them (`FamilyOptions.needs_following`).
        followed: True where that observation is inside the episode.
    """

    observation: Observation
    chunk: Chunks
    mask: Bool[Tensor, "b h"]
    known: Int[Tensor, " b"] | None = None
    following: Float[Tensor, "b h r"] | None = None
    followed: Bool[Tensor, "b h"] | None = None


@dataclass(frozen=True, kw_only=True)
class Prefix:
    """Known steps of a chunk to be sampled, for example those executed while the plan is computed.

    Attributes:
        chunk: Encoded composite actions; only steps of positive weight matter.
        weights: Weight of each step, equal for all chunks or one row per chunk: 1 fixes the step exactly, 0 means
            unknown.
        jacobian: Guidance differentiates through the network. Without, the Jacobian of the denoiser is taken for the
            identity, which is faster and another direction.
        asked: Whether sampling looks first if any weight is positive. A plan that is traced, and whose weights are an
            input, cannot ask.
    """

    chunk: Chunks
    weights: Float[Tensor, "*b h"]
    jacobian: bool = True
    asked: bool = True

    def rows(self, rows: slice) -> "Prefix":
        """The prefix of some of the chunks."""
        weights = self.weights[rows] if self.weights.dim() > 1 else self.weights
        return replace(self, chunk=self.chunk[rows], weights=weights)

    @property
    def by_number(self) -> Float[Tensor, "*b h 1"]:
        """The weights with an axis for the numbers of a step's code."""
        return self.weights[..., None]
