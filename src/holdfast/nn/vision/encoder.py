"""The interface of encoders of pictures, and of the options that build them.

    features = encoder(pictures)        [b, channels, height, width] in [-1, 1]  →  [b, n_features]

The first `2 · n_points` features are positions in the picture, all x before all y, from −1 at the first to 1 at the
last pixel. `cameras` states them in the frame of the whole picture, wherever the picture was cropped.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor, nn

Pixels = Float[Tensor, "b channels height width"]
Features = Float[Tensor, "b n_features"]

LARGEST_SIDE = 4096
"""Largest height or width of a picture [px]."""


class PictureEncoder(nn.Module, ABC):
    """Pictures → features.

    Attributes:
        n_points: Number of positions among the features.
    """

    n_points: int = 0

    @abstractmethod
    def forward(self, pictures: Pixels) -> Features:
        """Features of each picture."""


class EncoderOptions(ABC):
    """Options of an encoder: a frozen dataclass that builds the encoder it describes.

    Attributes:
        smallest: Smallest height and width of a picture.
    """

    smallest: ClassVar[int] = 8

    @property
    @abstractmethod
    def n_features(self) -> int:
        """Number of features of a picture."""

    @abstractmethod
    def build(self, channels: int, size: tuple[int, int]) -> PictureEncoder:
        """An untrained encoder; its initial weights come from PyTorch's global generator.

        Args:
            channels: Channels of a picture.
            size: Height and width of a picture.

        Raises:
            RecipeError: Pictures of this size cannot be encoded.
        """


@dataclass(frozen=True, kw_only=True)
class FromFile(EncoderOptions):
    """Options of an encoder that starts from the weights of a file.

    Attributes:
        frozen: Whether the weights stay as they were read.
        weights: Digest of the weights that were read; "" for none.
    """

    frozen: bool = True
    weights: str = ""


class FromFileEncoder(PictureEncoder):
    """An encoder that starts from the weights of a file."""

    @abstractmethod
    def take(self, weights: Mapping[str, Tensor]) -> None:
        """Use weights as they were read."""


def as_constants(module: nn.Module) -> None:
    """Turn all parameters of a module into buffers, which no optimiser changes and which stay in its `state_dict`."""
    for part in module.modules():
        for name, value in list(part.named_parameters(recurse=False)):
            delattr(part, name)
            part.register_buffer(name, value.detach())
