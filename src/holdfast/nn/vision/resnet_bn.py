"""ResNet-18 with batch normalisation (He et al. 2016, arXiv 1512.03385), for weights from a file.

Names are those of torchvision and timm, of R3M (Nair et al. 2022, arXiv 2203.12601: torchvision's behind
`module.convnet.`) and of Hugging Face. The features are the mean of the last maps.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, cast

from torch import Tensor, nn

from ...errors import DataError, at_least
from .name_layouts import NameLayout, found_in
from .pretrained import FixedBatchNorm, Pretrained

_HUGGING_FACE = (
    (r"^conv1\.", "embedder.embedder.convolution."),
    (r"^bn1\.", "embedder.embedder.normalization."),
    (r"^layer1\.", "encoder.stages.0.layers."),
    (r"^layer2\.", "encoder.stages.1.layers."),
    (r"^layer3\.", "encoder.stages.2.layers."),
    (r"^layer4\.", "encoder.stages.3.layers."),
    (r"\.conv1\.", ".layer.0.convolution."),
    (r"\.bn1\.", ".layer.0.normalization."),
    (r"\.conv2\.", ".layer.1.convolution."),
    (r"\.bn2\.", ".layer.1.normalization."),
    (r"\.downsample\.0\.", ".shortcut.convolution."),
    (r"\.downsample\.1\.", ".shortcut.normalization."),
)
_BESIDE = r"num_batches_tracked$|^fc\.|^classifier\."


@dataclass(frozen=True, kw_only=True)
class ResNet18Bn(Pretrained):
    """Options of a ResNet-18 with batch normalisation.

    Attributes:
        width: Channels of the first stage; those of the later ones are its multiples by 2, 4 and 8.
    """

    smallest = 33
    layouts: ClassVar[tuple[NameLayout, ...]] = (
        NameLayout("ResNet-18", (), ("", "module.convnet.", "convnet.", "module."), _BESIDE),
        NameLayout("ResNet-18", _HUGGING_FACE, ("resnet.", ""), _BESIDE),
    )

    width: int = 64

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(1, width=self.width)

    @property
    def n_features(self) -> int:
        return 8 * self.width

    def tower(self, size: tuple[int, int]) -> nn.Module:
        return ResNet18Tower(self.width)

    @classmethod
    def sized(cls, stored: Mapping[str, Tensor], config: Mapping[str, Any]) -> "Pretrained":
        found = found_in(stored, ["conv1.weight"], cls.layouts)
        if not found:
            raise DataError("expected the weights of ResNet-18, but conv1.weight is missing.")
        return cls(width=found["conv1.weight"].shape[0])


class ResNet18Tower(nn.Module):
    """Normalised pixels → the mean of the last maps."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, width, 7, 2, padding=3, bias=False), FixedBatchNorm(width)
        self.pool = nn.MaxPool2d(3, 2, padding=1)
        self.layer1 = _stage(width, width, 1)
        self.layer2 = _stage(width, 2 * width, 2)
        self.layer3 = _stage(2 * width, 4 * width, 2)
        self.layer4 = _stage(4 * width, 8 * width, 2)

    def forward(self, pixels: Tensor) -> Tensor:
        """Features of each picture."""
        maps = self.pool(cast(Tensor, self.bn1(self.conv1(pixels))).relu())
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            maps = cast(Tensor, stage(maps))
        return maps.mean(dim=(2, 3))


class BasicBlock(nn.Module):
    """Two convolutions of 3 × 3 beside a shortcut."""

    def __init__(self, n_in: int, n_out: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(n_in, n_out, 3, stride, padding=1, bias=False), FixedBatchNorm(n_out)
        self.conv2, self.bn2 = nn.Conv2d(n_out, n_out, 3, padding=1, bias=False), FixedBatchNorm(n_out)
        shortcut = nn.Sequential(nn.Conv2d(n_in, n_out, 1, stride, bias=False), FixedBatchNorm(n_out))
        self.downsample = shortcut if stride > 1 or n_in != n_out else nn.Identity()

    def forward(self, maps: Tensor) -> Tensor:
        """The maps after the block."""
        inner = cast(Tensor, self.bn1(self.conv1(maps))).relu()
        return (cast(Tensor, self.bn2(self.conv2(inner))) + cast(Tensor, self.downsample(maps))).relu()


def _stage(n_in: int, n_out: int, stride: int) -> nn.Sequential:
    return nn.Sequential(BasicBlock(n_in, n_out, stride), BasicBlock(n_out, n_out, 1))
