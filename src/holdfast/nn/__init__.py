"""Networks: plain modules from tensors to tensors, ignorant of what the tensors mean."""

from .build import Network, build_network
from .mlp import FilmMlp, FilmMlpNet
from .network import ChunkNetwork, Ports
from .residual import ResidualMlp, ResidualMlpNet

__all__ = [
    "ChunkNetwork",
    "FilmMlp",
    "FilmMlpNet",
    "Network",
    "Ports",
    "ResidualMlp",
    "ResidualMlpNet",
    "build_network",
]
