"""Encoders whose weights come from a file of another library.

    pixels in [0, 1] ─► (x − mean) / std ─► tower ─► features ─► (f − mean(f)) / std(f)

Each vector of features is standardised over its coordinates (layer normalisation without parameters), so that noise on
features has the same meaning for every tower. A frozen tower has no parameters: its weights are constants of the model.
Batch normalisation uses the stored means and variances, in training too.
"""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ...errors import RecipeError
from .encoder import Features, FromFile, FromFileEncoder, Pixels, as_constants
from .name_layouts import NameLayout, matched

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True, kw_only=True)
class Pretrained(FromFile):
    """Options of an encoder whose weights come from a file of another library.

    Attributes:
        mean: Mean of each colour over the pictures of the pre-training, where pixels are in [0, 1].
        std: Their standard deviation.
    """

    layouts: ClassVar[tuple[NameLayout, ...]]
    """Layouts of files."""
    multiple: ClassVar[int] = 1

    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD

    def __post_init__(self) -> None:
        if len(self.mean) != 3 or len(self.std) != 3 or min(self.std) <= 0:
            raise RecipeError(f"expected mean and std > 0 of three colours, got {self.mean} and {self.std}.")

    @abstractmethod
    def tower(self, size: tuple[int, int]) -> nn.Module:
        """The network from normalised pixels to features, untrained."""

    @classmethod
    @abstractmethod
    def sized(cls, stored: Mapping[str, Tensor], config: Mapping[str, Any]) -> "Pretrained":
        """Options of the sizes of a file's weights.

        Args:
            stored: Weights by their names in the file.
            config: The content of config.json beside the file; empty where there is none.

        Raises:
            DataError: The weights from which sizes are read are not in the file.
        """

    def shapes(self, size: tuple[int, int]) -> dict[str, tuple[int, ...]]:
        """Shape of each weight in a file."""
        with torch.device("meta"):
            return {name: tuple(value.shape) for name, value in self.tower(size).state_dict().items()}

    def read(self, stored: Mapping[str, Tensor], *, file: str) -> dict[str, Tensor]:
        """The weights of a file by the tower's own names, in single precision.

        Raises:
            DataError: Names are missing or not expected, or shapes differ.
        """
        found = matched(stored, self.shapes((self.smallest, self.smallest)), self.layouts, file=file)
        return {name: value.float() for name, value in found.items()}

    def fitted(self, weights: Mapping[str, Tensor], size: tuple[int, int]) -> dict[str, Tensor]:
        """The weights for pictures of a size."""
        return dict(weights)

    def build(self, channels: int, size: tuple[int, int]) -> "PretrainedEncoder":
        if channels not in (1, 3):
            raise RecipeError(
                f"{type(self).__name__} encodes pictures of 3 channels, or of 1, which is repeated, got {channels}."
            )
        return PretrainedEncoder(self, size)


class PretrainedEncoder(FromFileEncoder):
    """A tower with the normalisation of its pixels and of its features."""

    def __init__(self, options: Pretrained, size: tuple[int, int]) -> None:
        super().__init__()
        self.options, self.size = options, size
        self.tower = options.tower(size)
        for name, values in (("mean", options.mean), ("std", options.std)):
            self.register_buffer(name, torch.tensor(values)[:, None, None], persistent=False)
        if options.frozen:
            as_constants(self.tower)

    def take(self, weights: Mapping[str, Tensor]) -> None:
        """Use weights as `Pretrained.read` returns them."""
        self.tower.load_state_dict(self.options.fitted(weights, self.size))

    def forward(self, pictures: Pixels) -> Features:
        colours = pictures if pictures.shape[1] == 3 else pictures.expand(-1, 3, -1, -1)
        pixels = ((colours + 1) / 2 - cast(Tensor, self.mean)) / cast(Tensor, self.std)
        found = cast(Tensor, self.tower(pixels))
        return nn.functional.layer_norm(found.float(), found.shape[-1:])


class FixedBatchNorm(nn.Module):
    """Batch normalisation with stored means and variances: γ (x − μ) / √(v + ε) + β.

    Ioffe and Szegedy 2015 (arXiv 1502.03167), section 3.1, at inference.
    """

    def __init__(self, channels: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.eps = eps
        self.weight, self.bias = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def forward(self, maps: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """The normalised maps."""
        mean, variance = cast(Tensor, self.running_mean), cast(Tensor, self.running_var)
        return nn.functional.batch_norm(maps, mean, variance, self.weight, self.bias, training=False, eps=self.eps)
