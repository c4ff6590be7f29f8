"""The residual network: its size counted by hand, blocks that start as the identity, rows independent."""

import pytest
import torch

from holdfast.errors import RecipeError
from holdfast.nn import Ports, ResidualMlp

PORTS = Ports(horizon=3, n_in=2, n_out=2, n_times=1, n_obs_steps=2, n_observed=2)


def inputs(gaussian):
    """Chunk, times, window."""
    times = torch.tensor([[0], [3], [50], [98], [99]], dtype=torch.float64)
    return gaussian(0, 5, 3, 2), times, gaussian(1, 5, 2, 2)


def whole(network, chunk, times, window):
    return network(chunk, times, network.encode(window))


def test_size_by_hand(built, size):
    """Width 8, inner width 24, embedding 4: counted layer by layer."""
    embedding = (4 * 16 + 16) + (16 * 4 + 4)
    block = (8 * 24) + (24 * 8 + 8) + ((4 + 4) * (8 + 24) + (8 + 24))
    ends = (10 * 8 + 8) + (8 + 8) + (8 * 6 + 6)
    net = built(ResidualMlp(width=8, blocks=3, expansion=3, embedding=4), PORTS)
    assert size(net) == embedding + 3 * block + ends


def test_blocks_start_as_the_identity(built, gaussian):
    chunk, times, window = inputs(gaussian)
    net = built(ResidualMlp(width=8, blocks=2, embedding=4), PORTS)
    entered = torch.cat([chunk.flatten(1), window.flatten(1)], 1) @ net.enter.weight.T + net.enter.bias
    centred = entered - entered.mean(1, keepdim=True)
    normed = centred / (centred.square().mean(1, keepdim=True) + 1e-5).sqrt()
    expected = normed @ net.head.weight.T + net.head.bias
    torch.testing.assert_close(whole(net, chunk, times, window), expected.view(5, 3, 2))


def test_one_block_by_hand(built, gaussian):
    """The whole network of one block: embedding and condition modulate together what each adds in its own place."""
    net = built(ResidualMlp(width=8, blocks=1, expansion=2, embedding=4), PORTS, shaken=0.1)
    (block,), (chunk, times, window) = net.blocks, inputs(gaussian)
    condition = torch.cat([net.embed(times), window.flatten(1)], 1)
    hidden = net.enter(torch.cat([chunk.flatten(1), window.flatten(1)], 1))
    modulation = condition @ block.film.weight.T + block.film.bias
    centred = hidden - hidden.mean(1, keepdim=True)
    normed = centred / (centred.square().mean(1, keepdim=True) + 1e-5).sqrt()
    before = (normed * (1 + modulation[:, :8])) @ block.expand.weight.T + modulation[:, 8:]
    after = hidden + (before * torch.sigmoid(before)) @ block.contract.weight.T + block.contract.bias
    torch.testing.assert_close(block(hidden, modulation), after)
    torch.testing.assert_close(whole(net, chunk, times, window), net.head(net.norm(after)).view(5, 3, 2))


def test_rows_are_independent_and_every_input_counts(built, gaussian):
    net = built(ResidualMlp(width=16, blocks=2), PORTS, shaken=0.1)
    chunk, times, window = inputs(gaussian)
    together = whole(net, chunk, times, window)
    for row in range(5):
        alone = whole(net, chunk[row, None], times[row, None], window[row, None])
        torch.testing.assert_close(alone[0], together[row], rtol=0, atol=1e-12)
    for other in ((chunk + 1, times, window), (chunk, times + 9, window), (chunk, times, window + 1)):
        assert not torch.allclose(whole(net, *other), together)


@pytest.mark.parametrize("options", [{"embedding": 3}, {"width": 0}, {"blocks": 0}])
def test_refusals(options):
    with pytest.raises(RecipeError, match="expected"):
        ResidualMlp(**options)
