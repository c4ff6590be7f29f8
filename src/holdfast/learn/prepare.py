"""From stored demonstrations to a recipe and the tensors of a training."""

from dataclasses import replace

import torch

from ..control import SYSTEMS, NoFeedback, Tvlqr, synthesize_episodes, system
from ..data import Actions, Affine, select, split
from ..errors import RecipeError
from ..models import Diffusion
from ..nn import FilmMlp
from ..policy import Execution, PolicySpec
from ..recipe import Recipe, Training
from ..seeding import stream
from ..types import Episodes, PrimitiveControllers
from .dataset import TrainingSet, training_set

__all__ = ["attach_controllers", "choose_episodes", "default_recipe", "prepare", "prepare_held_out"]


def default_recipe(episodes: Episodes, *, gains: bool | None = None) -> Recipe:
    """A recipe that suits a data set: HINT where the dynamics are known, action chunks where they are not.

    On a built-in system the demonstrations get gains for the system's own cost, and observations are noised in
    training and deployment. Elsewhere actions are taken for targets of a servo, which is then the primitive
    controller (Block et al. 2023, arXiv 2307.14619, appendix E), and nothing is synthesised.

    Args:
        episodes: The demonstrations.
        gains: Whether to clone primitive controllers; whether the system is a built-in one, if nothing is said.
    """
    known = episodes.system in SYSTEMS
    if known if gains is None else gains:
        return _with_gains(episodes)
    return _raw_actions(episodes) if known else _servo_targets(episodes)


def _with_gains(episodes: Episodes) -> Recipe:
    state_weight, action_weight = _cost_weights(episodes.system)
    # outside the training range the network would extrapolate; clipped, it leaves the rest to the gains
    execution = Execution(n_action_steps=4, sigma_deploy=0.1, clip_observation=1.0)
    return Recipe(
        policy=_spec(episodes, Affine(), horizon=8, widths=(256, 128, 128, 64), execution=execution),
        synthesis=Tvlqr(state_weight=state_weight, action_weight=action_weight),
        training=Training(steps=4000, sigma_train=0.1),
        environment=episodes.system,
    )


def _raw_actions(episodes: Episodes) -> Recipe:
    # nothing corrects raw actions between plans, so each is planned from the newest state
    spec = _spec(episodes, Actions(), horizon=8, widths=(256,) * 4, execution=Execution(n_action_steps=1))
    return Recipe(policy=spec, training=Training(steps=4000), environment=episodes.system)


def _servo_targets(episodes: Episodes) -> Recipe:
    low, high = (tuple(float(v) for v in bound) for bound in (episodes.actions.amin(0), episodes.actions.amax(0)))
    execution = Execution(n_action_steps=8, action_low=low, action_high=high)
    spec = _spec(episodes, Actions(), horizon=16, widths=(512,) * 3, execution=execution)
    training = Training(steps=10_000, batch_size=256, warmup_steps=500, ema_decay=0.999)
    return Recipe(policy=replace(spec, n_obs_steps=2), training=training, environment=episodes.system)


def _cost_weights(name: str | None) -> tuple[tuple[float, ...] | float, tuple[float, ...] | float]:
    """Diagonals of the cost of a built-in system; ones for another, which `attach_controllers` will refuse."""
    if name not in SYSTEMS:
        return 1.0, 1.0
    state, action = (tuple(float(value) for value in weight.diagonal()) for weight in system(name).weights())
    return state, action


def _spec(
    episodes: Episodes, codec: Actions | Affine, *, horizon: int, widths: tuple[int, ...], execution: Execution
) -> PolicySpec:
    return PolicySpec(
        n_states=episodes.states.shape[1],
        n_actions=episodes.actions.shape[1],
        n_observed=episodes.observed.vector.shape[1],
        codec=codec,
        model=Diffusion(network=FilmMlp(widths=widths, activation="mish", linear_skip=True, bounded=False)),
        n_obs_steps=1,
        horizon=horizon,
        execution=execution,
    )


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
    order = torch.randperm(len(available), generator=rng)
    return select(available, order[:wanted]), held_out


def attach_controllers(recipe: Recipe, episodes: Episodes) -> PrimitiveControllers:
    """One primitive controller a row, by the recipe's synthesis."""
    if isinstance(recipe.synthesis, NoFeedback):
        return PrimitiveControllers.open_loop(episodes.actions, episodes.states)
    if episodes.system not in SYSTEMS:
        raise RecipeError(
            f"synthesis {type(recipe.synthesis).__name__} needs dynamics, but the data's system is "
            f"{episodes.system or 'not named'}. Known: {', '.join(SYSTEMS)}. Use --synthesis none --codec actions, "
            "where the actions are targets of a servo."
        )
    return synthesize_episodes(recipe.synthesis, system(episodes.system), episodes)


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
