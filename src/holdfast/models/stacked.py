"""Several trained models of one architecture as one model, whose batch holds the rows of each in turn."""

import copy
from collections.abc import Sequence
from typing import cast

from ..errors import RecipeError
from ..nn import ChunkNetwork, stacked_network
from .base import ChunkModel, FamilyOptions
from .families import KINDS


def stacked_model(models: Sequence[ChunkModel]) -> ChunkModel:
    """A model that samples rows `[v · b]`, those of each given model in turn, with one network call for all.

    With `seeding.Streams` as its random generator, each model draws what it would draw alone. It cannot be trained.

    Raises:
        RecipeError: The family is not stackable, or options or shapes differ.
    """
    first = models[0]
    options = getattr(first, "options", None)
    if not (isinstance(options, FamilyOptions) and options.stackable):
        known = sorted(kind.__name__ for kind in KINDS.kinds if issubclass(kind, FamilyOptions) and kind.stackable)
        raise RecipeError(
            f"a {type(first).__name__} cannot be sampled together with others as one program. Families that can: "
            f"{', '.join(known)}."
        )
    if any(type(model) is not type(first) or getattr(model, "options", None) != options for model in models):
        raise RecipeError("stacked models must agree in family and options. Run those that differ separately.")
    together = copy.deepcopy(first)
    together.network = stacked_network([cast(ChunkNetwork, model.network) for model in models])
    return together
