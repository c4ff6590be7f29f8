"""Chunks of actions as sequences of tokens, and back.

fit_tokenizer(options, chunks) ──► Tokenizer ──► encode, decode, save_tokenizer, measure_tokenizer
"""

from .base import Tokenizer, TokenizerOptions, Tokens
from .binning import Binning
from .fast import Fast
from .fsq import Fsq
from .kmeans import KMeans
from .measure import TokenizerReport, measure_tokenizer
from .residual_vq import ResidualVq
from .store import load_tokenizer, save_tokenizer, tokenizer_bytes
from .tokenizers import TOKENIZER_NAMES, TOKENIZERS, TokenizerChoice, fit_tokenizer, tokenizer_named

__all__ = [
    "TOKENIZERS",
    "TOKENIZER_NAMES",
    "Binning",
    "Fast",
    "Fsq",
    "KMeans",
    "ResidualVq",
    "Tokenizer",
    "TokenizerChoice",
    "TokenizerOptions",
    "TokenizerReport",
    "Tokens",
    "fit_tokenizer",
    "load_tokenizer",
    "measure_tokenizer",
    "save_tokenizer",
    "tokenizer_bytes",
    "tokenizer_named",
]
