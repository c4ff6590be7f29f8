"""Where policies meet systems and environments."""

from .environment import Bounded, Environment, Modal, Named, Seen, Step
from .plain import PlainPolicy
from .rollout import Acts, Rollout, rollout
from .run import Run, run

__all__ = [
    "Acts",
    "Bounded",
    "Environment",
    "Modal",
    "Named",
    "PlainPolicy",
    "Rollout",
    "Run",
    "Seen",
    "Step",
    "rollout",
    "run",
]
