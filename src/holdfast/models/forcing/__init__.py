"""Diffusion Forcing: sequences of (action, observation) whose tokens have their own noise levels.

Chen et al. 2024 (arXiv 2407.01392). The model is described in `models.forcing.model`.
"""

from .frames import Frames, KnownFrames
from .guidance import Goal, Guidance, Reward
from .matrix import ScheduleName, checked_matrix, schedule_matrix
from .model import Forcing, ForcingModel, forcing
from .rollout import imagined
from .sampling import ForcingSampler

__all__ = [
    "Forcing",
    "ForcingModel",
    "ForcingSampler",
    "Frames",
    "Goal",
    "Guidance",
    "KnownFrames",
    "Reward",
    "ScheduleName",
    "checked_matrix",
    "forcing",
    "imagined",
    "schedule_matrix",
]
