"""From demonstrations to trained policies."""

from .checkpoint import load_recipe
from .dataset import TrainingSet, training_set
from .fit import Interrupted, fit
from .prepare import attach_controllers, choose_episodes, default_recipe, prepare
from .train import TrainState, initial_state, planner_of, train, train_to_end

__all__ = [
    "Interrupted",
    "TrainState",
    "TrainingSet",
    "attach_controllers",
    "choose_episodes",
    "default_recipe",
    "fit",
    "initial_state",
    "load_recipe",
    "planner_of",
    "prepare",
    "train",
    "train_to_end",
    "training_set",
]
