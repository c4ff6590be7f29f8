"""The modulated transformer: a block by hand, its start as the identity, times of steps, its size by hand."""

import pytest
import torch
from torch.nn.functional import gelu, layer_norm, scaled_dot_product_attention, silu

from holdfast.errors import RecipeError
from holdfast.nn import Dit, Ports

PORTS = Ports(horizon=5, n_in=3, n_out=2, n_times=1, n_obs_steps=2, n_observed=4)


def inputs(gaussian, ports=PORTS):
    times = 50 + 20 * gaussian(1, 4, ports.n_times)
    return gaussian(0, 4, 5, 3), times, gaussian(2, 4, 2, 4)


def whole(net, chunk, times, window):
    return net(chunk, times, net.encode(window))


def test_it_starts_as_a_map_of_each_step_alone(built, gaussian):
    """Gates of zero: neither other steps nor times nor observations count yet."""
    net, (chunk, times, window) = built(Dit(layers=2, heads=2, width=8, embedding=8), PORTS), inputs(gaussian)
    expected = net.head(layer_norm(net.enter(chunk) + net.positions, (8,)))
    torch.testing.assert_close(whole(net, chunk, times, window), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("n_times", [0, 1, 2, 5])
def test_one_layer_by_hand(built, gaussian, n_times):
    """One head: PyTorch's attention between modulated tokens; six modulations for the block, two for the head."""
    ports = Ports(horizon=5, n_in=3, n_out=2, n_times=n_times, n_obs_steps=2, n_observed=4)
    net = built(Dit(layers=1, heads=1, width=8, embedding=8), ports, shaken=0.2)
    chunk, times, window = inputs(gaussian, ports)
    observed = net.observe(window.flatten(1))[:, None].expand(4, 5, 8)
    if n_times == 5:
        told = torch.stack([net.times.embed(times[:, i, None]) for i in range(5)], 1)
    else:
        told = net.times.embed(times)[:, None].expand(4, 5, -1)
    modulation = net.modulate(silu(torch.cat([told, observed], 2)))
    s1, b1, g1, s2, b2, g2, s3, b3 = (modulation[..., 8 * i : 8 * (i + 1)] for i in range(8))
    (block,) = net.blocks
    tokens = net.enter(chunk) + net.positions
    queries, keys, values = block.project(layer_norm(tokens, (8,)) * (1 + s1) + b1).chunk(3, 2)
    tokens = tokens + g1 * block.contract(scaled_dot_product_attention(queries, keys, values))
    inner = block.perceptron.expand(layer_norm(tokens, (8,)) * (1 + s2) + b2)
    tokens = tokens + g2 * block.perceptron.contract(gelu(inner))
    expected = net.head(layer_norm(tokens, (8,)) * (1 + s3) + b3)
    torch.testing.assert_close(whole(net, chunk, times, window), expected, rtol=0, atol=1e-12)


def test_steps_with_their_own_times_may_change_places(built, gaussian):
    """Without positions, exchanging the steps of the chunk and their times exchanges the steps that come out."""
    ports = Ports(horizon=5, n_in=3, n_out=2, n_times=5, n_obs_steps=2, n_observed=4)
    net = built(Dit(layers=2, heads=2, width=8, embedding=8), ports, shaken=0.2)
    net.positions.data.zero_()
    chunk, times, window = inputs(gaussian, ports)
    order = torch.tensor([3, 0, 4, 1, 2])
    out = whole(net, chunk, times, window)
    exchanged = whole(net, chunk[:, order], times[:, order], window)
    torch.testing.assert_close(exchanged, out[:, order], rtol=0, atol=1e-12)
    assert not torch.allclose(whole(net, chunk[:, order], times, window), out[:, order])


def test_size_by_hand(built, size):
    w, layers, embedding = 8, 3, 4
    times = (4 * 16 + 16) + (16 * 4 + 4)
    observed = (2 * 4 * w + w) + (w * w + w)
    modulations = (embedding + w + 1) * (6 * layers + 2) * w
    blocks = layers * ((4 * w * w + 4 * w) + (8 * w * w + 5 * w))
    ends = (3 * w + w) + 5 * w + (2 * w + 2)
    net = built(Dit(layers=layers, heads=2, width=w, embedding=embedding), PORTS)
    assert size(net) == times + observed + modulations + blocks + ends


@pytest.mark.parametrize("options", [{"heads": 3}, {"layers": 0}, {"embedding": 2}])
def test_refusals(options):
    with pytest.raises(RecipeError, match="expected"):
        Dit(**options)
