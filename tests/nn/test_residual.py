"""The residual network: its size counted by hand, blocks that start as the identity, rows independent."""

import pytest
import torch

from holdfast.errors import RecipeError
from holdfast.nn import ResidualMlp, ResidualMlpNet


def network(**options):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return ResidualMlpNet(ResidualMlp(**options), n_codes=6, n_conditions=4).double()


def shaken(net):
    """The network away from its start, where the blocks do something."""
    with torch.no_grad(), torch.random.fork_rng():
        torch.manual_seed(1)
        for parameter in net.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    return net


def test_size_by_hand():
    """Width 8, inner width 24, embedding 4: counted layer by layer."""
    embedding = (4 * 16 + 16) + (16 * 4 + 4)
    block = (8 * 24) + (24 * 8 + 8) + ((4 + 4) * (8 + 24) + (8 + 24))
    ends = (10 * 8 + 8) + (8 + 8) + (8 * 6 + 6)
    net = network(width=8, blocks=3, expansion=3, embedding=4)
    assert sum(parameter.numel() for parameter in net.parameters()) == embedding + 3 * block + ends


def test_blocks_start_as_the_identity(gaussian):
    code, condition, level = gaussian(0, 5, 6), gaussian(1, 5, 4), torch.arange(5)
    net = network(width=8, blocks=2, embedding=4)
    entered = torch.cat([code, condition], 1) @ net.enter.weight.T + net.enter.bias
    centred = entered - entered.mean(1, keepdim=True)
    normed = centred / (centred.square().mean(1, keepdim=True) + 1e-5).sqrt()
    torch.testing.assert_close(net(code, level, condition), normed @ net.head.weight.T + net.head.bias)


def test_one_block_by_hand(gaussian):
    net = shaken(network(width=8, blocks=1, expansion=2, embedding=4))
    (block,) = net.blocks
    hidden, condition = gaussian(0, 5, 8), gaussian(1, 5, 8)
    modulation = condition @ block.film.weight.T + block.film.bias
    centred = hidden - hidden.mean(1, keepdim=True)
    normed = centred / (centred.square().mean(1, keepdim=True) + 1e-5).sqrt()
    before = (normed * (1 + modulation[:, :8])) @ block.expand.weight.T + modulation[:, 8:]
    after = before * torch.sigmoid(before)
    torch.testing.assert_close(block(hidden, condition), hidden + after @ block.contract.weight.T + block.contract.bias)


def test_rows_are_independent_and_every_input_counts(gaussian):
    net = shaken(network(width=16, blocks=2))
    code, condition, level = gaussian(0, 5, 6), gaussian(1, 5, 4), torch.tensor([0, 3, 50, 98, 99])
    together = net(code, level, condition)
    for row in range(5):
        alone = net(code[row, None], level[row, None], condition[row, None])
        torch.testing.assert_close(alone[0], together[row], rtol=0, atol=1e-12)
    for other in (net(code + 1, level, condition), net(code, level + 9, condition), net(code, level, condition + 1)):
        assert not torch.allclose(other, together)


@pytest.mark.parametrize("options", [{"embedding": 3}, {"width": 0}, {"blocks": 0}])
def test_refusals(options):
    with pytest.raises(RecipeError, match="expected"):
        ResidualMlp(**options)
