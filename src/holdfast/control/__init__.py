"""Systems and control theory: linearisation, LQR, synthesis, stability, exploration and experts."""

from .contraction_rates import Contraction, Metric, common_metric, contraction, contraction_metric
from .experts import Expert, MlpExpert, Regulator, expert_demonstrations, regulator
from .exploration import Excitation, check_excitation, excitation, explore
from .incremental import IncrementalStability, incremental_stability, incremental_stability_along, stability_in_metric
from .iterative_lqr import Objective, Plan, ilqr
from .learned import LocalLinear, fit_local_linear
from .learned_mlp import MlpDynamics, fit_mlp
from .linearization import Linearizable, Linearization, finite_differences, linearize
from .mpc import MpcExpert, mean_cost
from .riccati import dare, gain, riccati_step, tvlqr
from .stabilisable import Mode, unreachable_mode
from .stability import closed_loop, operator_norm, products
from .synthesis import Dare, NoFeedback, Receding, Synthesis, Tvlqr, synthesize, synthesize_episodes
from .systems import SYSTEMS, Linear, Quadrotor2D, System, Task, double_integrator, scalar, system
from .systems.mujoco import MUJOCO_PREFIX, MujocoSystem, mujoco_system
from .transition_sets import OneStepPrediction, Transitions, one_step_prediction, transitions

__all__ = [
    "MUJOCO_PREFIX",
    "SYSTEMS",
    "Contraction",
    "Dare",
    "Excitation",
    "Expert",
    "IncrementalStability",
    "Linear",
    "Linearizable",
    "Linearization",
    "LocalLinear",
    "Metric",
    "MlpDynamics",
    "MlpExpert",
    "Mode",
    "MpcExpert",
    "MujocoSystem",
    "NoFeedback",
    "Objective",
    "OneStepPrediction",
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
    "common_metric",
    "contraction",
    "contraction_metric",
    "dare",
    "double_integrator",
    "excitation",
    "expert_demonstrations",
    "explore",
    "finite_differences",
    "fit_local_linear",
    "fit_mlp",
    "gain",
    "ilqr",
    "incremental_stability",
    "incremental_stability_along",
    "linearize",
    "mean_cost",
    "mujoco_system",
    "one_step_prediction",
    "operator_norm",
    "products",
    "regulator",
    "riccati_step",
    "scalar",
    "stability_in_metric",
    "synthesize",
    "synthesize_episodes",
    "system",
    "transitions",
    "tvlqr",
    "unreachable_mode",
]
