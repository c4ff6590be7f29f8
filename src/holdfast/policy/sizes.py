"""Sizes of a stored policy, compared with the header of its weights before any memory is used."""

import math
import threading
from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import nn

from ..errors import HoldfastError, RecipeError, RunError
from ..sealed import Layout
from ..tokens import Tokenizer
from .base import PolicySpec
from .planner import blank_model, sizes_of

LARGEST_NUMBER = 2**20
"""Largest whole number in the policy of a recipe: widths, levels, steps, candidates."""
LARGEST_COUNT = 2**32 - 1
"""Largest whole number elsewhere in a recipe: updates, episodes, seeds."""
LARGEST_DRAW = 2**27
"""Largest number of numbers in the candidates of one chunk."""


def check_numbers(plain: Any, *, error: type[HoldfastError] = RunError) -> None:
    """Refuse whole numbers that no policy has, before any of them becomes a list or an array.

    Raises:
        HoldfastError: The given class of error; a number is too large.
    """
    _check_most(LARGEST_NUMBER, _whole_numbers(plain, "policy"), error)


def check_recipe_numbers(plain: Mapping[str, Any]) -> None:
    """Refuse whole numbers that no recipe has, before any work begins.

    Raises:
        RecipeError: A number is too large.

    >>> check_recipe_numbers({"policy": {"horizon": 16}, "training": {"steps": 10**12}})
    Traceback (most recent call last):
    ...
    holdfast.errors.RecipeError: expected training.steps of at most 4294967295, got 1000000000000
    """
    for name, part in plain.items():
        if name == "policy":
            check_numbers(part, error=RecipeError)
        else:
            _check_most(LARGEST_COUNT, _whole_numbers(part, name), RecipeError)


def _check_most(most: int, numbers: Iterable[tuple[str, int]], error: type[HoldfastError]) -> None:
    for name, number in numbers:
        if abs(number) > most:
            shown = str(number) if number.bit_length() <= 64 else f"a number of {number.bit_length()} bits"
            raise error(f"expected {name} of at most {most}, got {shown}")


def check_layouts(spec: PolicySpec, tokenizer: Tokenizer | None, stored: Mapping[str, Layout]) -> None:
    """Compare the names, shapes and dtypes of stored weights with those of the policy's model.

    Raises:
        HoldfastError: They differ, or the model cannot be built.
    """
    _check_draws(spec)
    expected = weight_layouts(spec, tokenizer, stored=stored)
    if differing := [name for name in {**expected, **stored} if expected.get(name) != stored.get(name)]:
        pairs = [f"{name} is {_said(stored, name)} instead of {_said(expected, name)}" for name in differing[:3]]
        raise RunError(f"{len(differing)} of {len(expected)} weights differ from the recipe's: {', '.join(pairs)}")


def weight_layouts(spec: PolicySpec, tokenizer: Tokenizer | None, *, stored: Mapping[str, Layout]) -> dict[str, Layout]:
    """Shape and dtype of each weight of a policy's model.

    The model is built without memory, and not much further than the stored weights reach.

    Raises:
        HoldfastError: The model cannot be built, or has many more weights than are stored.
    """
    model = _built(spec, tokenizer, stored)
    return {name: Layout(tuple(value.shape), value.dtype) for name, value in model.state_dict().items()}


def constant_names(spec: PolicySpec, tokenizer: Tokenizer | None, *, stored: Mapping[str, Layout]) -> set[str]:
    """Names of the weights that training does not change: those of frozen encoders, and statistics.

    Raises:
        HoldfastError: The model cannot be built, or has many more weights than are stored.
    """
    model = _built(spec, tokenizer, stored)
    return set(model.state_dict()) - {name for name, _ in model.named_parameters()}


def _built(spec: PolicySpec, tokenizer: Tokenizer | None, stored: Mapping[str, Layout]) -> nn.Module:
    """The model without memory."""
    try:
        with _no_larger_than(stored), torch.device("meta"):
            return blank_model(spec, tokenizer=tokenizer)
    except HoldfastError:
        raise
    except (RuntimeError, TypeError, ValueError, OverflowError, MemoryError) as error:
        raise RunError(f"a model of the recipe's sizes cannot be built ({error})") from error


def _said(layouts: Mapping[str, Layout], name: str) -> str:
    return str(layouts.get(name, "absent"))


def _check_draws(spec: PolicySpec) -> None:
    chunk = spec.horizon * sizes_of(spec).width
    for name, number in _whole_numbers(_fields(spec.model), "model"):
        if name.endswith(("candidates", "negatives")) and number * chunk > LARGEST_DRAW:
            raise RunError(
                f"expected at most {LARGEST_DRAW // chunk} {name} of {chunk} numbers, got {number}: they would not fit "
                "into the memory"
            )


def _fields(options: object) -> dict[str, Any]:
    """The fields of nested options."""
    return {name: _fields(value) if hasattr(value, "__dict__") else value for name, value in vars(options).items()}


def _whole_numbers(plain: Any, name: str) -> Generator[tuple[str, int], None, None]:
    """All whole numbers of plain values, with dotted names."""
    if isinstance(plain, Mapping):
        for key, value in cast("Mapping[str, Any]", plain).items():
            yield from _whole_numbers(value, f"{name}.{key:.80}")
    elif isinstance(plain, list | tuple):
        for value in cast("list[Any]", plain):
            yield from _whole_numbers(value, name)
    elif isinstance(plain, int):
        yield name, plain


@contextmanager
def _no_larger_than(stored: Mapping[str, Layout]) -> Generator[None, None, None]:
    """Context in which this thread cannot build more weights than are stored."""
    most, numbers = 2 * len(stored) + 64, 2 * sum(math.prod(layout.shape) for layout in stored.values()) + 2**20
    here, built = threading.get_ident(), [0, 0]

    def count(module: nn.Module, name: str, parameter: nn.Parameter) -> None:
        if threading.get_ident() != here:
            return
        built[0] += 1
        built[1] += math.prod(parameter.shape)
        if built[0] > most or built[1] > numbers:
            raise RunError("the recipe's sizes ask for many more weights than are stored")

    handle = nn.modules.module.register_module_parameter_registration_hook(count)
    try:
        yield
    finally:
        handle.remove()
