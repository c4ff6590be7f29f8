"""Data types shared by all packages.

Axis letters: `b` batch, `t` control step, `o` observation step, `h` chunk step, `n` state, `m` action, `w` code,
`rows` all steps of a ragged set. Arrays are `[batch, time, feature]`. A control step:

    states[t] ──actions[t]──► states[t + 1]

so a trajectory has one state more than it has actions. Sign of feedback: `u = ū + K (x − x̄)`.
"""

from .batch import Batch, Chunks, Prefix, Window
from .episodes import Episodes, Pictures
from .observation import Observation
from .trajectory import PrimitiveControllers, Trajectory

__all__ = [
    "Batch",
    "Chunks",
    "Episodes",
    "Observation",
    "Pictures",
    "Prefix",
    "PrimitiveControllers",
    "Trajectory",
    "Window",
]
