"""Training sets of several recipes on the same demonstrations, each made once."""

from collections.abc import Sequence
from typing import Any

import torch

from ..models import tokenizer_options
from ..recipe import LearnedMlp, Recipe
from ..types import Episodes
from .dataset import TrainingSet
from .preparation import prepare

__all__ = ["prepare_variants"]


def prepare_variants(
    recipes: Sequence[Recipe], episodes: Episodes, *, device: torch.device | str = "cpu"
) -> list[TrainingSet]:
    """What `prepare` makes of each recipe; those whose sets are the same share one object.

    Args:
        recipes: What is to be trained.
        episodes: The demonstrations.
        device: Where the tensors live.

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
    """All of a recipe that `prepare` looks at; the seed only where something is drawn."""
    drawn = recipe.n_demos is not None or recipe.held_out > 0
    learned = isinstance(recipe.dynamics, LearnedMlp) or tokenizer_options(recipe.policy.model) is not None
    seed = recipe.seed if drawn or learned else None
    return recipe.policy, recipe.synthesis, recipe.dynamics, recipe.n_demos, recipe.held_out, seed
