"""The network that options stand for."""

from dataclasses import replace
from typing import assert_never

from .dit import Dit, DitNet
from .lstm import Lstm, LstmNet
from .mlp import FilmMlp, FilmMlpNet
from .network import ChunkNetwork, Ports
from .residual import ResidualMlp, ResidualMlpNet
from .transformer import Transformer, TransformerNet
from .unet1d import UNet1d, UNet1dNet

__all__ = ["Network", "build_network"]

Network = FilmMlp | ResidualMlp | UNet1d | Transformer | Dit | Lstm


def build_network(options: Network, ports: Ports, *, any_range: bool = False) -> ChunkNetwork:
    """An untrained network; its first weights come from PyTorch's global generator.

    Args:
        options: What to build.
        ports: What goes in and comes out.
        any_range: The output is no chunk in [-1, 1]: a tanh at its end, that an option asks for, is left away.
    """
    match options:
        case FilmMlp(bounded=bounded):
            return FilmMlpNet(replace(options, bounded=bounded and not any_range), ports)
        case ResidualMlp():
            return ResidualMlpNet(options, ports)
        case UNet1d():
            return UNet1dNet(options, ports)
        case Transformer():
            return TransformerNet(options, ports)
        case Dit():
            return DitNet(options, ports)
        case Lstm():
            return LstmNet(options, ports)
        case _:
            assert_never(options)
