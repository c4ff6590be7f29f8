"""Pictures of a pre-training: those of all cameras together, and those of the episodes that are held out."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Int, UInt8
from torch import Tensor

from ...data import Chosen, Joined, split
from ...data.unpacked import checksum_of
from ...errors import DataError
from ...seeding import stream
from ...types import Episodes, Pictures
from ..fingerprint import Fingerprint
from ..pictures import OnPictures, ready_pictures
from .recipe import Pretraining

PICTURES = "pictures"
"""Name under which the pictures of all cameras are read."""


@dataclass(frozen=True)
class PictureSet:
    """Pictures to train on and pictures that are held out, resized and ready for random access.

    Attributes:
        training: Pictures of the training episodes, one camera after another.
        held_out: Pictures of the held-out episodes; `None` if there are none.
    """

    training: Pictures
    held_out: Pictures | None

    def draw(self, count: int, rng: torch.Generator) -> Int[Tensor, " count"]:
        """Random rows of the training, with replacement."""
        return torch.randint(len(self.training), (count,), generator=rng)

    def sample(self, count: int, *, held_out: bool, rng: torch.Generator) -> UInt8[Tensor, "n height width channels"]:
        """Distinct random pictures of one part, all of them if there are no more."""
        source = self.held_out if held_out and self.held_out is not None else self.training
        return source.read(torch.randperm(len(source), generator=rng)[:count])

    @property
    def fingerprint(self) -> Fingerprint:
        """What tells these pictures from others."""
        found = hashlib.sha256(f"{self.training.shape} {checksum_of(self.training)}".encode())
        digest = found.hexdigest()[:16]
        return Fingerprint(digest, 0.0, digest)


def picture_set(
    recipe: Pretraining, episodes: Episodes, *, on_pictures: OnPictures = lambda camera, done, total: None
) -> PictureSet:
    """Pictures of a recipe.

    Args:
        recipe: Recipe of the pre-training.
        episodes: Data with pictures.
        on_pictures: Called while pictures are made ready.

    Raises:
        DataError: A camera is missing, or its pictures cannot be read.
    """
    training, held_out = split(episodes, held_out=recipe.held_out, rng=stream(recipe.seed, "episodes"))
    ready = ready_pictures(training, recipe.vision, on_pictures=on_pictures)
    kept = ready_pictures(held_out, recipe.vision) if len(held_out) else {}
    if not len(training.actions):
        raise DataError("the data have no pictures to train on. Hold out fewer episodes, or give other data.")
    return PictureSet(_joined(ready), _joined(kept) if kept else None)


def _joined(ready: Mapping[str, Pictures]) -> Pictures:
    parts = list(ready.values())
    return parts[0] if len(parts) == 1 else Joined(parts)


def every(pictures: Pictures, most: int) -> Pictures:
    """Evenly spaced pictures, at most a number of them."""
    count = min(most, len(pictures))
    return Chosen(pictures, torch.arange(count) * len(pictures) // count)
