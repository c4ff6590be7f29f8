"""The environment in which a run is evaluated: the typed one, else the one that its data name."""

from pathlib import Path

from ..envs import ENVIRONMENTS, named_by_data
from ..errors import RecipeError
from ..recipe import Recipe


def environment_of(typed: str | None, recipe: Recipe, run_folder: Path) -> str:
    """The name of the environment of a run.

    Raises:
        RecipeError: No name was typed, and the data name none, or one of another package, which only a typed name
            imports.
    """
    if typed is not None:
        return typed
    if recipe.environment is None:
        raise RecipeError(
            f"the data of {run_folder} name no environment. Give one with --environment: {', '.join(ENVIRONMENTS)}."
        )
    return named_by_data(recipe.environment)
