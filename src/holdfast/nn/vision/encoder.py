"""The interface of encoders of pictures, and of the options that build them.

    features = encoder(pictures)        [b, channels, height, width] in [-1, 1]  →  [b, n_features]

The first `2 · n_points` features are positions in the picture, all x before all y, from −1 at the first to 1 at the
last pixel. `cameras` states them in the frame of the whole picture, wherever the picture was cropped.
"""

from abc import ABC, abstractmethod
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor, nn

Pixels = Float[Tensor, "b channels height width"]
Features = Float[Tensor, "b n_features"]


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
