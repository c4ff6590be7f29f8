"""Networks: plain modules from tensors to tensors, ignorant of what the tensors mean."""

from .causal import Cache, CausalTransformer, Gpt
from .dit import Dit, DitNet
from .fast.compilation import OrPlain, compiled, with_compiled_networks
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
    "OrPlain",
    "Ports",
    "Precision",
    "ResidualMlp",
    "ResidualMlpNet",
    "Transformer",
    "TransformerNet",
    "UNet1d",
    "UNet1dNet",
    "can_be_packed",
    "compiled",
    "for_vmap",
    "network_named",
    "packed",
    "stacked_network",
    "with_compiled_networks",
]
