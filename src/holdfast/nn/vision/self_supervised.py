"""Encoders that `holdfast pretrain` has trained on a user's own pictures, and the file that holds one.

    encoder.safetensors     weights by the encoder's own names; header: its options, the method, sizes of the pictures

Positions among the features stay what they are. Other features are standardised over their coordinates, as those of
other pre-trained encoders (`pretrained`), so that noise on them has the same meaning.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from ...errors import DataError, HoldfastError, RecipeError
from ...schema import from_plain, to_plain
from ...sealed import crc32c, digest_of, header_of, layouts, read_sealed, sealed
from .cnn import SmallCnn
from .encoder import (
    LARGEST_SIDE,
    EncoderOptions,
    Features,
    FromFile,
    FromFileEncoder,
    PictureEncoder,
    Pixels,
    as_constants,
)
from .resnet import ResNet18
from .vit import SmallVit

FILE = "encoder.safetensors"
"""Name of the file in the folder of a pre-training."""
FORMAT = "encoder of holdfast pretrain, version 1"


@dataclass(frozen=True, kw_only=True)
class SelfSupervised(FromFile):
    """Options of an encoder that was pre-trained by `holdfast pretrain`.

    Attributes:
        encoder: Options of the encoder.
        method: Name of the class of the method, such as "MaskedAutoencoder".
        channels: Channels of the pictures of the pre-training.
        size: Height and width of what was encoded in the pre-training.
    """

    encoder: SmallCnn | ResNet18 | SmallVit = field(default_factory=SmallCnn)
    method: str = ""
    channels: int = 3
    size: tuple[int, ...] = ()

    @staticmethod
    def of(encoder: EncoderOptions, method: str, *, channels: int, size: tuple[int, int]) -> "SelfSupervised":
        """Options of an encoder after its pre-training.

        Raises:
            RecipeError: It is none of those that can be pre-trained.
        """
        if not isinstance(encoder, SmallCnn | ResNet18 | SmallVit):
            raise RecipeError(f"{type(encoder).__name__} cannot be pre-trained. Choose cnn, resnet18 or vit.")
        return SelfSupervised(encoder=encoder, method=method, channels=channels, size=size)

    @property
    def n_features(self) -> int:
        return self.encoder.n_features

    def build(self, channels: int, size: tuple[int, int]) -> "SelfSupervisedEncoder":
        if min(size) < self.encoder.smallest:
            raise RecipeError(
                f"{type(self.encoder).__name__} encodes pictures of at least {self.encoder.smallest} pixels a side, "
                f"got {size[0]} × {size[1]}. Choose a larger crop."
            )
        if self.weights and channels != self.channels:
            raise RecipeError(
                f"the encoder was pre-trained on pictures of {self.channels} channels, got pictures of {channels}. "
                "Pre-train one on the pictures of this camera: holdfast pretrain DATA --images CAMERA --out DIR."
            )
        if self.weights and isinstance(self.encoder, SmallVit) and tuple(size) != self.size:
            raise RecipeError(
                f"the vision transformer was pre-trained on {_by(self.size)} pixels, and has positions for them alone, "
                f"got {_by(size)}. Resize and crop the pictures to that size, or pre-train it on theirs."
            )
        return SelfSupervisedEncoder(self, self.encoder.build(channels, size))


class SelfSupervisedEncoder(FromFileEncoder):
    """An encoder with the standardisation of features that are no positions."""

    def __init__(self, options: SelfSupervised, inner: PictureEncoder) -> None:
        super().__init__()
        self.inner, self.n_points = inner, inner.n_points
        if options.frozen:
            as_constants(inner)

    def take(self, weights: Mapping[str, Tensor]) -> None:
        self.inner.load_state_dict(weights)

    def forward(self, pictures: Pixels) -> Features:
        found = cast(Tensor, self.inner(pictures))
        return found if self.n_points else nn.functional.layer_norm(found.float(), found.shape[-1:])


def encoder_bytes(options: SelfSupervised, encoder: PictureEncoder) -> bytes:
    """The file of a pre-trained encoder."""
    return sealed(encoder.state_dict(), {"format": FORMAT, "encoder": to_plain(options)})


def is_self_supervised(file: str | Path) -> bool:
    """Whether a path is the folder of a pre-training, or the file of its encoder."""
    path = place_of(file)
    try:
        return path.is_file() and header_of(path).get("format") == FORMAT
    except (DataError, OSError):
        return False


def place_of(file: str | Path) -> Path:
    """The file of an encoder, given it or the folder of its pre-training."""
    path = Path(file)
    return path / FILE if path.is_dir() else path


def read_self_supervised(file: str | Path) -> tuple[SelfSupervised, dict[str, Tensor]]:
    """Options and weights of an encoder that `holdfast pretrain` has written.

    Args:
        file: Folder of the pre-training, or the file of its encoder.

    Raises:
        DataError: There is no such file, it is damaged, or its weights are not those of its options.
    """
    path = place_of(file)
    if not path.is_file():
        raise DataError(f"{path} is not a file. Make one with: holdfast pretrain DATA --images CAMERA --out DIR.")
    try:
        about = header_of(path)
        if about.get("format") != FORMAT:
            raise DataError(f"its header names the format {about.get('format')!r:.80}, expected {FORMAT!r}")
        options = from_plain(SelfSupervised, about.get("encoder"))
        _check_shapes(options, path)
        stored = read_sealed(path)
        stored.check()
        if stored.digest is None:
            raise DataError("its header lacks the digest with which it was written")
        if broken := stored.not_finite():
            raise DataError(f"it holds numbers that are not finite, in {broken[0]}")
    except (HoldfastError, RuntimeError, TypeError, ValueError) as error:
        raise DataError(f"{path} holds no encoder of holdfast pretrain, or a damaged one: {error}") from error
    return options, dict(stored.tensors)


def digest_of_weights(weights: Mapping[str, Tensor]) -> str:
    """Digest of names, shapes and numbers."""
    parts = [[name, list(value.shape), crc32c(value.contiguous().numpy())] for name, value in sorted(weights.items())]
    return digest_of(parts)[:32]


def _check_shapes(options: SelfSupervised, path: Path) -> None:
    """Compare the shapes in a file with those of its options before any of its numbers are read."""
    size: Any = options.size
    if len(size) != 2 or not 1 <= min(size) <= max(size) <= LARGEST_SIDE or not 1 <= options.channels <= 4:
        raise DataError(f"it was trained on pictures of {_by(size)} pixels and {options.channels} channels")
    found = {name: one.shape if one.dtype == torch.float32 else str(one) for name, one in layouts(path).items()}
    if isinstance(options.encoder, SmallVit) and options.encoder.layers > len(found):
        # before a network of any depth is built
        raise DataError(f"it holds {len(found)} tensors, fewer than the {options.encoder.layers} layers of its encoder")
    with torch.device("meta"):
        expected = {k: tuple(v.shape) for k, v in options.encoder.build(options.channels, size).state_dict().items()}
    if differing := [name for name in {**expected, **found} if expected.get(name) != found.get(name)]:
        name = differing[0]
        raise DataError(f"{name} is {found.get(name, 'absent')} instead of {expected.get(name, 'absent')}")


def _by(size: tuple[int, ...]) -> str:
    return " × ".join(map(str, size))
