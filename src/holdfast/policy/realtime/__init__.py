"""Execution of policies whose plans take time: which plan runs, and how the next one continues it."""

from .bid import Bid
from .conditioned import Conditioned, Guided, Trained
from .continued import Continued
from .course import Course, Plan
from .delays import Delay
from .executor import DelayedExecutor, RealTime
from .forward import Forward, Rolls
from .held import Held, soft_mask
from .plain import Ensembled, Naive, Wait
from .residual import Corrects, Residual
from .way import Question, Way, check_sizes
from .ways import WAYS, Means, way_named

__all__ = [
    "WAYS",
    "Bid",
    "Conditioned",
    "Continued",
    "Corrects",
    "Course",
    "Delay",
    "DelayedExecutor",
    "Ensembled",
    "Forward",
    "Guided",
    "Held",
    "Means",
    "Naive",
    "Plan",
    "Question",
    "RealTime",
    "Residual",
    "Rolls",
    "Trained",
    "Wait",
    "Way",
    "check_sizes",
    "soft_mask",
    "way_named",
]
