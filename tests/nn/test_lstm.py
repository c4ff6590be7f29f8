"""The recurrent network: equal to PyTorch's own with the same weights, its size by hand."""

import math

import pytest
import torch

from holdfast.errors import RecipeError
from holdfast.nn import Lstm, Ports

PORTS = Ports(horizon=5, n_in=3, n_out=2, n_times=2, n_obs_steps=6, n_observed=4)


def test_it_equals_pytorchs(built, gaussian):
    net = built(Lstm(layers=2, width=7, embedding=8), PORTS, shaken=0.2)
    chunk, times, window = gaussian(0, 4, 5, 3), 50 + 20 * gaussian(1, 4, 2), gaussian(2, 4, 6, 4)
    theirs = torch.nn.LSTM(4, 7, num_layers=2, batch_first=True).double()
    weights = {}
    for index, layer in enumerate(net.layers):
        weights[f"weight_ih_l{index}"], weights[f"bias_ih_l{index}"] = layer.enter.weight, layer.enter.bias
        weights[f"weight_hh_l{index}"], weights[f"bias_hh_l{index}"] = layer.recur.weight, torch.zeros(28)
    theirs.load_state_dict({name: value.detach() for name, value in weights.items()})
    states, (last, _) = theirs(window)
    torch.testing.assert_close(net.layers[1](net.layers[0](window)), states)
    joined = net.join(torch.cat([chunk.flatten(1), net.embed(times), last[1]], 1))
    expected = net.head(joined * torch.sigmoid(joined)).view(4, 5, 2)
    torch.testing.assert_close(net(chunk, times, net.encode(window)), expected)


def test_size_by_hand(built, size):
    """Four gates a layer, one bias each."""
    width, embedding = 7, 4
    layers = 4 * width * (4 + width + 1) + 4 * width * (width + width + 1)
    times = (2 * 4 * 16 + 16) + (16 * 4 + 4)
    head = (5 * 3 + embedding + width + 1) * width + (width + 1) * 5 * 2
    assert size(built(Lstm(layers=2, width=width, embedding=embedding), PORTS)) == layers + times + head


def test_first_weights_are_in_pytorchs_range(built):
    bound = 1 / math.sqrt(50)
    for parameter in built(Lstm(width=50), PORTS).layers.parameters():
        assert 0.9 * bound < float(parameter.detach().abs().max()) <= bound


@pytest.mark.parametrize("options", [{"width": 0}, {"layers": 0}, {"embedding": 3}])
def test_refusals(options):
    with pytest.raises(RecipeError, match="expected"):
        Lstm(**options)
