"""The U-Net: its size and a block by hand, chunks of any length, what modulation does."""

import contextlib

import pytest
import torch

from holdfast.errors import RecipeError
from holdfast.nn import Ports, UNet1d

SMALL = UNet1d(channels=(8, 16, 24), groups=4, embedding=8)


def ports(horizon, n_times=1):
    return Ports(horizon=horizon, n_in=3, n_out=2, n_times=n_times, n_obs_steps=2, n_observed=4)


def convolved(x, layer):
    """A convolution, number by number: y[c, t] = b[c] + Σ_{a, j} W[c, a, j] x[a, t + j − 2], zero outside."""
    weight, steps = layer.weight, x.shape[1]
    out = layer.bias[:, None].repeat(1, steps)
    for t in range(steps):
        for j in range(5):
            if 0 <= t + j - 2 < steps:
                out[:, t] = out[:, t] + weight[:, :, j] @ x[:, t + j - 2]
    return out


def normed(x, layer):
    """Four groups of channels, each centred and scaled over its channels and steps."""
    groups = x.view(4, -1)
    centred = groups - groups.mean(1, keepdim=True)
    scaled = centred / (centred.square().mean(1, keepdim=True) + 1e-5).sqrt()
    return scaled.view_as(x) * layer.weight[:, None] + layer.bias[:, None]


def mish(x):
    return x * torch.tanh(torch.log1p(torch.exp(x)))


def test_a_block_by_hand(built, gaussian):
    net = built(SMALL, ports(6), shaken=0.2)
    block = net.down[1].blocks[0]
    x, modulation = gaussian(0, 1, 8, 6), gaussian(1, 1, 32)
    hidden = mish(normed(convolved(x[0], block.first.convolve), block.first.norm))
    hidden = (1 + modulation[0, :16, None]) * hidden + modulation[0, 16:, None]
    hidden = mish(normed(convolved(hidden, block.second.convolve), block.second.norm))
    shortcut = block.shortcut.weight[:, :, 0] @ x[0] + block.shortcut.bias[:, None]
    torch.testing.assert_close(block(x, iter([modulation]))[0], hidden + shortcut)


def test_size_by_hand(built, size):
    """Blocks, changes of length, ends and one layer for all modulations, counted as the paper draws them."""

    def block(a, b):
        first, second, norms = 5 * a * b + b, 5 * b * b + b, 4 * b
        return first + second + norms + (a * b + b if a != b else 0)

    def level(a, b):
        return block(a, b) + block(b, b)

    down = level(3, 8) + level(8, 16) + level(16, 24) + (3 * 8 * 8 + 8) + (3 * 16 * 16 + 16)
    up = level(2 * 24, 16) + level(2 * 16, 8) + (4 * 16 * 16 + 16) + (4 * 8 * 8 + 8)
    ends = (5 * 8 * 8 + 8 + 2 * 8) + (8 * 2 + 2)
    embedding = (8 * 32 + 32) + (32 * 8 + 8)
    # two modulations a channel and block: levels 8, 16, 24 down, 24 at the bottom, 16 and 8 up; two blocks each
    modulations = (8 + 2 * 4 + 1) * 2 * 2 * (8 + 16 + 24 + 24 + 16 + 8)
    assert size(built(SMALL, ports(16))) == down + level(24, 24) + up + ends + embedding + modulations


@pytest.mark.parametrize(("horizon", "longer"), [(1, 4), (2, 4), (7, 8), (13, 16)])
def test_a_chunk_that_cannot_be_halved_is_lengthened_by_its_last_step(built, gaussian, horizon, longer):
    short, long = built(SMALL, ports(horizon), shaken=0.2), built(SMALL, ports(longer), shaken=0.2)
    chunk, times, window = gaussian(0, 4, horizon, 3), 50 + gaussian(1, 4, 1), gaussian(2, 4, 2, 4)
    repeated = torch.cat([chunk, *[chunk[:, -1:]] * (longer - horizon)], 1)
    expected = long(repeated, times, long.encode(window))[:, :horizon]
    torch.testing.assert_close(short(chunk, times, short.encode(window)), expected)


def test_modulation_of_zero_lets_neither_times_nor_observations_count(built, gaussian):
    net = built(SMALL, ports(8), shaken=0.2)
    chunk, times, window = gaussian(0, 4, 8, 3), 50 + gaussian(1, 4, 1), gaussian(2, 4, 2, 4)

    def out(times, window):
        return net(chunk, times, net.encode(window))

    assert not torch.allclose(out(times, window), out(times + 5, window))
    assert not torch.allclose(out(times, window), out(times, window + 1))
    net.film.weight.data.zero_()
    assert torch.equal(out(times, window), out(times + 5, window + 1))


def test_modulation_by_hand(built, gaussian):
    """The layer of all modulations reads mish of [embedded times, observations], each part in its own call."""
    net = built(SMALL, ports(8), shaken=0.2)
    times, window = 50 + gaussian(1, 4, 1), gaussian(2, 4, 2, 4)
    expected = net.film(mish(torch.cat([net.embed(times), window.flatten(1)], 1)))
    handed = []
    net.down[0].register_forward_pre_hook(lambda level, given: handed.extend(given[1]))
    # the hook leaves none for the blocks
    with contextlib.suppress(StopIteration):
        net(gaussian(0, 4, 8, 3), times, net.encode(window))
    assert [part.shape[1] for part in handed] == [2 * n for n in (8, 8, 16, 16, 24, 24, 24, 24, 16, 16, 8, 8)]
    torch.testing.assert_close(torch.cat(handed, 1), expected)


@pytest.mark.parametrize("options", [{"channels": (8, 12)}, {"channels": ()}, {"kernel": 4}, {"groups": 0}])
def test_refusals(options):
    with pytest.raises(RecipeError, match="expected"):
        UNet1d(**options)
