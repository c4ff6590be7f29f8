"""From demonstrations to trained policies."""

from ..errors import Interrupted
from .checkpoint import Conditions, load_recipe, trained_on
from .choices import (
    FAMILIES,
    FamilyName,
    NetworkName,
    TokenizerName,
    family_named,
    network_named,
    tokenizer_named,
    with_tokenizer,
)
from .dataset import TrainingSet, training_set
from .defaults import default_recipe
from .dynamics import dynamics_of, simulated
from .fitting import clear_run, fit
from .fitting_variants import Fitted, fit_variants, seed_folder, seed_folders
from .preparation import attach_controllers, choose_episodes, prepare, prepare_held_out
from .preparation_variants import prepare_variants
from .threads import fastest, measure_threads
from .tracing import Averaging, Checkpoint, PolynomialDecay, SteadyDecay, trace
from .training import TrainState, held_out_loss, initial_state, planner_of, train, train_to_end
from .variants import Variants, check_variants, train_variants, train_variants_to_end

__all__ = [
    "FAMILIES",
    "Averaging",
    "Checkpoint",
    "Conditions",
    "FamilyName",
    "Fitted",
    "Interrupted",
    "NetworkName",
    "PolynomialDecay",
    "SteadyDecay",
    "TokenizerName",
    "TrainState",
    "TrainingSet",
    "Variants",
    "attach_controllers",
    "check_variants",
    "choose_episodes",
    "clear_run",
    "default_recipe",
    "dynamics_of",
    "family_named",
    "fastest",
    "fit",
    "fit_variants",
    "held_out_loss",
    "initial_state",
    "load_recipe",
    "measure_threads",
    "network_named",
    "planner_of",
    "prepare",
    "prepare_held_out",
    "prepare_variants",
    "seed_folder",
    "seed_folders",
    "simulated",
    "tokenizer_named",
    "trace",
    "train",
    "train_to_end",
    "train_variants",
    "train_variants_to_end",
    "trained_on",
    "training_set",
    "with_tokenizer",
]
