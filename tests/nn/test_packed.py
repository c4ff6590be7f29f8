"""Packed networks: the same answers, the same parameters, gradients where they are asked for."""

from dataclasses import replace

import pytest
import torch

from holdfast.errors import RecipeError
from holdfast.nn import FilmMlp, Ports, Transformer, UNet1d
from holdfast.nn.fast import packing
from holdfast.nn.fast.packing import can_be_packed, packed, packs_bfloat16

PORTS = Ports(horizon=8, n_in=3, n_out=3, n_times=1, n_obs_steps=2, n_observed=4)
UNET = UNet1d(channels=(16, 32), groups=4, embedding=16)


@pytest.fixture
def single(built):
    """Networks in single precision, away from their first weights."""
    return lambda options: built(options, PORTS, shaken=0.05).float()


def answers(network, batch=2):
    rng = torch.Generator().manual_seed(0)
    chunk, window = torch.randn(batch, 8, 3, generator=rng), torch.randn(batch, 2, 4, generator=rng)
    times = 100 * torch.rand(batch, 1, generator=rng)
    return network(chunk, times, network.encode(window))


@pytest.mark.parametrize("options", [UNET, FilmMlp(), Transformer()])
@pytest.mark.parametrize("batch", [1, 2, 40])
@torch.no_grad()
def test_the_same_up_to_rounding(single, options, batch):
    network = single(options)
    torch.testing.assert_close(answers(packed(network), batch), answers(network, batch), rtol=1e-4, atol=1e-5)


needs_bfloat16 = pytest.mark.skipif(not packs_bfloat16(), reason="this processor cannot pack weights in bfloat16")


def test_bfloat16_is_refused_without_its_instructions(single, monkeypatch):
    monkeypatch.setattr(packing, "packs_bfloat16", lambda: False)
    with pytest.raises(RecipeError, match="Pack them in float32"):
        packed(single(UNET), "bfloat16")


@needs_bfloat16
@pytest.mark.parametrize("batch", [1, 40])
@torch.no_grad()
def test_half_as_many_bytes_cost_half_as_many_digits(single, batch):
    network = single(UNET)
    exact = answers(network, batch)
    error = (answers(packed(network, "bfloat16"), batch) - exact).std() / exact.std()
    # a product of numbers of 8 bits, and about ten of them one after another
    assert 2**-12 < error < 10 * 2**-8


def test_parameters_are_shared_and_gradients_are_those_of_the_network(single):
    network = single(UNET)
    ready = packed(network, "bfloat16" if packs_bfloat16() else "float32")
    names = dict(network.named_parameters())
    assert all(value is names[name] for name, value in ready.named_parameters())
    assert torch.equal(answers(ready), answers(network))
    slopes = [torch.autograd.grad(answers(one).square().sum(), list(names.values())) for one in (ready, network)]
    torch.testing.assert_close(*slopes)


@torch.no_grad()
def test_networks_without_times_are_packed_as_well(built):
    """As regression calls them: there is nothing to pack in the modulation by times."""
    network = built(UNET, replace(PORTS, n_times=0), shaken=0.05).float()
    chunk, window = torch.ones(2, 8, 3), torch.ones(2, 2, 4)
    found = [one(chunk, torch.zeros(2, 0), one.encode(window)) for one in (network, packed(network))]
    torch.testing.assert_close(*found, rtol=1e-4, atol=1e-5)


def test_what_can_be_packed(single):
    network = UNET.build(PORTS)
    assert can_be_packed(network) == torch.backends.mkldnn.is_available()
    assert not can_be_packed(network.double())
