"""A generative model of chunks behind encoders of pictures.

    readings  [b, o, d] ────────────────────────────┐
    pictures  [b, o, height, width, channels] ──► features [b, o, f] + σ ε ──► window [b, o, d + f] ──► inner model

Encoders and inner model, which may be of any family, are trained together by the loss of the inner model. Encoding
takes most of the time of an update, so each encoded window is used for several draws of the inner model's noise.
"""

from dataclasses import dataclass
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor

from ..nn import Cameras, Language, Vision
from ..tokens import Tokenizer
from ..types import Batch, Observation
from .base import ChunkModel, FamilyOptions, Sizes
from .instructed import Instructed
from .wrapping import Wrapping


@dataclass(frozen=True)
class PicturedDraws:
    """The randomness of one loss: that of the inner model, the places of the crops, and the noise on the features.

    The features of a frozen encoder are those of the centres, whatever the places.
    """

    inner: Any
    places: Float[Tensor, "b views 2"]
    noise: Float[Tensor, "repeated o f"] | None


class Pictured(Wrapping):
    """A model whose observation windows hold pictures.

    Args:
        vision: What the policy sees of its cameras.
        family: Options of the inner model.
        sizes: Sizes of chunks and windows; an observation has the readings that are seen, and the features.
        tokenizer: Fitted tokenizer, for families of tokens.
        language: Instructions that the inner model follows.
    """

    def __init__(
        self,
        vision: Vision,
        family: FamilyOptions,
        sizes: Sizes,
        tokenizer: Tokenizer | None,
        language: Language | None = None,
    ) -> None:
        super().__init__()
        self.vision, self.sizes = vision, sizes
        self.cameras = Cameras(vision)
        if language is None:
            self.inner = family.build(sizes, tokenizer=tokenizer)
        else:
            self.inner = Instructed(language, family, sizes, tokenizer)

    def draw(self, shape: torch.Size, *, rng: torch.Generator) -> PicturedDraws:
        count, vision = shape[0], self.vision
        repeated = torch.Size((count * vision.noises, *shape[1:]))
        places = torch.rand(count, len(vision.views), 2, generator=rng, device=rng.device)
        features = (repeated[0], self.sizes.n_obs_steps, vision.n_features)
        noise = torch.randn(features, generator=rng, device=rng.device) if vision.sigma_train else None
        return PicturedDraws(inner=self.inner.draw(repeated, rng=rng), places=places, noise=noise)

    def loss(self, batch: Batch, draws: PicturedDraws) -> Float[Tensor, ""]:
        """The loss of the inner model, each encoded window with several draws of its noise."""
        seen, times = batch.observation, self.vision.noises
        readings, features = self._parts(seen, draws.places)
        features = _repeated(features, times)
        if draws.noise is not None:
            features = features + self.vision.sigma_train * draws.noise.to(features)
        task = None if seen.task is None else tuple(text for text in seen.task for _ in range(times))
        window = self._window(_repeated(readings, times), features, task)
        further = (None if values is None else _repeated(values, times) for values in _further(batch))
        known, following, followed = further
        repeated = Batch(
            observation=window,
            chunk=_repeated(batch.chunk, times),
            mask=_repeated(batch.mask, times),
            known=known,
            following=following,
            followed=followed,
        )
        return self.inner.loss(repeated, draws.inner)

    def _parts(self, seen: Observation, places: Tensor) -> tuple[Tensor, Tensor]:
        """Readings and features of windows; those of a frozen encoder were computed before and follow the readings."""
        if seen.images:
            return seen.vector, self.cameras(seen.images, places)
        count = self.vision.n_features
        return seen.vector[..., :-count], seen.vector[..., -count:]

    @torch.no_grad()
    def seen(self, observation: Observation) -> Observation:
        """Windows of readings, features from centre crops, and vectors of instructions; such windows stay as they are.

        Raises:
            ShapeError: A camera is missing, or has pictures of another size than in training.
        """
        if not observation.images and observation.vector.shape[-1] == self.sizes.n_observed:
            return observation
        features = cast(Tensor, self.cameras(observation.images))
        window = self._window(observation.vector, features.to(observation.vector), observation.task)
        return self.inner.seen(window) if isinstance(self.inner, Instructed) else window

    def _window(self, readings: Tensor, features: Tensor, task: tuple[str, ...] | None) -> Observation:
        parts = [features] if self.vision.readings == "none" else [readings, features]
        return Observation(state=torch.cat(parts, dim=-1), task=task)


def instructed_in(model: ChunkModel) -> Instructed | None:
    """The part of a model that follows instructions, if there is one."""
    inner = model.inner if isinstance(model, Pictured) else model
    return inner if isinstance(inner, Instructed) else None


def _further(batch: Batch) -> tuple[Tensor | None, ...]:
    """What only batches of some families have."""
    return batch.known, batch.following, batch.followed


def _repeated(values: Tensor, times: int) -> Tensor:
    return values.repeat_interleave(times, dim=0) if times > 1 else values
