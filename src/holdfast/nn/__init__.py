"""Neural networks from an observation window, a chunk and generative times to a chunk."""

from .causal import Cache, CausalTransformer, Gpt
from .dit import Dit, DitNet
from .fast.compilation import WithFallback, compiled, with_compiled_networks
from .fast.packing import Precision, can_be_packed, packed
from .fast.stacking import for_vmap, stacked_network
from .lstm import Lstm, LstmNet
from .mlp import FilmMlp, FilmMlpNet
from .network import ChunkNetwork, NetworkOptions, Ports
from .networks import NETWORK_NAMES, NETWORKS, Network, network_named
from .residual import ResidualMlp, ResidualMlpNet
from .transformer import Transformer, TransformerNet
from .unet1d import UNet1d, UNet1dNet

__all__ = [
    "NETWORKS",
    "NETWORK_NAMES",
    "Cache",
    "CausalTransformer",
    "ChunkNetwork",
    "Dit",
    "DitNet",
    "FilmMlp",
    "FilmMlpNet",
    "Gpt",
    "Lstm",
    "LstmNet",
    "Network",
    "NetworkOptions",
    "Ports",
    "Precision",
    "ResidualMlp",
    "ResidualMlpNet",
    "Transformer",
    "TransformerNet",
    "UNet1d",
    "UNet1dNet",
    "WithFallback",
    "can_be_packed",
    "compiled",
    "for_vmap",
    "network_named",
    "packed",
    "stacked_network",
    "with_compiled_networks",
]
