"""Models of one shape as one model, whose batch holds the rows of each in turn."""

import copy
from collections.abc import Sequence
from typing import cast, get_args

from ..errors import RecipeError
from ..nn import ChunkNetwork, side_by_side
from .base import ChunkModel
from .consistency import ConsistencyModel
from .diffusion import DiffusionModel
from .flow import FlowModel
from .meanflow import MeanFlowModel
from .mip import MipModel
from .regression import RegressionModel
from .shortcut import ShortcutModel

__all__ = ["models_side_by_side"]

Kinds = ConsistencyModel | DiffusionModel | FlowModel | MeanFlowModel | MipModel | RegressionModel | ShortcutModel
"""Whose samplers treat each row for itself, have no parameters but the network's, and draw normal numbers only."""


def models_side_by_side(models: Sequence[ChunkModel]) -> ChunkModel:
    """A model that samples rows `[v · b]`, those of each given model in turn, with one network call for all.

    With `seeding.Streams` for its randomness each model draws what it would draw alone. It cannot be trained.

    Raises:
        RecipeError: A family that draws otherwise; options or shapes differ.
    """
    first = models[0]
    if not isinstance(first, Kinds):
        known = ", ".join(kind.__name__.removesuffix("Model") for kind in get_args(Kinds))
        raise RecipeError(
            f"a {type(first).__name__} cannot run beside others as one program. Families that can: {known}."
        )
    if any(type(model) is not type(first) or getattr(model, "options", None) != first.options for model in models):
        raise RecipeError("models side by side must agree in family and options. Run those that differ apart.")
    together = copy.deepcopy(first)
    together.network = side_by_side([cast(ChunkNetwork, model.network) for model in models])
    return together
