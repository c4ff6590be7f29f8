"""Convolutions as matrix products against PyTorch's own, in value, gradient and directional derivative."""

import pytest
import torch
from torch import nn

from holdfast.nn import convolve
from holdfast.nn.convolve import FEW_ROWS, Convolution, Upsampling, by_rows, by_taps


def own(layer, x):
    """What the class of torch.nn makes of the same weights."""
    kind = nn.Conv1d if isinstance(layer, nn.Conv1d) else nn.ConvTranspose1d
    return kind.forward(layer, x)


def slopes(y, *values):
    return torch.autograd.grad((y * torch.arange(1.0, y.numel() + 1).view(y.shape).cos()).sum(), values)


@pytest.mark.parametrize("kernel", [1, 3, 5])
@pytest.mark.parametrize("steps", [1, 2, 4, 7])
@pytest.mark.parametrize("way", [by_rows, by_taps])
def test_both_ways_are_pytorchs(gaussian, kernel, steps, way):
    layer, x = nn.Conv1d(3, 4, kernel, padding=kernel // 2).double(), gaussian(0, 2, 3, steps).requires_grad_()
    mine, theirs = way(x, layer.weight, layer.bias), layer(x)
    torch.testing.assert_close(mine, theirs)
    values = (x, layer.weight, layer.bias)
    torch.testing.assert_close(slopes(mine, *values), slopes(theirs, *values))


@pytest.fixture(params=[0, 2**21], ids=["many weights", "few weights"])
def threshold(request, monkeypatch):
    """Few weights taken for many, so that all ways are gone without large networks."""
    monkeypatch.setattr(convolve, "MANY_WEIGHTS", request.param)


@pytest.mark.usefixtures("threshold")
@pytest.mark.parametrize("batch", [1, 2 * FEW_ROWS])
@pytest.mark.parametrize("gradient", [True, False])
@pytest.mark.parametrize(
    ("layer", "steps"), [(Convolution(3, 4, 5), 4), (Convolution(3, 4, 5), 16), (Convolution(3, 4, 3, stride=2), 8)]
)
def test_whatever_way_is_chosen(gaussian, batch, gradient, layer, steps):
    layer, x = layer.double(), gaussian(0, batch, 3, steps)
    with torch.set_grad_enabled(gradient):
        torch.testing.assert_close(layer(x), own(layer, x))


@pytest.mark.parametrize("batch", [1, 3, 2 * FEW_ROWS])
@pytest.mark.parametrize("steps", [1, 2, 4])
def test_growth_is_pytorchs(gaussian, batch, steps):
    layer, x = Upsampling(3).double(), gaussian(0, batch, 3, steps).requires_grad_()
    torch.testing.assert_close(layer(x), own(layer, x))
    values = (x, layer.weight, layer.bias)
    torch.testing.assert_close(slopes(layer(x), *values), slopes(own(layer, x), *values))


@pytest.mark.usefixtures("threshold")
@pytest.mark.parametrize("batch", [1, 2 * FEW_ROWS])
@pytest.mark.parametrize("layer", [Convolution(3, 4, 5), Convolution(3, 4, 1), Upsampling(3)])
def test_gradients_lie_as_the_weights_do(gaussian, batch, layer):
    """The fused optimiser walks through both in memory and asks for no strides."""
    layer = layer.double()
    (slope,) = torch.autograd.grad(layer(gaussian(0, batch, 3, 4)).sum(), layer.weight)
    assert slope.is_contiguous()


def test_a_tap_at_a_time_leaves_the_layout_of_gradients(gaussian):
    """What comes before a convolution is elementwise, and ten times slower where layouts differ."""
    layer, x = Convolution(3, 4, 5).double(), gaussian(0, 2, 3, 4).requires_grad_()
    (slope,) = torch.autograd.grad(by_taps(x, layer.weight, layer.bias).sum(), x)
    assert slope.is_contiguous()


@pytest.mark.usefixtures("threshold")
@pytest.mark.parametrize("batch", [1, FEW_ROWS])
def test_variants_side_by_side_and_tangents(gaussian, batch):
    """What variants (`torch.vmap` over weights) and MeanFlow (`torch.func.jvp`) ask of a layer."""
    layer, weights = Convolution(3, 4, 5).double(), gaussian(0, 6, 4, 3, 5)
    x, tangent = gaussian(1, batch, 3, 4), gaussian(2, batch, 3, 4)

    def at(weight):
        return torch.func.functional_call(layer, {"weight": weight}, (x,))

    torch.testing.assert_close(torch.vmap(at)(weights), torch.stack([at(weight) for weight in weights]))
    # linear in x: the tangent goes through the layer without its bias
    _, moved = torch.func.jvp(layer, (x,), (tangent,))
    torch.testing.assert_close(moved, layer(tangent) - layer(torch.zeros_like(x)))
