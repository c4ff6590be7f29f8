"""Chunks of actions as sequences of tokens, and back.

fit_tokenizer(options, chunks) ──► Tokenizer ──► encode, decode, save_tokenizer, report
"""

from .base import Tokenizer, Tokens
from .fit import fit_tokenizer
from .options import Binning, Fast, Fsq, KMeans, ResidualVq, TokenizerOptions

__all__ = [
    "Binning",
    "Fast",
    "Fsq",
    "KMeans",
    "ResidualVq",
    "Tokenizer",
    "TokenizerOptions",
    "Tokens",
    "fit_tokenizer",
]
