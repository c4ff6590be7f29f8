"""Checks of trainings that run as one program: equal shapes, and enough memory."""

from collections.abc import Iterator, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import torch

from ..data import width
from ..errors import RecipeError
from ..models import ChunkModel
from ..policy import build_model
from ..recipe import Recipe
from ..types import Batch, Observation
from .dataset import TrainingSet
from .variants_batches import batches_of

COPIES = 8
"""Largest number of values stored per parameter: itself, its average and two moments, separate and stacked, while
stacks are built. In training there are five, with the gradient."""


def check_shapes(recipes: Sequence[Recipe], data: Sequence[TrainingSet]) -> None:
    """Raise a `RecipeError` that names the first field in which two variants differ and must not."""
    if any(one.tokenizer is not None for one in data):
        # the encoding of a chunk depends on its values, which torch.vmap does not support
        raise RecipeError(
            f"a {type(recipes[0].policy.model).__name__} model has a tokenizer, and families of tokens cannot be "
            "trained as variants. Train them one after another."
        )
    if any(one.cameras or one.tasks for one in data):
        raise RecipeError(
            "several seeds are trained as one program on low-dimensional readings only. Train policies that see "
            "pictures or follow instructions one seed at a time: --seed 0, then --seed 1."
        )
    expected = dict(_shape(recipes[0], data[0]))
    for index, (recipe, one) in enumerate(zip(recipes, data, strict=True)):
        for name, value in _shape(recipe, one):
            if expected[name] != value:
                raise RecipeError(
                    f"variants run as one program and must agree in {name}: expected {expected[name]} as in variant 0, "
                    f"got {value} in variant {index}. Train those that differ separately."
                )


def _shape(recipe: Recipe, data: TrainingSet) -> Iterator[tuple[str, Any]]:
    policy, options = recipe.policy, recipe.training
    for name in ("n_states", "n_actions", "n_observed", "n_obs_steps", "horizon"):
        yield f"policy.{name}", getattr(policy, name)
    yield "the width of a code (policy.codec)", width(policy.codec, policy.n_states, policy.n_actions)
    yield "policy.model", type(policy.model).__name__
    yield from _leaves("policy.model", policy.model)
    for name in ("batch_size", "steps", "precision", "prefix_delays"):
        yield f"training.{name}", getattr(options, name)
    yield "the data's device", str(data.device)


def _leaves(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Nested options by dotted names; the type of an option comes before its fields."""
    for field in fields(value):
        inner, dotted = getattr(value, field.name), f"{name}.{field.name}"
        if is_dataclass(inner):
            yield dotted, type(inner).__name__
            yield from _leaves(dotted, inner)
        else:
            yield dotted, inner


def check_memory(
    recipes: Sequence[Recipe], data: Sequence[TrainingSet], *, at_once: int, available: int | None = None
) -> None:
    """Raise a `RecipeError` with the largest possible number if the variants do not fit into memory."""
    device = data[0].device
    free = _free(device) if available is None else available
    if free is None:
        return
    model = build_model(recipes[0].policy).to(device)
    state = COPIES * sum(value.numel() * value.element_size() for value in model.parameters())
    activations = _activations(model, recipes[0], data[0])
    if len(recipes) * state + at_once * activations <= free:
        return
    fit = max(0, (free - at_once * activations) // state, min(at_once, free // (state + activations)))
    raise RecipeError(
        f"{len(recipes)} variants need {_words(len(recipes) * state + at_once * activations)}, but "
        f"{_words(free)} are free: {fit} fit. Train them in groups of at most {max(fit, 1)}."
    )


def _activations(model: ChunkModel, recipe: Recipe, data: TrainingSet) -> int:
    """Memory of one variant's update besides its state [bytes]: twice the tensors saved for its backward pass.

    0 for losses with inner derivatives, whose saved tensors PyTorch does not expose.
    """
    kept = list[int]()

    def note(value: torch.Tensor) -> torch.Tensor:
        kept.append(value.numel() * value.element_size())
        return value

    drawn = batches_of([recipe], [data]).at(0, model)
    observation = Observation(state=drawn.observation[0])
    further = {name: values[0] for name, values in drawn.further.items() if values is not None}
    batch = Batch(observation=observation, chunk=drawn.chunk[0], mask=drawn.mask[0], **further)
    with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(note, lambda value: value):
        try:
            model.loss(batch, drawn.template)
        except RuntimeError as error:
            if "saved tensor hooks" not in str(error):
                raise
    return 2 * sum(kept)


def _free(device: torch.device) -> int | None:
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    table = Path("/proc/meminfo")
    if not table.exists():
        return None
    lines = dict(line.split(":", 1) for line in table.read_text().splitlines())
    return 1024 * int(lines["MemAvailable"].split()[0]) if "MemAvailable" in lines else None


def _words(size: int) -> str:
    return f"{size / 2**30:.2f} GiB"
