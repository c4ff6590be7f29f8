"""A small convolutional network with spatial softmax: the default, chosen by pictures per second on a processor.

Four convolutions of 32 channels with kernels of 3 × 3; the first two halve height and width. Each of the last 32 maps
gives one position. Convolutional encoders of this size are usual for policies from pixels (Levine et al. 2016,
arXiv 1504.00702; Yarats et al. 2021, arXiv 2107.09645).
"""

from dataclasses import dataclass
from typing import cast

from torch import Tensor, nn

from ...errors import RecipeError, at_least
from .encoder import EncoderOptions, Features, PictureEncoder, Pixels
from .spatial import SpatialSoftmax


@dataclass(frozen=True)
class SmallCnn(EncoderOptions):
    """Options of a small convolutional network with spatial softmax.

    Attributes:
        channels: Channels of each convolution; the last ones are the positions.
        strides: Stride of each convolution.
    """

    channels: int = 32
    strides: tuple[int, ...] = (2, 2, 1, 1)

    def __post_init__(self) -> None:
        at_least(1, channels=self.channels)
        if not self.strides or min(self.strides) < 1:
            raise RecipeError(f"expected strides of at least 1, one for each convolution, got {self.strides}.")

    @property
    def n_features(self) -> int:
        return 2 * self.channels

    def build(self, channels: int, size: tuple[int, int]) -> "SmallCnnNet":
        return SmallCnnNet(self, channels, size)


class SmallCnnNet(PictureEncoder):
    """A small convolutional network with spatial softmax."""

    def __init__(self, options: SmallCnn, channels: int, size: tuple[int, int]) -> None:
        super().__init__()
        self.n_points = options.channels
        inputs = [channels, *[options.channels] * (len(options.strides) - 1)]
        self.layers = nn.ModuleList(
            nn.Conv2d(count, options.channels, 3, stride, padding=1)
            for count, stride in zip(inputs, options.strides, strict=True)
        )
        stride = 1
        for step in options.strides:
            stride *= step
        self.points = SpatialSoftmax(size, stride=stride, learned=True)
        for layer in self.layers:
            # PyTorch's own initial weights shrink the maps from layer to layer, until all positions are the centre
            nn.init.kaiming_normal_(cast(nn.Conv2d, layer).weight, nonlinearity="relu")
            nn.init.zeros_(cast(Tensor, cast(nn.Conv2d, layer).bias))

    def forward(self, pictures: Pixels) -> Features:
        maps = pictures
        for index, layer in enumerate(self.layers):
            maps = cast(Tensor, layer(maps.relu() if index else maps))
        return cast(Tensor, self.points(maps))
