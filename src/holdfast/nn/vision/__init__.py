"""Encoders of pictures, and what a policy sees of its cameras."""

from .cameras import Cameras
from .cnn import SmallCnn
from .encoder import EncoderOptions, PictureEncoder
from .encoders import ENCODER_NAMES, ENCODERS, Encoder, encoder_named
from .resnet import ResNet18
from .spatial import SpatialSoftmax
from .vision import View, Vision
from .vit import SmallVit

__all__ = [
    "ENCODERS",
    "ENCODER_NAMES",
    "Cameras",
    "Encoder",
    "EncoderOptions",
    "PictureEncoder",
    "ResNet18",
    "SmallCnn",
    "SmallVit",
    "SpatialSoftmax",
    "View",
    "Vision",
    "encoder_named",
]
