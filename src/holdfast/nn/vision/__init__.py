"""Encoders of pictures, and what a policy sees of its cameras."""

from .cameras import Cameras
from .cnn import SmallCnn
from .efficientnet import EfficientNetLite0
from .encoder import EncoderOptions, FromFile, PictureEncoder
from .encoder_weights import encoders_with, read_encoder
from .encoders import ENCODER_NAMES, ENCODERS, Encoder, encoder_named
from .pretrained import Pretrained
from .resnet import ResNet18
from .resnet_bn import ResNet18Bn
from .self_supervised import SelfSupervised, read_self_supervised
from .spatial import SpatialSoftmax
from .towers import Clip, Dinov2, Siglip
from .vision import View, Vision
from .vit import SmallVit

__all__ = [
    "ENCODERS",
    "ENCODER_NAMES",
    "Cameras",
    "Clip",
    "Dinov2",
    "EfficientNetLite0",
    "Encoder",
    "EncoderOptions",
    "FromFile",
    "PictureEncoder",
    "Pretrained",
    "ResNet18",
    "ResNet18Bn",
    "SelfSupervised",
    "Siglip",
    "SmallCnn",
    "SmallVit",
    "SpatialSoftmax",
    "View",
    "Vision",
    "encoder_named",
    "encoders_with",
    "read_encoder",
    "read_self_supervised",
]
