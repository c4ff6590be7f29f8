"""Fine-tuning of cloned policies by policy gradients (DPPO: Ren et al. 2024, arXiv 2409.00588)."""

from .advantages import RewardScale, advantages_of
from .folder import Origin, read_origin, threads_of
from .kinds import check_tunable, process_of, tunable_steps
from .losses import Transitions, clip_bounds, policy_loss
from .options import FineTuning
from .process import Process
from .running import continue_fine_tuning, fine_tune
from .tuner import Iteration, Tuner

__all__ = [
    "FineTuning",
    "Iteration",
    "Origin",
    "Process",
    "RewardScale",
    "Transitions",
    "Tuner",
    "advantages_of",
    "check_tunable",
    "clip_bounds",
    "continue_fine_tuning",
    "fine_tune",
    "policy_loss",
    "process_of",
    "read_origin",
    "threads_of",
    "tunable_steps",
]
