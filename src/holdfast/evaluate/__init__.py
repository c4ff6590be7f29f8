"""Numbers with intervals."""

from .closed_loop import ENVIRONMENTS, Evaluation, episode_steps, evaluate
from .intervals import Estimate, bootstrap, crossed, over_seeds, rate
from .score import Comparison, compare, summary

__all__ = [
    "ENVIRONMENTS",
    "Comparison",
    "Estimate",
    "Evaluation",
    "bootstrap",
    "compare",
    "crossed",
    "episode_steps",
    "evaluate",
    "over_seeds",
    "rate",
    "summary",
]
