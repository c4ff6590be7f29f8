"""Table of the methods of pre-training: name on the command line → default options.

Adding a method takes its file, with an options class (`Method`) that builds it, one line in `METHODS`, and one line in
the contract suite (tests/nn/test_pretraining.py; a test fails until it is there).
"""

from collections.abc import Mapping
from typing import Annotated

from ....errors import UnknownNameError
from ....schema import Alternatives
from .autoencoder import Autoencoder, VariationalAutoencoder
from .contrastive import Contrastive
from .masked import MaskedAutoencoder
from .method import Method

METHODS: Mapping[str, Method] = {
    "vae": VariationalAutoencoder(),
    "ae": Autoencoder(),
    "mae": MaskedAutoencoder(),
    "contrastive": Contrastive(),
}

METHOD_NAMES = tuple(METHODS)

AnyMethod = Annotated[Method, Alternatives.of(METHODS.values())]
"""Options of any method in the table; a stored recipe names their class."""


def method_named(name: str) -> Method:
    """The default options of a method.

    Raises:
        UnknownNameError: No method has this name.
    """
    if name not in METHODS:
        raise UnknownNameError("method", name, METHODS)
    return METHODS[name]


def name_of(method: Method) -> str:
    """The name of a method in `METHODS`.

    >>> name_of(MaskedAutoencoder(share=0.5))
    'mae'
    """
    return next(name for name, one in METHODS.items() if type(one) is type(method))
