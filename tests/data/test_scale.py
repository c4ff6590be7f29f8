"""Scaling: range, inverse, constant coordinates, storage."""

import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from holdfast.data import MinMax, describe_constants, split
from holdfast.errors import DataError, ShapeError
from holdfast.seeding import stream
from holdfast.types import Episodes

finite = st.floats(-1e6, 1e6, allow_nan=False, width=64)


def draw(*shape):
    return torch.randn(*shape, generator=stream(0, "values"), dtype=torch.float64)


def test_range_is_exactly_one():
    values = draw(200, 4) * torch.tensor([1.0, 1e-3, 1e3, 7.0]).double() + 5
    z = MinMax.fit(values).normalize(values)
    assert_close(z.amin(0), -torch.ones(4).double())
    assert_close(z.amax(0), torch.ones(4).double())


@settings(deadline=None, max_examples=100)
@given(st.lists(st.tuples(finite, finite), min_size=1, max_size=8), st.tuples(finite, finite))
def test_inverse_anywhere(rows, point):
    scale = MinMax.fit(torch.tensor(rows, dtype=torch.float64))
    x = torch.tensor(point, dtype=torch.float64)
    # Rounding is relative to the largest number that occurs on the way.
    size = float(torch.maximum(x.abs(), scale.centre.abs()).max())
    assert_close(scale.denormalize(scale.normalize(x)), x, rtol=1e-14, atol=1e-14 * size + 1e-300)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_dtype_and_axes_are_kept(dtype):
    scale = MinMax.fit(draw(50, 3))
    x = draw(2, 5, 7, 3).to(dtype)
    z = scale.normalize(x)
    assert z.dtype == dtype
    assert z.shape == x.shape
    assert scale.denormalize(z).dtype == dtype
    assert_close(scale.denormalize(z), x)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("value", [0.1, 0.0, -3e7, 1e-9])
def test_constant_coordinate(value, dtype):
    values = torch.stack([torch.full((9,), value), torch.arange(9.0)], dim=-1).to(dtype)
    scale = MinMax.fit(values)
    assert scale.constant.tolist() == [True, False]
    z = scale.normalize(values)
    assert torch.equal(z[:, 0], torch.zeros(9, dtype=dtype))
    assert torch.equal(scale.denormalize(z)[:, 0], values[:, 0])
    # Off the constant, a difference stays the difference that it is.
    assert_close(scale.half[0], torch.tensor(1.0).double())


def test_rounding_does_not_count_as_a_range():
    wobble = torch.tensor([[0.3, 1e-17], [0.1 + 0.2, -1e-17]], dtype=torch.float64)
    assert bool(wobble[0, 0] != wobble[1, 0])
    assert MinMax.fit(wobble).constant.tolist() == [True, True]
    assert float(MinMax.fit(wobble).normalize(wobble).abs().max()) < 1e-15


def test_near_constants_are_reported_and_healthy_ones_are_not():
    steps = torch.linspace(0, 1, 9, dtype=torch.float64)
    values = torch.stack([steps, torch.full_like(steps, 7.0), 3 + 1e-6 * steps], dim=-1)
    found = describe_constants(MinMax.fit(values, ["x", "y", "w"]))
    assert len(found) == 2
    assert found[0].startswith("y is constant (7)")
    assert found[1].startswith("w is nearly constant: it varies by 1e-06 about 3.")
    assert "2e+06 times" in found[1]
    assert describe_constants(MinMax.fit(values))[0].startswith("coordinate 1 is constant")
    assert describe_constants(MinMax.fit(values[:, :1])) == []


def test_fitted_on_the_training_episodes_only():
    states = torch.arange(40.0).double().unsqueeze(-1)
    episodes = Episodes(actions=states, states=states, lengths=torch.full((10,), 4))
    train, held_out = split(episodes, held_out=9, rng=stream(0, "split"))
    scale = MinMax.fit(train.states)
    assert (float(scale.low), float(scale.high)) == (float(train.states.min()), float(train.states.max()))
    assert float(scale.normalize(held_out.states).abs().max()) > 1


def test_stored_exactly():
    scale = MinMax.fit(draw(9, 5) / 3, [f"q{i}" for i in range(5)])
    again = MinMax.from_plain(json.loads(json.dumps(scale.to_plain())))
    assert torch.equal(again.low, scale.low)
    assert torch.equal(again.high, scale.high)
    assert again.names == scale.names
    assert MinMax.from_plain(MinMax.fit(draw(3, 1)).to_plain()).names is None
    assert torch.equal(scale.to("cpu").low, scale.low)


def test_refusals():
    with pytest.raises(DataError, match="at least one, and finite"):
        MinMax.fit(torch.zeros(0, 2))
    with pytest.raises(DataError, match="finite numbers only"):
        MinMax.fit(torch.tensor([[0.0], [float("nan")]]))
    with pytest.raises(ShapeError, match=r"fitted to 3 coordinates, got an array of shape \[4, 2\]"):
        MinMax.fit(draw(9, 3)).normalize(draw(4, 2))
    with pytest.raises(DataError, match="low <= high"):
        MinMax(low=torch.ones(1), high=torch.zeros(1))
    with pytest.raises(DataError, match="2 names for 1 coordinates"):
        MinMax(low=torch.zeros(1), high=torch.ones(1), names=("x", "y"))
    with pytest.raises(DataError, match="lacks high"):
        MinMax.from_plain({"low": [0.0]})
    with pytest.raises(DataError, match="1 low and 2 high"):
        MinMax.from_plain({"low": [0.0], "high": [1.0, 2.0]})
