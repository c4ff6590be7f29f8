"""Neural networks from an observation window, a chunk and generative times to a chunk, and encoders of pictures."""

from .causal import CausalTransformer, Gpt
from .dit import Dit
from .fast.compilation import WithFallback, compiled, with_compiled_networks
from .fast.packing import Precision, can_be_packed, packed, unpacked
from .fast.portable import portable
from .fast.stacking import for_vmap, stacked_network
from .language import InstructionEmbedding, Language
from .lstm import Lstm
from .mlp import FilmMlp
from .network import ChunkNetwork, NetworkOptions, Ports
from .networks import NETWORK_NAMES, NETWORKS, Network, network_named
from .recurrent import Recurrent, RecurrentNet
from .residual import ResidualMlp
from .transformer import Transformer
from .unet1d import UNet1d
from .vision import (
    ENCODER_NAMES,
    ENCODERS,
    Cameras,
    Clip,
    Dinov2,
    EfficientNetLite0,
    Encoder,
    EncoderOptions,
    FromFile,
    PictureEncoder,
    Pretrained,
    ResNet18,
    ResNet18Bn,
    SelfSupervised,
    Siglip,
    SmallCnn,
    SmallVit,
    View,
    Vision,
    encoder_named,
    encoders_with,
    read_encoder,
    read_self_supervised,
)

__all__ = [
    "ENCODERS",
    "ENCODER_NAMES",
    "NETWORKS",
    "NETWORK_NAMES",
    "Cameras",
    "CausalTransformer",
    "ChunkNetwork",
    "Clip",
    "Dinov2",
    "Dit",
    "EfficientNetLite0",
    "Encoder",
    "EncoderOptions",
    "FilmMlp",
    "FromFile",
    "Gpt",
    "InstructionEmbedding",
    "Language",
    "Lstm",
    "Network",
    "NetworkOptions",
    "PictureEncoder",
    "Ports",
    "Precision",
    "Pretrained",
    "Recurrent",
    "RecurrentNet",
    "ResNet18",
    "ResNet18Bn",
    "ResidualMlp",
    "SelfSupervised",
    "Siglip",
    "SmallCnn",
    "SmallVit",
    "Transformer",
    "UNet1d",
    "View",
    "Vision",
    "WithFallback",
    "can_be_packed",
    "compiled",
    "encoder_named",
    "encoders_with",
    "for_vmap",
    "network_named",
    "packed",
    "portable",
    "read_encoder",
    "read_self_supervised",
    "stacked_network",
    "unpacked",
    "with_compiled_networks",
]
