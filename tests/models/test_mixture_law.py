"""Mixtures of Gaussians: their density against PyTorch's, their conditional law against integrals on a grid."""

import math

import pytest
import torch
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal

from holdfast.models.mixture_law import DiagonalMixture, pick


def some(gaussian, *batch, k=3, d=2):
    return DiagonalMixture(
        log_weights=gaussian(0, *batch, k).log_softmax(-1),
        means=gaussian(1, *batch, k, d),
        stds=0.2 + gaussian(2, *batch, k, d).abs(),
    )


def theirs(law):
    parts = Independent(Normal(law.means, law.stds), 1)
    return MixtureSameFamily(Categorical(logits=law.log_weights), parts)


def grid(steps=601, reach=14.0):
    """Points of a plane, and the area of a cell."""
    axis = torch.linspace(-reach, reach, steps, dtype=torch.float64)
    return torch.cartesian_prod(axis, axis), float(axis[1] - axis[0]) ** 2


@pytest.mark.parametrize("batch", [(), (4,), (4, 3)])
def test_density_against_torch_distributions(gaussian, batch):
    law, value = some(gaussian, *batch), gaussian(3, *batch, 2)
    torch.testing.assert_close(law.log_density(value), theirs(law).log_prob(value), rtol=0, atol=1e-12)


def test_coordinates_outside_are_integrated_out(gaussian):
    law = some(gaussian)
    axis = torch.linspace(-12, 12, 4001, dtype=torch.float64)
    points = torch.stack([torch.full_like(axis, 0.3), axis], -1)
    expected = torch.trapezoid(theirs(law).log_prob(points).exp(), axis).log()
    inside = torch.tensor([True, False])
    for outside in (0.0, 1e300, float("nan")):
        value = torch.tensor([0.3, outside], dtype=torch.float64)
        torch.testing.assert_close(law.log_density(value, inside), expected, rtol=0, atol=1e-9)
    assert float(law.log_density(value, torch.tensor([False, False]))) == pytest.approx(0, abs=1e-14)


def test_what_is_outside_reaches_no_gradient(gaussian):
    law, inside = some(gaussian), torch.tensor([True, False])
    means = law.means.clone().requires_grad_()
    free = DiagonalMixture(log_weights=law.log_weights, means=means, stds=law.stds)
    (slope,) = torch.autograd.grad(free.log_density(torch.tensor([0.3, torch.inf]).double(), inside), means)
    assert bool((slope[:, 1] == 0).all())
    # of a mixture of the first coordinates alone
    first = means[:, :1].detach().requires_grad_()
    alone = theirs(DiagonalMixture(log_weights=law.log_weights, means=first, stds=law.stds[:, :1]))
    (expected,) = torch.autograd.grad(alone.log_prob(torch.tensor([0.3]).double()), first)
    torch.testing.assert_close(slope[:, :1], expected)


def test_narrow_components_in_single_precision():
    """Twenty thousand standard deviations from one component, ten thousand from the other."""
    law = DiagonalMixture(
        log_weights=torch.tensor([0.5, 0.5]).log(), means=torch.tensor([[1.0], [0.0]]), stds=torch.full((2, 1), 1e-4)
    )
    value = torch.tensor([-1.0], requires_grad=True)
    density = law.log_density(value)
    (slope,) = torch.autograd.grad(density, value)
    assert float(density.detach()) == pytest.approx(-0.5e8, rel=1e-5)
    assert float(slope) == pytest.approx(1e8, rel=1e-5)


@pytest.mark.parametrize("weights", [(0.5, 0.0), (0.0, 0.9), (0.3, 0.8)])
def test_the_law_given_a_measurement_against_a_grid(gaussian, weights):
    law, measured, weight = some(gaussian), torch.tensor([0.6, -0.4]).double(), torch.tensor(weights).double()
    points, area = grid()
    prior, given = theirs(law).log_prob(points), theirs(law.given(measured, weight)).log_prob(points)
    seen = weight > 0
    noise = Normal(points[:, seen], ((1 - weight[seen]) / weight[seen]).sqrt())
    joint = (prior + noise.log_prob(measured[seen]).sum(-1)).exp()
    assert float(given.exp().sum() * area) == pytest.approx(1, abs=1e-9)
    torch.testing.assert_close(given.exp(), joint / (joint.sum() * area), rtol=0, atol=1e-8)


def test_an_exact_measurement_against_the_slice_of_the_density(gaussian):
    law = some(gaussian)
    given = law.given(*torch.tensor([[0.6, 99.0], [1.0, 0.0]], dtype=torch.float64))
    assert bool((given.means[:, 0] == 0.6).all())
    assert bool((given.stds[:, 0] == 0).all())
    axis = torch.linspace(-12, 12, 4001, dtype=torch.float64)
    density = theirs(law).log_prob(torch.stack([torch.full_like(axis, 0.6), axis], -1)).exp()
    rest = DiagonalMixture(log_weights=given.log_weights, means=given.means[:, 1:], stds=given.stds[:, 1:])
    expected = density / torch.trapezoid(density, axis)
    torch.testing.assert_close(rest.log_density(axis[:, None].expand(-1, 1)).exp(), expected, rtol=0, atol=1e-9)


def test_one_gaussian_by_hand():
    """N(0, 4) measured as 3 with variance 4 (weight 0.2): half-way, at half the variance."""
    law = DiagonalMixture(log_weights=torch.zeros(1), means=torch.zeros(1, 1), stds=torch.full((1, 1), 2.0))
    given = law.given(torch.tensor([3.0]), torch.tensor([0.2]))
    assert float(given.means) == pytest.approx(1.5)
    assert float(given.stds) == pytest.approx(2**0.5)


def test_silent_measurements_change_nothing_and_their_order_does_not_matter(gaussian):
    law = some(gaussian, 4)
    silent = law.given(gaussian(3, 4, 2), torch.zeros(4, 2).double())
    first, second = torch.tensor([0.3, 0.9]).double().expand(4, 2), torch.tensor([0.7, 0.1]).double().expand(4, 2)
    there = law.given(gaussian(4, 4, 2), first).given(gaussian(5, 4, 2), second)
    back = law.given(gaussian(5, 4, 2), second).given(gaussian(4, 4, 2), first)
    for name in ("log_weights", "means", "stds"):
        torch.testing.assert_close(getattr(silent, name), getattr(law, name), rtol=0, atol=1e-14)
        torch.testing.assert_close(getattr(there, name), getattr(back, name), rtol=0, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_picking_follows_the_probabilities(dtype):
    probabilities = torch.tensor([0.0, 0.2, 0.0, 0.5, 0.3, 0.0], dtype=dtype)
    evenly = torch.arange(1000, dtype=dtype) / 1000
    counts = torch.bincount(pick(probabilities.log().expand(1000, -1), evenly), minlength=6)
    assert (counts - torch.tensor([0, 200, 0, 500, 300, 0])).abs().max() <= 1
    assert counts[[0, 2, 5]].tolist() == [0, 0, 0]
    largest = torch.nextafter(torch.ones(1, dtype=dtype), torch.zeros(1, dtype=dtype))
    assert pick(probabilities.log()[None], largest).tolist() == [4]


def test_a_component_of_weight_one_is_that_gaussian(gaussian):
    """Whatever the component of weight 0 is, a point included; the gradient is that of the Gaussian too."""
    means = torch.tensor([[0.3, -1.0], [5.0, 5.0]], dtype=torch.float64, requires_grad=True)
    stds = torch.tensor([[0.5, 2.0], [0.0, 1.0]], dtype=torch.float64)
    law = DiagonalMixture(log_weights=torch.tensor([1.0, 0.0]).double().log(), means=means, stds=stds)
    value = torch.tensor([0.1, 5.0], dtype=torch.float64)
    found = law.log_density(value)
    expected = Normal(means[0].detach(), stds[0]).log_prob(value).sum()
    assert float(found.detach()) == pytest.approx(float(expected))
    found.backward()
    assert means.grad.flatten().tolist() == pytest.approx([-0.2 / 0.25, 6.0 / 4.0, 0.0, 0.0])


def test_a_coordinate_measured_with_weight_one_is_a_point(gaussian):
    """Its density is infinite at the measured value and zero elsewhere; the other coordinates keep theirs."""
    prior = some(gaussian, k=2, d=2)
    y = torch.tensor([0.7, 0.0], dtype=torch.float64)
    law = prior.given(y, torch.tensor([1.0, 0.0], dtype=torch.float64))
    at, off = torch.tensor([0.7, 0.2], dtype=torch.float64), torch.tensor([0.8, 0.2], dtype=torch.float64)
    assert float(law.log_density(at)) == math.inf
    assert float(law.log_density(off)) == -math.inf
    second = torch.tensor([False, True])
    found = law.log_density(at, second)
    # p(a₁ | a₀ = y₀) = p(y₀, a₁) / p(y₀), by the joint density
    expected = theirs(prior).log_prob(at) - prior.log_density(at, torch.tensor([True, False]))
    assert float(found) == pytest.approx(float(expected))
    assert float(law.log_density(off, second)) == pytest.approx(float(found))
