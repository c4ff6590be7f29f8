"""From stored demonstrations and a recipe to the tensors of a training."""

import torch

from ..control import NoFeedback, synthesize_episodes
from ..data import select, split
from ..errors import RecipeError
from ..recipe import Recipe
from ..seeding import stream
from ..types import Episodes, PrimitiveControllers
from .dataset import TrainingSet, training_set
from .dynamics import dynamics_of

__all__ = ["attach_controllers", "choose_episodes", "prepare", "prepare_held_out"]


def choose_episodes(recipe: Recipe, episodes: Episodes) -> tuple[Episodes, Episodes]:
    """The episodes that a recipe trains on and those it holds out: `n_demos` of what is left are drawn.

    Raises:
        RecipeError: Fewer are left than are asked for.
        DataError: The share to hold out leaves none.
    """
    rng = stream(recipe.seed, "episodes")
    available, held_out = split(episodes, held_out=recipe.held_out or 0, rng=rng)
    wanted = len(available) if recipe.n_demos is None else recipe.n_demos
    if not 1 <= wanted <= len(available):
        raise RecipeError(
            f"expected n_demos from 1 to {len(available)} (episodes that are not held out), got {wanted}. "
            "Lower it, or record more demonstrations."
        )
    if recipe.n_demos is None:
        return available, held_out
    order = torch.randperm(len(available), generator=rng)
    return select(available, order[:wanted]), held_out


def attach_controllers(recipe: Recipe, episodes: Episodes) -> PrimitiveControllers:
    """One primitive controller a row, by the recipe's synthesis.

    Raises:
        RecipeError: Gains are asked for, but the recipe's dynamics are not those of the data.
    """
    if isinstance(recipe.synthesis, NoFeedback):
        return PrimitiveControllers.open_loop(episodes.actions, episodes.states)
    return synthesize_episodes(recipe.synthesis, dynamics_of(recipe, episodes), episodes)


def prepare(recipe: Recipe, episodes: Episodes, *, device: torch.device | str = "cpu") -> TrainingSet:
    """The normalised tensors that a recipe trains on."""
    chosen, _ = choose_episodes(recipe, episodes)
    return training_set(recipe.policy, chosen, attach_controllers(recipe, chosen), device=device)


def prepare_held_out(recipe: Recipe, episodes: Episodes, data: TrainingSet) -> TrainingSet | None:
    """The held-out episodes in the scales of the training set; `None` where none are held out."""
    _, held_out = choose_episodes(recipe, episodes)
    if not len(held_out):
        return None
    return training_set(recipe.policy, held_out, attach_controllers(recipe, held_out), scales_of=data)
