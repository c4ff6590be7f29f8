"""Demonstrations: read, check, split, window, scale and encode them.

read ──► prepared ──► split ──► Windows ──► MinMax, encode ──► noised ──► Batch
"""

from .codec import Actions, Affine, Codec, Waypoints, copied_width, decode, encode, feeds_back, rotations_of, width
from .coordinates import coordinates_of, estimating, observed_names
from .depth import Depth
from .depth_ranges import ranges_of
from .episodes import episodes_from_arrays, select, split, without_columns
from .formats import (
    FORMATS,
    check_output,
    claimed_output,
    differences,
    format_of,
    locate,
    read,
    unwritable_columns,
    write,
)
from .joining import concatenate
from .labels import ends_of, labels_of, segments
from .measured import measurements
from .noise import (
    Covariance,
    Isotropic,
    MeanShift,
    NoiseLaw,
    PerCoordinate,
    UniformAsPublished,
    check_noise_size,
    noised,
)
from .picture_features import FeatureWindow, PictureFeatures
from .picture_folder import is_picture_folder, read_picture_folder
from .pictures import Chosen, Frames, Joined
from .preparing import Preparation, prepared
from .scale import MinMax, describe_constants
from .selection import Selection
from .unseen import Unseen
from .validity import validate
from .windows import Windows, gathered

__all__ = [
    "FORMATS",
    "Actions",
    "Affine",
    "Chosen",
    "Codec",
    "Covariance",
    "Depth",
    "FeatureWindow",
    "Frames",
    "Isotropic",
    "Joined",
    "MeanShift",
    "MinMax",
    "NoiseLaw",
    "PerCoordinate",
    "PictureFeatures",
    "Preparation",
    "Selection",
    "UniformAsPublished",
    "Unseen",
    "Waypoints",
    "Windows",
    "check_noise_size",
    "check_output",
    "claimed_output",
    "concatenate",
    "coordinates_of",
    "copied_width",
    "decode",
    "describe_constants",
    "differences",
    "encode",
    "ends_of",
    "episodes_from_arrays",
    "estimating",
    "feeds_back",
    "format_of",
    "gathered",
    "is_picture_folder",
    "labels_of",
    "locate",
    "measurements",
    "noised",
    "observed_names",
    "prepared",
    "ranges_of",
    "read",
    "read_picture_folder",
    "rotations_of",
    "segments",
    "select",
    "split",
    "unwritable_columns",
    "validate",
    "width",
    "without_columns",
    "write",
]
