"""Networks: plain modules from tensors to tensors, ignorant of what the tensors mean."""

from .build import Network, build_network
from .causal import Cache, CausalTransformer, Gpt
from .dit import Dit, DitNet
from .fast.compilation import OrPlain, compiled, with_compiled_networks
from .fast.packing import Precision, can_be_packed, packed
from .fast.stacking import for_vmap, side_by_side
from .lstm import Lstm, LstmNet
from .mlp import FilmMlp, FilmMlpNet
from .network import ChunkNetwork, Ports
from .residual import ResidualMlp, ResidualMlpNet
from .transformer import Transformer, TransformerNet
from .unet1d import UNet1d, UNet1dNet

__all__ = [
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
    "OrPlain",
    "Ports",
    "Precision",
    "ResidualMlp",
    "ResidualMlpNet",
    "Transformer",
    "TransformerNet",
    "UNet1d",
    "UNet1dNet",
    "build_network",
    "can_be_packed",
    "compiled",
    "for_vmap",
    "packed",
    "side_by_side",
    "with_compiled_networks",
]
