"""Where policies meet systems and environments."""

from .closed_loop import Acts, Rollout, rollout
from .environment import Bounded, Environment, Modal, Named, Seen, Step
from .episodes_run import Run, run
from .plain_policy import PlainPolicy
from .registry import ENVIRONMENTS, FIRST_TEST_SEED, episode_steps, make_environment

__all__ = [
    "ENVIRONMENTS",
    "FIRST_TEST_SEED",
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
    "episode_steps",
    "make_environment",
    "rollout",
    "run",
]
