"""Demonstrations: read, check, split, window, scale and encode them.

read ──► split ──► Windows ──► MinMax, encode ──► noised ──► Batch
"""

from .codec import Actions, Affine, Codec, decode, encode, width
from .episodes import concatenate, episodes_from_arrays, select, split
from .formats import read
from .formats.native import check_target, read_meta, write
from .noise import noised
from .pictures import Chosen, Frames, Joined
from .scale import MinMax, describe_constants
from .validity import validate
from .windows import Windows

__all__ = [
    "Actions",
    "Affine",
    "Chosen",
    "Codec",
    "Frames",
    "Joined",
    "MinMax",
    "Windows",
    "check_target",
    "concatenate",
    "decode",
    "describe_constants",
    "encode",
    "episodes_from_arrays",
    "noised",
    "read",
    "read_meta",
    "select",
    "split",
    "validate",
    "width",
    "write",
]
