"""What the tests of all networks share: a network by seed, and one away from its start."""

import pytest
import torch


@pytest.fixture
def built():
    """The network of options and ports in double precision: built(options, ports, seed=0, shaken=0.0).

    `shaken` is the standard deviation of what is added to every parameter: many start at zero, where nothing counts.
    """

    def build(options, ports, seed=0, *, shaken=0.0):
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            network = options.build(ports).double()
            with torch.no_grad():
                for parameter in network.parameters():
                    parameter += shaken * torch.randn_like(parameter)
        return network

    return build


@pytest.fixture
def size():
    """The number of a network's parameters."""
    return lambda network: sum(parameter.numel() for parameter in network.parameters())
