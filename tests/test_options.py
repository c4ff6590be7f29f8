"""Numbers in the options of families, networks, tokenizers, trainings and gains: odd ones are refused in words."""

import dataclasses
import math

import pytest

from holdfast.control import Dare, Receding, Tvlqr
from holdfast.errors import RecipeError
from holdfast.models import FAMILIES, Diffusion, Tuned
from holdfast.nn import NETWORKS, ResidualMlp
from holdfast.policy import Ensemble
from holdfast.recipe import LearnedLinear, LearnedMlp, Training
from holdfast.tokens import TOKENIZERS

ROOTS = [
    *(make(ResidualMlp()) for make in FAMILIES.values()),
    *NETWORKS.values(),
    *TOKENIZERS.values(),
    *(
        Tuned(Diffusion(), 3),
        Training(),
        LearnedLinear(),
        LearnedMlp(),
        Tvlqr(),
        Dare(),
        Receding(),
        Ensemble(),
    ),
]


def parts_of(options):
    """The options and all options in them."""
    yield options
    for field in dataclasses.fields(options):
        value = getattr(options, field.name)
        if dataclasses.is_dataclass(value):
            yield from parts_of(value)


def numbers_of(options):
    for field in dataclasses.fields(options):
        value = getattr(options, field.name)
        first = value[0] if isinstance(value, tuple) and value else value
        # closed lists of numbers are compared where a file is read
        if isinstance(first, int | float) and not isinstance(first, bool) and "Literal" not in str(field.type):
            yield field.name, first, value


FIELDS = {
    (type(part).__name__, name): (part, first, value)
    for root in ROOTS
    for part in parts_of(root)
    for name, first, value in numbers_of(part)
}


def test_many_fields_are_tried():
    assert len(FIELDS) > 100


@pytest.mark.parametrize("key", FIELDS, ids=".".join)
def test_odd_numbers_are_refused(key):
    options, first, value = FIELDS[key]
    for odd in (-1.0, math.nan, math.inf) if isinstance(first, float) else (-1,):
        changed = (odd,) * len(value) if isinstance(value, tuple) else odd
        with pytest.raises(RecipeError):
            dataclasses.replace(options, **{key[1]: changed})
