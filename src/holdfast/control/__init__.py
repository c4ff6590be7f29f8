"""Systems, and what control theory knows of them: linearisations, regulators, synthesis, stability and experts."""

from .ilqr import Objective, Plan, ilqr
from .linearize import Linearization, finite_differences, linearize
from .mpc import MpcExpert, mean_cost
from .riccati import dare, gain, riccati_step, tvlqr
from .stabilisable import Mode, unreachable_mode
from .stability import closed_loop, products
from .synthesis import Dare, NoFeedback, Receding, Synthesis, Tvlqr, synthesize, synthesize_episodes
from .systems import SYSTEMS, Linear, Quadrotor2D, System, Task, double_integrator, scalar, system

__all__ = [
    "SYSTEMS",
    "Dare",
    "Linear",
    "Linearization",
    "Mode",
    "MpcExpert",
    "NoFeedback",
    "Objective",
    "Plan",
    "Quadrotor2D",
    "Receding",
    "Synthesis",
    "System",
    "Task",
    "Tvlqr",
    "closed_loop",
    "dare",
    "double_integrator",
    "finite_differences",
    "gain",
    "ilqr",
    "linearize",
    "mean_cost",
    "products",
    "riccati_step",
    "scalar",
    "synthesize",
    "synthesize_episodes",
    "system",
    "tvlqr",
    "unreachable_mode",
]
