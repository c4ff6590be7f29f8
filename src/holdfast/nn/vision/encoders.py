"""Table of the encoders of pictures: name on the command line → default options.

Adding an encoder takes its file, with an options class (`EncoderOptions`) that builds it, one line in `ENCODERS`, and
one line in the contract suite (`OPTIONS` in tests/nn/test_vision.py; a test fails until it is there).
"""

from collections.abc import Mapping
from typing import Annotated

from ...errors import UnknownNameError
from ...schema import Alternatives
from .cnn import SmallCnn
from .efficientnet import EfficientNetLite0
from .encoder import EncoderOptions
from .resnet import ResNet18
from .resnet_bn import ResNet18Bn
from .self_supervised import SelfSupervised
from .towers import Clip, Dinov2, Siglip
from .vit import SmallVit

ENCODERS: Mapping[str, EncoderOptions] = {
    "cnn": SmallCnn(),
    "resnet18": ResNet18(),
    "vit": SmallVit(),
    "resnet18-bn": ResNet18Bn(),
    "efficientnet-lite0": EfficientNetLite0(),
    "dinov2": Dinov2(),
    "clip": Clip(),
    "siglip": Siglip(),
    "self-supervised": SelfSupervised(),
}

ENCODER_NAMES = tuple(ENCODERS)

Encoder = Annotated[EncoderOptions, Alternatives.of(ENCODERS.values())]
"""Options of any encoder in the table; a stored recipe names their class."""


def encoder_named(name: str) -> EncoderOptions:
    """The default options of an encoder.

    Raises:
        UnknownNameError: No encoder has this name.
    """
    if name not in ENCODERS:
        raise UnknownNameError("encoder", name, ENCODERS)
    return ENCODERS[name]
