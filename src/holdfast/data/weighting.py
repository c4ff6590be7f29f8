"""How often the windows of each episode are drawn: by a column, by a measure of quality, or by a file."""

from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ..errors import DataError
from ..files import read_json, read_text, shown
from ..types import Episodes

WEIGHT = "weight"
"""Name of the episode column that holds the weights of prepared episodes."""
QUALITY = "quality"
HORIZON = 4


def weights_of(episodes: Episodes, source: str) -> Float[Tensor, " episodes"] | None:
    """Weight of each episode; `None` for no weights.

    Args:
        episodes: The data set.
        source: "", an episode column, "quality", or a file (.json, .csv, .txt: one number per episode).

    Raises:
        DataError: No such column or file, or its values are no weights of these episodes.
    """
    if not source:
        return None
    values = episodes.episode_columns.get(source)
    if isinstance(values, Tensor):
        return _checked(values.double(), len(episodes), f"column {source}")
    if values is not None:
        raise DataError(f"weights: the episode column {source} holds words. Give a column of numbers.")
    if source == QUALITY:
        return quality_of(episodes)
    path = Path(source)
    if not path.is_file():
        known = ", ".join([QUALITY, *(n for n, v in episodes.episode_columns.items() if isinstance(v, Tensor))])
        raise DataError(f"weights: {source} is no episode column, and no such file exists. Known: {known}, or a file.")
    return _checked(torch.tensor(_numbers(path), dtype=torch.float64), len(episodes), str(path))


def _numbers(path: Path) -> list[float]:
    """The numbers of a JSON list, or one number a line or between commas."""
    if path.suffix not in (".json", ".csv", ".txt"):
        raise DataError(f"weights: expected a file .json, .csv or .txt with one number per episode, got {path}.")
    try:
        if path.suffix == ".json":
            return _plain_numbers(read_json(path, way_out="Give a list with one number per episode."))
        return [float(value) for value in read_text(path).replace(",", " ").split()]
    except (OSError, ValueError) as error:
        raise DataError(f"weights: {path} cannot be read ({error}). Give one number per episode.") from error


def _plain_numbers(found: Any) -> list[float]:
    if not isinstance(found, list) or not all(type(value) in (int, float) for value in cast("list[Any]", found)):
        raise DataError(f"expected a list of numbers, got {shown(found)}")
    return [float(value) for value in cast("list[float]", found)]


def _checked(weights: Float[Tensor, " k"], count: int, source: str) -> Float[Tensor, " episodes"]:
    if len(weights) != count:
        raise DataError(f"weights: {source} holds {len(weights)} numbers, expected {count}, one per episode.")
    if not bool(weights.isfinite().all()) or bool((weights < 0).any()) or not bool((weights > 0).any()):
        raise DataError(f"weights: {source} holds values that are no weights. Give numbers of 0 or above, some above.")
    return weights


def quality_of(episodes: Episodes) -> Float[Tensor, " episodes"]:
    """Agreement of each episode's actions with those of other episodes at similar observations, as weights up to 1.

        d_e = median over steps of |chunk − median chunk of the nearest steps in other episodes|
        w_e = min(1, (median of d / d_e)²)

    The weight of an episode is thus inversely proportional to the variance of its deviations, as in weighted least
    squares, and no episode counts more than a typical one.
    """
    # imported here, because reading data does not need the doctor
    from .doctor.neighbours import neighbours_of
    from .doctor.recording import recording_of

    recording = recording_of(episodes)
    near = neighbours_of(recording, HORIZON)
    if near is None:
        return torch.ones(len(episodes), dtype=torch.float64)
    count = min(8, near.distance.shape[1] - 1)
    order = np.argpartition(near.distance, count - 1, axis=1)[:, :count]
    around = near.chunks.of(np.take_along_axis(near.nearest, order, axis=1))
    away = np.sqrt(((near.chunks.of(near.rows) - np.median(around, axis=1)) ** 2).mean(axis=-1))
    owner = near.recording.episodes[near.recording.owner[near.rows]]
    usual = {int(episode): float(np.median(away[owner == episode])) for episode in np.unique(owner)}
    typical = float(np.median(list(usual.values())))
    weights = torch.ones(len(episodes), dtype=torch.float64)
    for episode, distance in usual.items():
        weights[episode] = min(1.0, (typical / distance) ** 2) if distance > 0 else 1.0
    return weights
