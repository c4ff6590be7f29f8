"""What holds of every network, whatever it is built of, for every kind of times and of chunk."""

import pytest
import torch
from torch.func import functional_call, vmap

from holdfast.nn import NETWORKS, Dit, FilmMlp, Lstm, Ports, Recurrent, ResidualMlp, Transformer, UNet1d

OPTIONS = [
    FilmMlp(widths=(16, 8), embedding=8, activation="mish"),
    FilmMlp(widths=(16, 8), embedding=8, activation="mish", bounded=False, linear_skip=True),
    ResidualMlp(width=16, blocks=2, embedding=8),
    UNet1d(channels=(8, 16), groups=4, embedding=8),
    UNet1d(channels=(8, 8, 16), kernel=3, groups=2, embedding=8),
    Transformer(layers=2, heads=2, width=8, embedding=8),
    Transformer(layers=1, heads=2, width=8, encoder_layers=0, embedding=8, causal=True),
    Dit(layers=2, heads=2, width=8, embedding=8),
    Lstm(layers=2, width=12, embedding=8),
    Recurrent(layers=2, width=12, embedding=8),
]
PORTS = [
    Ports(horizon=horizon, n_in=3, n_out=2, n_times=n_times, n_obs_steps=2, n_observed=4)
    for horizon in (1, 7, 16)
    for n_times in sorted({0, 1, 2, horizon, 2 * horizon})
]


def test_the_whole_table_is_in_this_suite():
    assert {type(options) for options in NETWORKS.values()} <= set(map(type, OPTIONS))


every = pytest.mark.parametrize("options", OPTIONS, ids=lambda options: type(options).__name__)
everywhere = pytest.mark.parametrize("ports", PORTS, ids=lambda ports: f"{ports.horizon}-{ports.n_times}")


@pytest.fixture
def inputs(gaussian):
    """Chunk, times, window of a batch of four."""

    def draw(ports, batch=4):
        times = 50 + 20 * gaussian(1, batch, ports.n_times)
        return (
            gaussian(0, batch, ports.horizon, ports.n_in),
            times,
            gaussian(2, batch, ports.n_obs_steps, ports.n_observed),
        )

    return draw


def whole(network, chunk, times, window):
    return network(chunk, times, network.encode(window))


@every
@everywhere
def test_shape_and_independent_rows(built, inputs, options, ports):
    network, (chunk, times, window) = built(options, ports, shaken=0.2), inputs(ports)
    together = whole(network, chunk, times, window)
    assert together.shape == (4, ports.horizon, ports.n_out)
    for row in range(4):
        alone = whole(network, chunk[row, None], times[row, None], window[row, None])
        torch.testing.assert_close(alone[0], together[row], rtol=0, atol=1e-10)


@every
@everywhere
def test_every_number_that_goes_in_counts_and_every_parameter(built, inputs, gaussian, options, ports):
    """The derivative of a mixture of the outputs by each input number and by each parameter tensor is not zero."""
    network = built(options, ports, shaken=0.2)
    given = [value.requires_grad_() for value in inputs(ports)]
    mixture = (whole(network, *given) * gaussian(3, 4, ports.horizon, ports.n_out)).sum()
    parameters = dict(network.named_parameters())
    slopes = torch.autograd.grad(mixture, [*given, *parameters.values()])
    for slope in slopes[:3]:
        assert bool((slope != 0).all())
    assert not [name for name, slope in zip(parameters, slopes[3:], strict=True) if not slope.any()]


@every
@everywhere
def test_calls_leave_the_memory_as_it_was(built, inputs, options, ports):
    network, (chunk, times, window) = built(options, ports, shaken=0.2), inputs(ports)
    memory = network.encode(window)
    before, first = memory.clone(), network(chunk, times, memory)
    network(chunk + 1, times + 1, memory)
    assert torch.equal(memory, before)
    assert memory.shape[0] == 4
    assert torch.equal(network(chunk, times, memory), first)
    assert torch.equal(whole(network, chunk, times, window), first)
    assert torch.equal(network.blank(memory), torch.zeros_like(chunk))


class Whole(torch.nn.Module):
    """Window to output in one call, as a loss makes it."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, *given):
        return whole(self.network, *given)


@every
@everywhere
def test_variants_side_by_side_equal_each_alone(built, inputs, options, ports):
    networks, given = [built(options, ports, seed, shaken=0.2) for seed in (0, 1)], inputs(ports)
    both = [dict(Whole(network).named_parameters()) for network in networks]
    stacked = {name: torch.stack([parameters[name] for parameters in both]).detach() for name in both[0]}

    def loss(parameters):
        out = functional_call(Whole(networks[0]), parameters, given)
        return out.square().sum(), out

    slopes, out = vmap(torch.func.grad(loss, has_aux=True))(stacked)
    for index, network in enumerate(networks):
        alone = whole(network, *given)
        torch.testing.assert_close(out[index], alone, rtol=0, atol=1e-10)
        expected = torch.autograd.grad(alone.square().sum(), list(network.parameters()))
        for name, slope in zip(both[0], expected, strict=True):
            torch.testing.assert_close(slopes[name][index], slope, rtol=1e-8, atol=1e-8)


@every
def test_derivative_along_the_times(built, inputs, options):
    """Forward-mode, as MeanFlow takes it, against a difference quotient."""
    ports = Ports(horizon=7, n_in=3, n_out=2, n_times=2, n_obs_steps=2, n_observed=4)
    network, (chunk, times, window) = built(options, ports, shaken=0.2), inputs(ports)
    memory = network.encode(window).detach()
    _, slope = torch.func.jvp(lambda at: network(chunk, at, memory), (times,), (torch.ones_like(times),))
    with torch.no_grad():
        quotient = (network(chunk, times + 1e-5, memory) - network(chunk, times - 1e-5, memory)) / 2e-5
    torch.testing.assert_close(slope.detach(), quotient, rtol=1e-5, atol=1e-6)


@every
def test_half_precision_comes_close(built, inputs, options):
    ports = Ports(horizon=7, n_in=3, n_out=2, n_times=1, n_obs_steps=2, n_observed=4)
    network, given = built(options, ports, shaken=0.1).float(), [value.float() for value in inputs(ports)]
    exact = whole(network, *given)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = whole(network, *given)
    torch.testing.assert_close(rounded.float(), exact, rtol=0, atol=0.1 * float(exact.detach().std()))
    slopes = torch.autograd.grad(rounded.float().square().sum(), list(network.parameters()))
    assert all(bool(slope.isfinite().all()) and slope.dtype == torch.float32 for slope in slopes)


@every
def test_equal_seeds_build_equal_networks(built, options):
    same, other = (built(options, PORTS[1], seed).state_dict() for seed in (0, 1))
    again = built(options, PORTS[1], 0).state_dict()
    assert all(torch.equal(same[name], again[name]) for name in same)
    assert any(not torch.equal(same[name], other[name]) for name in same)


@pytest.mark.parametrize(
    "options", {type(options): options for options in OPTIONS}.values(), ids=lambda o: type(o).__name__
)
def test_it_learns_a_linear_feedback(built, gaussian, options):
    """Sixty updates take away more than half of the error of a chunk that is linear in the newest observation."""
    ports = Ports(horizon=4, n_in=3, n_out=2, n_times=1, n_obs_steps=2, n_observed=4)
    network, matrix = built(options, ports).float(), 0.1 * gaussian(0, 8, 4).float()
    window, chunk, times = gaussian(1, 32, 2, 4).float(), gaussian(2, 32, 4, 3).float(), torch.full((32, 1), 30.0)
    wanted = (window[:, -1] @ matrix.T).view(32, 4, 2)
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-2)
    for _ in range(60):
        loss = (whole(network, chunk, times, window) - wanted).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert float(loss.detach()) < 0.5 * float(wanted.square().mean())
