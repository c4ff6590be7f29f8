"""How well a policy does: scores with intervals, from the same starts."""

from .comparing import Arm, Difference, differences
from .intervals import (
    Estimate,
    bootstrap,
    crossed,
    mean_over_starts,
    median_over_starts,
    over_both,
    over_seeds,
    over_starts,
    rate,
)
from .score import Comparison, compare, summary
from .starts import Evaluation, FixedStarts, check_start, evaluate, fixed_starts
from .task_score import mode_entropy, scores_of, summarize

__all__ = [
    "Arm",
    "Comparison",
    "Difference",
    "Estimate",
    "Evaluation",
    "FixedStarts",
    "bootstrap",
    "check_start",
    "compare",
    "crossed",
    "differences",
    "evaluate",
    "fixed_starts",
    "mean_over_starts",
    "median_over_starts",
    "mode_entropy",
    "over_both",
    "over_seeds",
    "over_starts",
    "rate",
    "scores_of",
    "summarize",
    "summary",
]
