"""From demonstrations to trained policies."""

from ..errors import Interrupted
from .checkpoint import Conditions, load_recipe, stored_encoders, trained_on
from .correcting import CorrectionErrors, check_correction, correct, fit_correction
from .correction_steps import check_corrected
from .data_sizes import check_data_sizes
from .dataset import TrainingSet, training_set
from .defaults import default_recipe, estimator_recipe, vision_of
from .dynamics import dynamics_of, simulated
from .estimators import (
    EstimatorErrors,
    errors_of,
    estimator_errors,
    estimator_origin,
    load_estimator,
    with_estimator_noise,
)
from .fitting import fit
from .fitting_variants import Fitted, fit_variants
from .instructions import language_of, text_features, with_instructions
from .pictures import seen_of, without_cameras
from .preparation import attach_controllers, choose_episodes, prepare, prepare_held_out, prepare_variants
from .rolling import KnownRolling, LearnedRolling, Rolling, known_rolling, learned_rolling
from .run_place import check_parts, check_run, check_seeds, has_begun, is_of_run, seed_folder, seed_folders
from .skills import Confusion, FittedSelector, SelectorRecipe, confusion_of, fit_selector
from .threads import fastest, measure_threads
from .tracing import Averaging, Checkpoint, PolynomialDecay, SteadyDecay, trace
from .training import TrainState, held_out_loss, initial_state, planner_of, train, train_to_end
from .variants import Variants, check_number, check_variants, train_variants, train_variants_to_end

__all__ = [
    "Averaging",
    "Checkpoint",
    "Conditions",
    "Confusion",
    "CorrectionErrors",
    "EstimatorErrors",
    "Fitted",
    "FittedSelector",
    "Interrupted",
    "KnownRolling",
    "LearnedRolling",
    "PolynomialDecay",
    "Rolling",
    "SelectorRecipe",
    "SteadyDecay",
    "TrainState",
    "TrainingSet",
    "Variants",
    "attach_controllers",
    "check_corrected",
    "check_correction",
    "check_data_sizes",
    "check_number",
    "check_parts",
    "check_run",
    "check_seeds",
    "check_variants",
    "choose_episodes",
    "confusion_of",
    "correct",
    "default_recipe",
    "dynamics_of",
    "errors_of",
    "estimator_errors",
    "estimator_origin",
    "estimator_recipe",
    "fastest",
    "fit",
    "fit_correction",
    "fit_selector",
    "fit_variants",
    "has_begun",
    "held_out_loss",
    "initial_state",
    "is_of_run",
    "known_rolling",
    "language_of",
    "learned_rolling",
    "load_estimator",
    "load_recipe",
    "measure_threads",
    "planner_of",
    "prepare",
    "prepare_held_out",
    "prepare_variants",
    "seed_folder",
    "seed_folders",
    "seen_of",
    "simulated",
    "stored_encoders",
    "text_features",
    "trace",
    "train",
    "train_to_end",
    "train_variants",
    "train_variants_to_end",
    "trained_on",
    "training_set",
    "vision_of",
    "with_estimator_noise",
    "with_instructions",
    "without_cameras",
]
