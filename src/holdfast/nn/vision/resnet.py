"""ResNet-18 with group normalisation and spatial softmax.

He et al. 2016 (arXiv 1512.03385), with group normalisation in place of batch normalisation, which the moving average
of weights breaks, and spatial softmax in place of the mean: the encoder of Chi et al. 2023 (arXiv 2303.04137), which
have one group for every 16 channels and 32 positions.
"""

from dataclasses import dataclass
from typing import cast

from torch import Tensor, nn

from ...errors import RecipeError, at_least
from .encoder import EncoderOptions, Features, PictureEncoder, Pixels
from .spatial import SpatialSoftmax

PER_GROUP = 16
STRIDE = 32


@dataclass(frozen=True)
class ResNet18(EncoderOptions):
    """Options of a ResNet-18 with group normalisation and spatial softmax.

    Attributes:
        width: Channels of the first stage; those of the later ones are its multiples by 2, 4 and 8.
        points: Number of positions.
    """

    smallest = 33

    width: int = 64
    points: int = 32

    def __post_init__(self) -> None:
        at_least(1, width=self.width, points=self.points)
        if self.width % PER_GROUP:
            raise RecipeError(f"expected a width divisible by the {PER_GROUP} channels of a group, got {self.width}.")

    @property
    def n_features(self) -> int:
        return 2 * self.points

    def build(self, channels: int, size: tuple[int, int]) -> "ResNet18Net":
        return ResNet18Net(self, channels, size)


class ResidualBlock(nn.Module):
    """Two convolutions of 3 × 3 beside a shortcut."""

    def __init__(self, n_in: int, n_out: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.norm1 = nn.Conv2d(n_in, n_out, 3, stride, padding=1, bias=False), _norm(n_out)
        self.conv2, self.norm2 = nn.Conv2d(n_out, n_out, 3, padding=1, bias=False), _norm(n_out)
        shortcut = nn.Sequential(nn.Conv2d(n_in, n_out, 1, stride, bias=False), _norm(n_out))
        self.shortcut = shortcut if stride > 1 or n_in != n_out else nn.Identity()

    def forward(self, maps: Tensor) -> Tensor:
        """The maps after the block."""
        inner = cast(Tensor, self.norm1(self.conv1(maps))).relu()
        return (cast(Tensor, self.norm2(self.conv2(inner))) + cast(Tensor, self.shortcut(maps))).relu()


class ResNet18Net(PictureEncoder):
    """A ResNet-18 with group normalisation and spatial softmax."""

    def __init__(self, options: ResNet18, channels: int, size: tuple[int, int]) -> None:
        super().__init__()
        self.n_points = options.points
        self.conv = nn.Conv2d(channels, options.width, 7, 2, padding=3, bias=False)
        self.norm = _norm(options.width)
        self.pool = nn.MaxPool2d(3, 2, padding=1)
        widths = [options.width * factor for factor in (1, 2, 4, 8)]
        self.blocks = nn.Sequential()
        for stage, width in enumerate(widths):
            first = widths[max(stage - 1, 0)]
            self.blocks.append(ResidualBlock(first, width, 2 if stage else 1))
            self.blocks.append(ResidualBlock(width, width, 1))
        self.head = nn.Conv2d(widths[-1], options.points, 1)
        self.points = SpatialSoftmax(size, stride=STRIDE)
        for part in self.modules():
            if isinstance(part, nn.Conv2d):
                nn.init.kaiming_normal_(part.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, pictures: Pixels) -> Features:
        maps = self.pool(cast(Tensor, self.norm(self.conv(pictures))).relu())
        return cast(Tensor, self.points(self.head(self.blocks(maps))))


def _norm(channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(channels // PER_GROUP, channels)
