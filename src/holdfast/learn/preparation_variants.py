"""Training sets of several recipes on the same demonstrations, each prepared once."""

from collections.abc import Sequence
from typing import Any

import torch

from ..models import tokenizer_options
from ..recipe import LearnedMlp, Recipe
from ..types import Episodes
from .dataset import TrainingSet
from .preparation import prepare


def prepare_variants(
    recipes: Sequence[Recipe], episodes: Episodes, *, device: torch.device | str = "cpu"
) -> list[TrainingSet]:
    """Training set of each recipe, as from `prepare`; equal ones share one object.

    Args:
        recipes: Recipes of the trainings.
        episodes: Demonstrations.
        device: Device of the tensors.

    Raises:
        RecipeError: As `prepare` does.
    """
    made = list[tuple[Any, TrainingSet]]()
    sets = list[TrainingSet]()
    for recipe in recipes:
        asked = _asked(recipe)
        known = next((one for key, one in made if key == asked), None)
        if known is None:
            known = prepare(recipe, episodes, device=device)
            made.append((asked, known))
        sets.append(known)
    return sets


def _asked(recipe: Recipe) -> tuple[Any, ...]:
    """Fields of a recipe that `prepare` uses; the seed only if something is drawn."""
    drawn = recipe.n_demos is not None or recipe.held_out > 0
    learned = isinstance(recipe.dynamics, LearnedMlp) or tokenizer_options(recipe.policy.model) is not None
    seed = recipe.seed if drawn or learned else None
    return recipe.policy, recipe.synthesis, recipe.dynamics, recipe.n_demos, recipe.held_out, seed
