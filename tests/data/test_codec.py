"""Codecs: one contract for all, and what each keeps."""

import re
from dataclasses import dataclass, replace

import pytest
import torch
from torch.testing import assert_close

from holdfast.data import Actions, Affine, Codec, Waypoints, copied_width, decode, encode, feeds_back, width
from holdfast.errors import RecipeError, ShapeError
from holdfast.policy import PolicySpec
from holdfast.schema import from_plain, to_plain
from holdfast.seeding import stream
from holdfast.types import PrimitiveControllers

N, M = 5, 2
FIXED = Waypoints(
    positions=(0, 2), velocities=(1, 4), stiffness=(4.0, 9.0), damping=(2.0, 3.0), feed_forward=(0.0, 9.81)
)
PLANNED = replace(FIXED, stiffness_range=4.0)
CODECS = [Actions(), Affine(), FIXED, PLANNED]


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


def made_states(*axes):
    return torch.randn(*axes, N, generator=stream(2, "other states"), dtype=torch.float64)


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("axes", [(), (4,), (2, 4), (0, 4)])
def test_shapes_and_code_round_trip(codec, axes):
    code = encode(codec, controllers(*axes))
    assert code.shape == (*axes, width(codec, N, M))
    decoded = decode(codec, code, n_states=N, n_actions=M)
    assert decoded.gains.shape == (*axes, M, N)
    assert_close(encode(codec, decoded), code, rtol=1e-14, atol=1e-14)
    again = decode(codec, encode(codec, decoded), n_states=N, n_actions=M)
    assert_close(again(made_states(*axes)), decoded(made_states(*axes)), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("axes", [(), (2, 4)])
def test_a_code_takes_the_recorded_action_in_the_recorded_state(codec, axes):
    made = controllers(*axes)
    decoded = decode(codec, encode(codec, made), n_states=N, n_actions=M)
    assert_close(decoded(made.states), made.actions)


@pytest.mark.parametrize("codec", [Actions(), Affine()])
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
    with pytest.raises(ShapeError, match="codes of 17 numbers per step, got 12"):
        decode(Affine(), torch.zeros(4, 12), n_states=N, n_actions=M)


def test_recipe_can_hold_it():
    for codec in CODECS:
        assert from_plain(Recipe, to_plain(Recipe(codec=codec))).codec == codec


def test_way_points_by_hand():
    # one mass on a vertical rail that weighs 10: state (p, v) = (1, 0.5), recorded force 13, k = 4, d = 2
    codec = Waypoints(positions=(0,), velocities=(1,), stiffness=(4.0,), damping=(2.0,), feed_forward=(10.0,))
    recorded = PrimitiveControllers.open_loop(torch.tensor([[13.0]]), torch.tensor([[1.0, 0.5]]))
    code = encode(codec, recorded)
    # v* = 0.5; p* = 1 + (13 - 10) / 4
    assert torch.equal(code, torch.tensor([[0.5, 1.75]]))
    law = decode(codec, code, n_states=2, n_actions=1)
    # 0.25 further on and 0.5 slower: 10 + 4 (1.75 - 1.25) + 2 (0.5 - 0)
    assert torch.equal(law(torch.tensor([[1.25, 0.0]])), torch.tensor([[13.0]]))
    assert torch.equal(law.gains, torch.tensor([[[-4.0, -2.0]]]))
    assert torch.equal(law.actions, torch.tensor([[10.0]]))


def test_a_planned_stiffness_is_that_of_the_gains_with_the_same_damping_ratio():
    codec = Waypoints(positions=(0,), velocities=(1,), stiffness=(4.0,), damping=(2.0,), stiffness_range=8.0)
    gains = torch.tensor([[[-16.0, -1.0]], [[-400.0, -1.0]], [[5.0, -1.0]], [[0.0, 0.0]]], dtype=torch.float64)
    made = PrimitiveControllers(
        actions=torch.tensor([[2.0]]).double().expand(4, 1), states=torch.ones(4, 2).double(), gains=gains
    )
    code = encode(codec, made)
    # 16 = 4 k0; beyond 8 k0 the stiffest; of the wrong sign the softest; without feedback k0
    assert_close(code[:, 2].exp(), torch.tensor([4.0, 8.0, 1 / 8, 1.0]).double())
    law = decode(codec, code, n_states=2, n_actions=1)
    assert_close(law.gains[0], torch.tensor([[-16.0, -4.0]]).double())
    assert_close(law.gains[:, 0, 1].square() / -law.gains[:, 0, 0], torch.ones(4).double())
    beyond = decode(codec, torch.tensor([[0.0, 0.0, 50.0]]), n_states=2, n_actions=1)
    assert_close(beyond.gains[0, 0, 0], torch.tensor(-32.0))


def test_gradients_pass_through_way_points():
    code = torch.randn(3, PLANNED.width, generator=stream(3, "codes"), dtype=torch.float64) / 4
    states = made_states(3)

    def law(value):
        return decode(PLANNED, value, n_states=N, n_actions=M)(states)

    assert torch.autograd.gradcheck(law, (code.requires_grad_(),))


def test_what_a_codec_says_of_itself():
    assert [feeds_back(codec) for codec in CODECS] == [False, True, True, True]
    assert [copied_width(codec, N, M) for codec in CODECS] == [2, 7, 4, 2]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"velocities": (1,)}, "2 positions and 1 velocities. Give one of each"),
        ({"damping": ()}, "2 positions and 0 damping"),
        ({"feed_forward": (1.0,)}, "2 positions and 1 feed_forward"),
        ({"positions": (0, 1)}, "different state coordinates, counted from 0"),
        ({"positions": (0, -1)}, "different state coordinates, counted from 0"),
        ({"stiffness": (4.0, 0.0)}, "a stiffness above 0 and a damping of 0 or above, got 4, 0"),
        ({"damping": (4.0, -1.0)}, "a stiffness above 0 and a damping of 0 or above"),
        ({"stiffness": (4.0, float("inf"))}, "a stiffness above 0"),
        ({"feed_forward": (4.0, float("nan"))}, "a finite feed-forward action"),
        ({"stiffness_range": 0.5}, "stiffness_range of 1 or above, got 0.5"),
        ({"stiffness_range": float("inf")}, "stiffness_range of 1 or above"),
    ],
)
def test_way_points_that_no_cascade_tracks(changes, message):
    with pytest.raises(RecipeError, match=re.escape(message)):
        replace(FIXED, **changes)


def test_no_way_points_at_all():
    with pytest.raises(RecipeError, match="0 positions"):
        Waypoints(positions=(), velocities=(), stiffness=(), damping=())


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ((5, 3), "an action has 3 coordinates, but the way-points are of 2"),
        ((4, 2), "state coordinate 4, but the state"),
    ],
)
def test_a_policy_of_other_sizes(sizes, message):
    with pytest.raises(RecipeError, match=message):
        PolicySpec(n_states=sizes[0], n_actions=sizes[1], n_observed=3, codec=FIXED)
