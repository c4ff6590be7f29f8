"""From demonstrations and a recipe to a training set."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ..control import NoFeedback, synthesize_episodes
from ..data import prepared, rotations_of, select, split
from ..data.weighting import WEIGHT
from ..devices import usable_device
from ..errors import DataError, RecipeError
from ..memory import available_memory
from ..models import tokenizer_options
from ..nn import Cameras
from ..policy import PolicySpec
from ..policy.planner import sizes_of
from ..recipe import LearnedMlp, Recipe
from ..rotations import are_rotations
from ..seeding import stream
from ..tokens import Tokenizer, TokenizerOptions, fit_tokenizer
from ..types import Episodes, Pictures, PrimitiveControllers
from .dataset import TrainingSet, chunks_of, training_set
from .dynamics import dynamics_of
from .features import Features, check_encoders, features_of
from .instructions import check_instructions
from .pictures import OnPictures, check_cameras, ready_pictures, seen_of

TOKENIZER_CHUNKS = 50_000
"""Largest number of chunks to which a tokenizer is fitted."""


def choose_episodes(recipe: Recipe, episodes: Episodes) -> tuple[Episodes, Episodes]:
    """Training episodes (`n_demos` random ones of those not held out) and held-out episodes of a recipe, prepared.

    Raises:
        RecipeError: There are fewer episodes than `n_demos`.
        DataError: No episodes are left for training, or the preparation does not fit the data.
    """
    rng = stream(recipe.seed, "episodes")
    episodes = prepared(seen_of(episodes, recipe.policy.vision), recipe.preparation)
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
    """Primitive controllers, one per row, from the synthesis of the recipe.

    Raises:
        RecipeError: The dynamics of the recipe do not fit the data.
    """
    if isinstance(recipe.synthesis, NoFeedback):
        return PrimitiveControllers.open_loop(episodes.actions, episodes.states)
    return synthesize_episodes(recipe.synthesis, dynamics_of(recipe, episodes), episodes)


def prepare(
    recipe: Recipe,
    episodes: Episodes,
    *,
    device: torch.device | str = "cpu",
    tokenizer: Tokenizer | None = None,
    encoders: Cameras | None = None,
    text_features: Float[Tensor, "n f"] | None = None,
    on_pictures: OnPictures = lambda camera, done, total: None,
) -> TrainingSet:
    """Training set of a recipe.

    Args:
        recipe: Recipe of the training.
        episodes: Demonstrations.
        device: Device of the tensors.
        tokenizer: Fitted tokenizer, for families of tokens. Default: fitted to the training episodes.
        encoders: Encoders with the weights of a file (`nn.encoders_with`), for pre-trained ones.
        text_features: Features of the instructions (`learn.text_features`), for a policy with a text encoder.
        on_pictures: Called while the pictures that the policy sees are made ready.

    Raises:
        DataError: The episodes lack a camera that the policy sees, or its pictures cannot be read; or they lack
            instructions that the policy follows, or their rotations are none.
        RecipeError: This machine does not have the device, or not the memory for a batch.
    """
    device = usable_device(device)
    vision = recipe.policy.vision
    check_encoders(vision, encoders)
    if vision is not None:
        check_cameras(episodes, vision)
    check_batch(recipe)
    chosen, _ = choose_episodes(recipe, episodes)
    check_rotated(recipe.policy, chosen)
    language = recipe.policy.language
    check_instructions(language, chosen, text_features)
    ready = ready_pictures(chosen, vision, on_pictures=on_pictures)
    data = training_set(
        recipe.policy,
        chosen,
        attach_controllers(recipe, chosen),
        device=device,
        weights=weights_of(recipe, chosen),
        images=vision.cameras if vision else (),
        ready=ready,
        encoders=encoders,
        features=_features(encoders, ready, device=device, on_pictures=on_pictures),
        tasks=language is not None,
    )
    data = replace(data, text_features=text_features)
    options = tokenizer_options(recipe.policy.model)
    if options is None:
        return data
    if tokenizer is None:
        tokenizer = _fitted(options, data, recipe, episodes)
    tokenizer.check_rate(episodes.dt)
    return replace(data, tokenizer=tokenizer)


def check_rotated(spec: PolicySpec, episodes: Episodes) -> None:
    """Refuse coordinates that are said to be rotations and are none.

    Raises:
        DataError: A quaternion whose norm is not 1, columns that are not orthonormal.
    """
    for what, values, rotations in (
        ("observation", episodes.observed.vector, spec.observed_rotations),
        ("action", episodes.actions, rotations_of(spec.codec)),
    ):
        for one in rotations:
            wrong = ~are_rotations(values, one, within=0.01)
            if wrong.any():
                row = int(wrong.nonzero()[0])
                numbers = ", ".join(f"{float(value):.4g}" for value in one.of(values[row]))
                raise DataError(
                    f"coordinates {one.first} to {one.last - 1} of the {what} are no {one.form} in {int(wrong.sum())} "
                    f"of {len(wrong)} rows, first in row {row}: {numbers}. Name the coordinates of the rotation, or "
                    "its representation, as they are in the data (--action-rotations, --observation-rotations)."
                )


def check_batch(recipe: Recipe) -> None:
    """Refuse batches that the memory cannot hold: a system that promises more memory than it has ends the process.

    Counted is what every network needs: the numbers of the windows, their noisy copy, the output and its gradient, and
    the pictures, as they are stored and as numbers.

    Raises:
        RecipeError: One batch needs more memory than there is.
    """
    policy, batch = recipe.policy, recipe.training.batch_size
    window = 16 * (policy.horizon * sizes_of(policy).width + policy.n_obs_steps * policy.n_encoded)
    if policy.vision is not None:
        pixels = sum(
            view.channels * (math.prod(view.size) + 4 * math.prod(view.encoded)) for view in policy.vision.views
        )
        window += policy.n_obs_steps * pixels
    if (needed := batch * window) > (free := available_memory()):
        raise RecipeError(
            f"a batch of {batch} windows needs more than {needed / 1e9:.3g} GB of memory, but {free / 1e9:.3g} GB are "
            "available. Lower batch_size (--batch-size), or use smaller pictures or shorter windows."
        )


def _features(
    encoders: Cameras | None,
    ready: Mapping[str, Pictures],
    *,
    device: torch.device | str,
    on_pictures: OnPictures = lambda camera, done, total: None,
) -> Features | None:
    """Features of frozen encoders."""
    if encoders is None or not encoders.vision.frozen:
        return None
    return features_of(encoders, ready, device=device, on_pictures=on_pictures)


def weights_of(recipe: Recipe, chosen: Episodes) -> torch.Tensor | None:
    """Weights of the chosen episodes that the preparation of a recipe asks for."""
    if not recipe.preparation.weights:
        return None
    weights = chosen.episode_columns[WEIGHT]
    if not isinstance(weights, torch.Tensor) or not bool((weights > 0).any()):
        raise RecipeError("all training episodes have the weight 0. Hold out fewer, or give some a weight above 0.")
    return weights


def _fitted(options: TokenizerOptions, data: TrainingSet, recipe: Recipe, episodes: Episodes) -> Tokenizer:
    """Tokenizer of the training chunks; chunks that reach beyond their episode repeat its last step."""
    chunks = chunks_of(data, most=TOKENIZER_CHUNKS, rng=stream(recipe.seed, "tokenizer chunks"))
    seed = stream(recipe.seed, "tokenizer").initial_seed()
    return fit_tokenizer(options, chunks, seed=seed, dt=episodes.dt)


def prepare_held_out(recipe: Recipe, episodes: Episodes, data: TrainingSet) -> TrainingSet | None:
    """Held-out episodes in the scales of the training set; `None` if none are held out."""
    _, held_out = choose_episodes(recipe, episodes)
    if not len(held_out):
        return None
    vision = recipe.policy.vision
    ready = ready_pictures(held_out, vision)
    return training_set(
        recipe.policy,
        held_out,
        attach_controllers(recipe, held_out),
        scales_of=data,
        images=vision.cameras if vision else (),
        ready=ready,
        encoders=data.encoders,
        features=_features(data.encoders, ready, device=data.device),
        tasks=recipe.policy.language is not None,
    )


def prepare_variants(
    recipes: Sequence[Recipe], episodes: Episodes, *, device: torch.device | str = "cpu"
) -> list[TrainingSet]:
    """Training set of each recipe, as from `prepare`; equal ones share one object."""
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
    prepare_by = recipe.preparation, recipe.n_demos, recipe.held_out
    return recipe.policy, recipe.synthesis, recipe.dynamics, *prepare_by, seed
