"""Table of the networks: name on the command line → default options.

Adding a network takes its file, with an options class (`NetworkOptions`) that builds it, one line in `NETWORKS`, and
one line in the contract suite (`OPTIONS` in tests/nn/test_contract.py; a test fails until it is there).
"""

from collections.abc import Mapping
from typing import Annotated

from ..errors import UnknownNameError
from ..schema import Alternatives
from .dit import Dit
from .lstm import Lstm
from .mlp import FilmMlp
from .network import NetworkOptions
from .recurrent import Recurrent
from .residual import ResidualMlp
from .transformer import Transformer
from .unet1d import UNet1d

NETWORKS: Mapping[str, NetworkOptions] = {
    "film-mlp": FilmMlp(activation="mish"),
    "residual-mlp": ResidualMlp(),
    "unet": UNet1d(),
    "transformer": Transformer(),
    "dit": Dit(),
    "lstm": Lstm(),
    "recurrent": Recurrent(),
}

NETWORK_NAMES = tuple(NETWORKS)

Network = Annotated[NetworkOptions, Alternatives.of(NETWORKS.values())]
"""Options of any network in the table; a stored recipe names their class."""


def network_named(name: str) -> NetworkOptions:
    """The default options of a network.

    Raises:
        UnknownNameError: No network has this name.
    """
    if name not in NETWORKS:
        raise UnknownNameError("network", name, NETWORKS)
    return NETWORKS[name]
