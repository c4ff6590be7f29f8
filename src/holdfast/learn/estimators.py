"""Trained estimators: loading, their errors on held-out episodes, and observation noise of the same law.

    e_t = y_t − E(pictures_t)                            on episodes that were held out of the estimator's training
    C_ij = E[e_i e_j] / (h_i h_j)                        h: half of the range of each coordinate of the policy
    σ² = tr C / d,   ε ~ N(0, C / σ²)                    noise of the d coordinates of the policy's observation

so that σ is comparable with that of isotropic noise: both have the trace σ² d. Coordinates that are measured get no
noise. A policy of states that was trained with this noise has seen its observations as the estimator will show them;
at deployment the estimator's own errors are the noise, and none is added.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ..data import Covariance, MinMax, coordinates_of, read
from ..errors import DataError, RecipeError, RunError
from ..policy import Estimator, Policy
from ..policy.coordinate_names import matched
from ..policy.stored import WEIGHTS
from ..recipe import Recipe
from ..sealed import header_of
from ..types import Episodes, Observation
from .checkpoint import load_recipe
from .preparation import choose_episodes

AT_ONCE = 256
"""Number of pictures that are estimated at once."""


@dataclass(frozen=True)
class EstimatorErrors:
    """What an estimator makes of pictures that it was not trained on.

    Attributes:
        names: Names of the coordinates.
        errors: True minus estimated coordinates of each control step, in the data's units.
        episodes: Number of episodes that they are from.
    """

    names: tuple[str, ...]
    errors: Float[Tensor, "rows k"]
    episodes: int

    @property
    def rms(self) -> Float[Tensor, " k"]:
        """Root mean square error of each coordinate, in the data's units."""
        return self.errors.square().mean(dim=0).sqrt()

    @property
    def moments(self) -> Float[Tensor, "k k"]:
        """E[e eᵀ], in the data's units."""
        return self.errors.mT @ self.errors / len(self.errors)

    @property
    def sentence(self) -> str:
        """The errors in words."""
        worst = int(self.rms.argmax())
        name = self.names[worst] if self.names else f"coordinate {worst}"
        return (
            f"root mean square error on {self.episodes} held-out episodes: {float(self.rms.mean()):.4g} on average "
            f"over {len(self.rms)} coordinates, at most {float(self.rms[worst]):.4g} ({name}), in the units of the data"
        )


def load_estimator(folder: str | Path, *, device: torch.device | str = "cpu") -> Estimator:
    """The estimator of a run folder that `train --estimate` has written.

    Raises:
        RunError: The folder is incomplete or damaged, or holds a policy.
    """
    if load_recipe(folder).selection.estimate is None:
        raise RunError(
            f"{folder} holds a policy, not an estimator of coordinates. Train an estimator with: holdfast train DATA "
            "--images CAMERA --estimate KEY --out EST."
        )
    return Estimator(Policy.from_pretrained(folder, device=device))


def estimator_errors(folder: str | Path) -> EstimatorErrors:
    """Errors of a stored estimator on the episodes that were held out of its training, from its own data.

    Raises:
        RunError: It has no data, or no episodes were held out.
        DataError: The data can no longer be read.
    """
    estimator, recipe = load_estimator(folder), load_recipe(folder)
    if not recipe.data or not recipe.held_out:
        raise RunError(
            f"the errors of {folder} cannot be measured: it was trained on "
            f"{'arrays' if not recipe.data else 'all episodes'}. Train it with --held-out 0.1 on stored data."
        )
    try:
        episodes = read(
            Path(recipe.data),
            selection=recipe.selection,
            dropped=recipe.preparation.drop_episodes,
            download=False,
        )
    except DataError as error:
        raise DataError(f"{error} (the data of the estimator {folder})") from error
    return errors_of(estimator, choose_episodes(recipe, episodes)[1])


def estimator_origin(folder: str | Path) -> dict[str, Any]:
    """What tells an estimator from others: its folder, the coordinates, and the digest of its weights."""
    names = load_recipe(folder).selection.estimate or ()
    return {"folder": str(folder), "estimate": list(names), "digest": header_of(Path(folder) / WEIGHTS).get("digest")}


def errors_of(estimator: Estimator, episodes: Episodes) -> EstimatorErrors:
    """Errors of an estimator on episodes whose actions are the coordinates."""
    parts = list[Tensor]()
    count = len(episodes.actions)
    for first in range(0, count, AT_ONCE):
        rows = torch.arange(first, min(first + AT_ONCE, count))
        images = {camera: episodes.cameras[camera].read(rows) for camera in estimator.cameras}
        seen = Observation(state=episodes.observed.state[rows], images=images)
        parts.append(estimator.estimate(seen))
    errors = episodes.actions.double() - torch.cat(parts).double()
    return EstimatorErrors(estimator.names, errors, len(episodes))


def with_estimator_noise(recipe: Recipe, episodes: Episodes, found: EstimatorErrors) -> Recipe:
    """The recipe of a policy of states with noise in training that has the law of an estimator's errors.

    Args:
        recipe: Recipe of the policy. Its noise at deployment becomes 0.
        episodes: Demonstrations of the policy.
        found: Errors of the estimator.

    Raises:
        RecipeError: The estimator has no errors, or estimates coordinates that the policy does not observe, or
            the policy sees rotations as six numbers.
    """
    if recipe.policy.observed_rotations:
        raise RecipeError(
            "the errors of an estimator are those of the observation's own coordinates, but the policy sees rotations "
            "as six numbers. Remove --observation-rotations, or give --sigma-train instead."
        )
    chosen, _ = choose_episodes(recipe, episodes)
    columns = _columns(chosen, found.names)
    half = MinMax.fit(chosen.observed.vector).half[columns]
    scaled = torch.zeros(recipe.policy.n_observed, recipe.policy.n_observed, dtype=torch.float64)
    scaled[torch.tensor(columns)[:, None], torch.tensor(columns)] = found.moments / (half[:, None] * half)
    variance = float(scaled.trace()) / len(scaled)
    if not variance > 0:
        raise RecipeError("the estimator makes no errors, which noise could follow. Give --sigma-train instead.")
    scaled = (scaled + scaled.mT) / (2 * variance)
    law = Covariance(tuple(tuple(float(value) for value in row) for row in scaled))
    execution = replace(recipe.policy.execution, sigma_deploy=0.0)
    training = replace(recipe.training, sigma_train=variance**0.5, noise_law=law)
    return replace(recipe, policy=replace(recipe.policy, execution=execution), training=training)


def _columns(episodes: Episodes, names: tuple[str, ...]) -> list[int]:
    """Columns of the observation vector that an estimator estimates."""
    everything = tuple(coordinates_of(episodes).values())
    found = matched(names, everything)
    if not names or found is None or found.missing:
        raise RecipeError(
            f"expected an estimator of coordinates that the policy observes ({', '.join(everything)}), got one of "
            f"{', '.join(names) or 'coordinates without names'}."
        )
    return list(found.index)
