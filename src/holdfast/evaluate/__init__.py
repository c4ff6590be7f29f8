"""Numbers with intervals."""

from .closed_loop import Evaluation, evaluate
from .environments import ENVIRONMENTS, FIRST_TEST_SEED, episode_steps, make_environment
from .intervals import Estimate, bootstrap, crossed, over_seeds, rate
from .score import Comparison, compare, summary
from .task_score import mode_entropy, scores_of, summarize

__all__ = [
    "ENVIRONMENTS",
    "FIRST_TEST_SEED",
    "Comparison",
    "Estimate",
    "Evaluation",
    "bootstrap",
    "compare",
    "crossed",
    "episode_steps",
    "evaluate",
    "make_environment",
    "mode_entropy",
    "over_seeds",
    "rate",
    "scores_of",
    "summarize",
    "summary",
]
