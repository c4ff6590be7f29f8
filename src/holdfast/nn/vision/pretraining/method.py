"""The interface of methods of pre-training, and of the options that build their models.

loss(pictures, draws)            pictures of bytes `[b, height, width, channels]`, resized, without labels
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor, nn

from ..cameras import cropped_pixels
from ..encoder import PictureEncoder, Pixels
from ..vision import Vision

Draws = dict[str, Tensor]
"""Everything random that one loss needs, by name; the first axis of each is that of the pictures."""
Bytes = UInt8[Tensor, "b whole_height whole_width channels"]
Rows = Mapping[str, Float[Tensor, "n channels height width"]]
"""Rows of pictures in [-1, 1] for people, by what they show."""


class PretrainingModel(nn.Module, ABC):
    """An encoder, and the networks with which it is pre-trained.

    Args:
        vision: Cameras, whose crops have one size, and the encoder.
    """

    encoder: PictureEncoder

    def __init__(self, vision: Vision) -> None:
        super().__init__()
        self.vision, self.view = vision, vision.views[0]
        self.encoder = vision.encoder.build(self.view.channels, self.view.encoded)

    def draw(self, count: int, *, rng: torch.Generator) -> Draws:
        """Random numbers for the loss of a number of pictures: at least the places of their crops."""
        return {"places": torch.rand(count, 2, generator=rng, device=rng.device)}

    @abstractmethod
    def forward(self, pictures: Bytes, draws: Draws) -> Float[Tensor, ""]:
        """The loss."""

    @abstractmethod
    def shown(self, pictures: Bytes, draws: Draws) -> Rows:
        """Rows of pictures by which people judge the model."""

    def ready_encoder(self, pictures: Bytes) -> PictureEncoder:
        """The encoder as it is kept; a part that the method does not train is fitted to some pictures here.

        Args:
            pictures: Pictures of the training.
        """
        return self.encoder

    def crops(self, pictures: Bytes, places: Float[Tensor, "b 2"] | None = None) -> Pixels:
        """Crops of pictures in [-1, 1], in the centre by default."""
        return self.placed_crops(pictures, places)[0]

    def placed_crops(
        self, pictures: Bytes, places: Float[Tensor, "b 2"] | None = None
    ) -> tuple[Pixels, Int[Tensor, "corners 2"]]:
        """Crops of pictures, and the first row and column of each, or of all for centres."""
        return cropped_pixels(self.view, pictures[:, None], places)


class Method(ABC):
    """Options of a method of pre-training: a frozen dataclass that builds its model."""

    @abstractmethod
    def build(self, vision: Vision) -> PretrainingModel:
        """An untrained model; its initial weights come from PyTorch's global generator.

        Raises:
            RecipeError: The method cannot train this encoder.
        """
