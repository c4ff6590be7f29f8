"""EfficientNet-Lite0 (Tan and Le 2019, arXiv 1905.11946, without squeeze and excitation, with ReLU6).

Names are those of the package efficientnet_lite_pytorch. Convolutions are padded as in TensorFlow ("same"): to
ceil(size / stride) cells, with the odd pixel at the end. The features are the mean of the last maps.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, cast

from torch import Tensor, nn

from .name_layouts import NameLayout
from .pretrained import FixedBatchNorm, Pretrained

EPS = 1e-3
STAGES = (
    (1, 3, 1, 1, 32, 16),
    (2, 3, 2, 6, 16, 24),
    (2, 5, 2, 6, 24, 40),
    (3, 3, 2, 6, 40, 80),
    (3, 5, 1, 6, 80, 112),
    (4, 5, 2, 6, 112, 192),
    (1, 3, 1, 6, 192, 320),
)
"""Blocks, kernel, first stride, expansion, channels before and after (table 1 for B0)."""


@dataclass(frozen=True, kw_only=True)
class EfficientNetLite0(Pretrained):
    """Options of an EfficientNet-Lite0."""

    smallest = 32
    layouts: ClassVar[tuple[NameLayout, ...]] = (
        NameLayout("EfficientNet-Lite0", (), ("", "module."), r"num_batches_tracked$|^_fc\."),
    )

    @property
    def n_features(self) -> int:
        return 1280

    def tower(self, size: tuple[int, int]) -> nn.Module:
        return EfficientNetLite0Tower()

    @classmethod
    def sized(cls, stored: Mapping[str, Tensor], config: Mapping[str, Any]) -> "Pretrained":
        return cls()


class EfficientNetLite0Tower(nn.Module):
    """Normalised pixels → the mean of the last maps."""

    def __init__(self) -> None:
        super().__init__()
        self._conv_stem, self._bn0 = SameConv(3, 32, 3, 2), FixedBatchNorm(32, EPS)
        self._blocks = nn.ModuleList()
        for count, kernel, stride, expand, n_in, n_out in STAGES:
            for index in range(count):
                sizes = (n_out, n_out, 1) if index else (n_in, n_out, stride)
                self._blocks.append(MobileBlock(*sizes, kernel=kernel, expand=expand))
        self._conv_head, self._bn1 = SameConv(320, 1280, 1, 1), FixedBatchNorm(1280, EPS)

    def forward(self, pixels: Tensor) -> Tensor:
        """Features of each picture."""
        maps = _bounded(self._bn0(self._conv_stem(pixels)))
        for block in self._blocks:
            maps = cast(Tensor, block(maps))
        return _bounded(self._bn1(self._conv_head(maps))).mean(dim=(2, 3))


class MobileBlock(nn.Module):
    """Expansion, convolution of each channel, projection (Sandler et al. 2018, arXiv 1801.04381)."""

    def __init__(self, n_in: int, n_out: int, stride: int, *, kernel: int, expand: int) -> None:
        super().__init__()
        inner = n_in * expand
        if expand > 1:
            self._expand_conv, self._bn0 = SameConv(n_in, inner, 1, 1), FixedBatchNorm(inner, EPS)
        self._depthwise_conv = SameConv(inner, inner, kernel, stride, groups=inner)
        self._bn1 = FixedBatchNorm(inner, EPS)
        self._project_conv, self._bn2 = SameConv(inner, n_out, 1, 1), FixedBatchNorm(n_out, EPS)
        self.expands, self.identity = expand > 1, stride == 1 and n_in == n_out

    def forward(self, maps: Tensor) -> Tensor:
        """The maps after the block."""
        inner = _bounded(self._bn0(self._expand_conv(maps))) if self.expands else maps
        inner = _bounded(self._bn1(self._depthwise_conv(inner)))
        found = cast(Tensor, self._bn2(self._project_conv(inner)))
        return found + maps if self.identity else found


class SameConv(nn.Conv2d):
    """A convolution without bias, padded as in TensorFlow."""

    def __init__(self, n_in: int, n_out: int, kernel: int, stride: int, groups: int = 1) -> None:
        # PyTorch ships no complete types of it
        super().__init__(n_in, n_out, kernel, stride, groups=groups, bias=False)  # pyright: ignore[reportUnknownMemberType]

    def forward(self, input: Tensor) -> Tensor:
        """The convolved maps."""
        pads = list[int]()
        for axis in (-1, -2):
            stride, kernel, size = self.stride[axis], self.kernel_size[axis], input.shape[axis]
            whole = max((-(-size // stride) - 1) * stride + kernel - size, 0)
            pads += [whole // 2, whole - whole // 2]
        return super().forward(nn.functional.pad(input, pads) if any(pads) else input)


def _bounded(maps: Any) -> Tensor:
    return nn.functional.relu6(cast(Tensor, maps))
