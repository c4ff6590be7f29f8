"""Neural networks from an observation window, a chunk and generative times to a chunk."""

from .causal import CausalTransformer, Gpt
from .dit import Dit
from .fast.compilation import WithFallback, compiled, with_compiled_networks
from .fast.packing import Precision, can_be_packed, packed, unpacked
from .fast.portable import portable
from .fast.stacking import for_vmap, stacked_network
from .lstm import Lstm
from .mlp import FilmMlp
from .network import ChunkNetwork, NetworkOptions, Ports
from .networks import NETWORK_NAMES, NETWORKS, Network, network_named
from .residual import ResidualMlp
from .transformer import Transformer
from .unet1d import UNet1d

__all__ = [
    "NETWORKS",
    "NETWORK_NAMES",
    "CausalTransformer",
    "ChunkNetwork",
    "Dit",
    "FilmMlp",
    "Gpt",
    "Lstm",
    "Network",
    "NetworkOptions",
    "Ports",
    "Precision",
    "ResidualMlp",
    "Transformer",
    "UNet1d",
    "WithFallback",
    "can_be_packed",
    "compiled",
    "for_vmap",
    "network_named",
    "packed",
    "portable",
    "stacked_network",
    "unpacked",
    "with_compiled_networks",
]
