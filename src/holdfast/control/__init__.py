"""Systems, built in, simulated and learned, and what control theory knows of them.

Linearisations, regulators, synthesis, stability, exploration and experts.
"""

from .excitation import Excitation, check_excitation, excitation, explore
from .experts import Expert, MlpExpert, Regulator, expert_demonstrations, regulator
from .ilqr import Objective, Plan, ilqr
from .learned import LocalLinear, fit_local_linear
from .learned_mlp import MlpDynamics, fit_mlp
from .linearize import Linearizable, Linearization, finite_differences, linearize
from .mpc import MpcExpert, mean_cost
from .riccati import dare, gain, riccati_step, tvlqr
from .stabilisable import Mode, unreachable_mode
from .stability import closed_loop, products
from .synthesis import Dare, NoFeedback, Receding, Synthesis, Tvlqr, synthesize, synthesize_episodes
from .systems import SYSTEMS, Linear, Quadrotor2D, System, Task, double_integrator, scalar, system
from .systems.mujoco import MUJOCO_PREFIX, MujocoSystem, mujoco_system
from .transitions import Foretold, Transitions, foretold, transitions

__all__ = [
    "MUJOCO_PREFIX",
    "SYSTEMS",
    "Dare",
    "Excitation",
    "Expert",
    "Foretold",
    "Linear",
    "Linearizable",
    "Linearization",
    "LocalLinear",
    "MlpDynamics",
    "MlpExpert",
    "Mode",
    "MpcExpert",
    "MujocoSystem",
    "NoFeedback",
    "Objective",
    "Plan",
    "Quadrotor2D",
    "Receding",
    "Regulator",
    "Synthesis",
    "System",
    "Task",
    "Transitions",
    "Tvlqr",
    "check_excitation",
    "closed_loop",
    "dare",
    "double_integrator",
    "excitation",
    "expert_demonstrations",
    "explore",
    "finite_differences",
    "fit_local_linear",
    "fit_mlp",
    "foretold",
    "gain",
    "ilqr",
    "linearize",
    "mean_cost",
    "mujoco_system",
    "products",
    "regulator",
    "riccati_step",
    "scalar",
    "synthesize",
    "synthesize_episodes",
    "system",
    "transitions",
    "tvlqr",
    "unreachable_mode",
]
