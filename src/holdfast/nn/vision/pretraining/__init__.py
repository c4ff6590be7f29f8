"""Pre-training of encoders on pictures without labels: what is minimised, and the networks that it takes besides.

    pictures ─► encoder ─► features ─► what the method needs ─► loss
                   └── kept            └── discarded

Each method is one options class in `methods`, which builds a `PretrainingModel`.
"""

from .autoencoder import Autoencoder, VariationalAutoencoder
from .contrastive import Contrastive
from .masked import MaskedAutoencoder
from .method import Draws, Method, PretrainingModel
from .methods import METHOD_NAMES, METHODS, AnyMethod, method_named, name_of

__all__ = [
    "METHODS",
    "METHOD_NAMES",
    "AnyMethod",
    "Autoencoder",
    "Contrastive",
    "Draws",
    "MaskedAutoencoder",
    "Method",
    "PretrainingModel",
    "VariationalAutoencoder",
    "method_named",
    "name_of",
]
