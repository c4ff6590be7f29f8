"""Codecs: one contract for all, and what each keeps."""

from dataclasses import dataclass

import pytest
import torch
from torch.testing import assert_close

from holdfast.data import Actions, Affine, Codec, decode, encode, width
from holdfast.errors import ShapeError
from holdfast.schema import from_plain, to_plain
from holdfast.seeding import stream
from holdfast.types import PrimitiveControllers

CODECS = [Actions(), Affine()]
N, M = 3, 2


@dataclass(frozen=True)
class Recipe:
    codec: Codec


def controllers(*axes):
    rng = stream(0, "controllers")
    return PrimitiveControllers(
        actions=torch.randn(*axes, M, generator=rng, dtype=torch.float64),
        states=torch.randn(*axes, N, generator=rng, dtype=torch.float64),
        gains=torch.randn(*axes, M, N, generator=rng, dtype=torch.float64),
    )


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("axes", [(), (4,), (2, 4), (0, 4)])
def test_shapes_and_code_round_trip(codec, axes):
    code = encode(codec, controllers(*axes))
    assert code.shape == (*axes, width(codec, N, M))
    decoded = decode(codec, code, n_states=N, n_actions=M)
    assert decoded.gains.shape == (*axes, M, N)
    assert torch.equal(encode(codec, decoded), code)


@pytest.mark.parametrize("codec", CODECS)
def test_actions_come_first(codec):
    made = controllers(5)
    assert torch.equal(encode(codec, made)[:, :M], made.actions)


def test_affine_is_the_same_law_at_any_state():
    made = controllers(6, 8)
    decoded = decode(Affine(), encode(Affine(), made), n_states=N, n_actions=M)
    x = torch.randn(6, 8, N, generator=stream(1, "states"), dtype=torch.float64) * 10
    # The law written out by hand, coordinate by coordinate.
    by_hand = made.actions + torch.einsum("bhij,bhj->bhi", made.gains, x - made.states)
    assert_close(decoded(x), by_hand)
    assert torch.equal(decoded.gains, made.gains)


def test_actions_alone_do_not_feed_back():
    made = controllers(5)
    decoded = decode(Actions(), encode(Actions(), made), n_states=N, n_actions=M)
    assert torch.equal(decoded(made.states + 100), made.actions)
    assert not bool(decoded.gains.any() or decoded.states.any())


def test_wrong_width():
    with pytest.raises(ShapeError, match="codes of 11 numbers per step, got 12"):
        decode(Affine(), torch.zeros(4, 12), n_states=N, n_actions=M)


def test_recipe_can_hold_it():
    for codec in CODECS:
        assert from_plain(Recipe, to_plain(Recipe(codec=codec))).codec == codec
