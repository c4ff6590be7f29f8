"""How well a policy does: scores with intervals, from the same starts."""

from .arena import Arena, BesideExpert, Flown, InEnvironment, make_arena
from .closed_loop import Evaluation, evaluate
from .intervals import Estimate, bootstrap, crossed, over_seeds, rate
from .score import Comparison, compare, summary
from .task_score import mode_entropy, scores_of, summarize

__all__ = [
    "Arena",
    "BesideExpert",
    "Comparison",
    "Estimate",
    "Evaluation",
    "Flown",
    "InEnvironment",
    "bootstrap",
    "compare",
    "crossed",
    "evaluate",
    "make_arena",
    "mode_entropy",
    "over_seeds",
    "rate",
    "scores_of",
    "summarize",
    "summary",
]
