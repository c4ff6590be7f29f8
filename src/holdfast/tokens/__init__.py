"""Chunks of actions as sequences of tokens, and back.

fit_tokenizer(options, chunks) ──► Tokenizer ──► encode, decode, save_tokenizer, report
"""

from .base import Tokenizer, Tokens
from .fit import fit_tokenizer
from .measure import Smoothness, TokenizerReport, report
from .options import Binning, Fast, Fsq, KMeans, ResidualVq, TokenizerOptions
from .store import load_tokenizer, save_tokenizer

__all__ = [
    "Binning",
    "Fast",
    "Fsq",
    "KMeans",
    "ResidualVq",
    "Smoothness",
    "Tokenizer",
    "TokenizerOptions",
    "TokenizerReport",
    "Tokens",
    "fit_tokenizer",
    "load_tokenizer",
    "report",
    "save_tokenizer",
]
