"""Execution of policies whose plans take time: which plan runs, and how the next one continues it."""

from .bid import Bid
from .conditioned import Conditioned, Guided, Trained
from .continued import Continued
from .correction import Correction, CorrectionNet, CorrectionRecipe, CorrectionSizes
from .correction_file import CORRECTION, correction_origin, load_correction, save_correction
from .course import Course, Plan
from .delays import LONGEST_DELAY, Delay
from .executor import DelayedExecutor, RealTime
from .forward import Forward, Rolls
from .held import Held, soft_mask
from .plain import Ensembled, Naive, Wait
from .residual import Corrects, Residual
from .way import Question, Way, alternatives, check_learned, check_sizes, continues_only, steps_to_hold
from .ways import WAYS, Means, way_named

__all__ = [
    "CORRECTION",
    "LONGEST_DELAY",
    "WAYS",
    "Bid",
    "Conditioned",
    "Continued",
    "Correction",
    "CorrectionNet",
    "CorrectionRecipe",
    "CorrectionSizes",
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
    "alternatives",
    "check_learned",
    "check_sizes",
    "continues_only",
    "correction_origin",
    "load_correction",
    "save_correction",
    "soft_mask",
    "steps_to_hold",
    "way_named",
]
