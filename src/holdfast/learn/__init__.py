"""From demonstrations to trained policies."""

from .checkpoint import load_recipe
from .dataset import TrainingSet, training_set
from .fit import Interrupted, fit
from .train import TrainState, initial_state, planner_of, train

__all__ = [
    "Interrupted",
    "TrainState",
    "TrainingSet",
    "fit",
    "initial_state",
    "load_recipe",
    "planner_of",
    "train",
    "training_set",
]
