"""The FiLM network: its size counted by hand, modulation by hand, what is bounded, the linear skip."""

import pytest
import torch

from holdfast.errors import RecipeError
from holdfast.nn import FilmMlp, Ports

SMALL = Ports(horizon=3, n_in=2, n_out=2, n_times=1, n_obs_steps=2, n_observed=2)


def inputs(gaussian, ports=SMALL, batch=5):
    """Chunk, times, window."""
    times = torch.arange(batch * ports.n_times, dtype=torch.float64).view(batch, ports.n_times)
    return gaussian(0, batch, ports.horizon, ports.n_in), times, gaussian(1, batch, ports.n_obs_steps, ports.n_observed)


def whole(network, chunk, times, window):
    return network(chunk, times, network.encode(window))


def test_parameters_of_the_published_network(built, size):
    """9 steps of 2 + 6 + 12 numbers, two observations of 6: counted layer by layer."""
    ports = Ports(horizon=9, n_in=20, n_out=20, n_times=1, n_obs_steps=2, n_observed=6)
    codes, film = 180, 64 + 12
    embedding = (64 * 256 + 256) + (256 * 64 + 64)
    layers = (192 * 256 + 256) + (256 * 128 + 128) + (128 * 128 + 128) + (128 * 64 + 64)
    films = sum((film + 1) * 2 * width for width in (256, 128, 128, 64))
    head = 64 * codes + codes
    sound, defect = built(FilmMlp(), ports), built(FilmMlp(scalar_film_bias=True), ports)
    assert size(sound) == embedding + layers + films + head
    # one shift a layer in place of one a unit
    assert size(sound) - size(defect) == (film + 1) * ((256 - 1) + (128 - 1) + (128 - 1) + (64 - 1))


def test_size_follows_what_goes_in_and_out(built, size):
    """Without times there is no embedding; what goes in weighs on the first layer, what comes out on the last."""
    options = FilmMlp(widths=(16,), embedding=8)
    plain = size(built(options, SMALL))
    timeless = size(built(options, Ports(horizon=3, n_in=2, n_out=2, n_obs_steps=2, n_observed=2)))
    assert plain - timeless == (8 * 32 + 32) + (32 * 8 + 8) + 8 * 2 * 16
    two_times = size(built(options, Ports(horizon=3, n_in=2, n_out=2, n_times=2, n_obs_steps=2, n_observed=2)))
    assert two_times - plain == 8 * 32
    wider = size(built(options, Ports(horizon=3, n_in=3, n_out=4, n_times=1, n_obs_steps=2, n_observed=2)))
    assert wider - plain == 3 * 1 * 16 + 3 * 2 * (16 + 1)


@pytest.mark.parametrize("scalar_film_bias", [False, True])
def test_one_layer_by_hand(built, gaussian, scalar_film_bias):
    options = FilmMlp(widths=(5,), embedding=4, bounded=False, scalar_film_bias=scalar_film_bias)
    ports = Ports(horizon=3, n_in=1, n_out=2, n_times=1, n_observed=2)
    network, (chunk, times, window) = built(options, ports), inputs(gaussian, ports, batch=7)
    # frequencies 1 and 1/10000
    waves = [[f(k * w) for f in (torch.sin, torch.cos) for w in (1.0, 1e-4)] for k in times[:, 0]]
    expand, activation, contract = network.embed.layers
    embedded = contract(activation(expand(torch.tensor(waves, dtype=torch.float64))))
    c = torch.cat([embedded, window[:, 0]], 1)
    film, layer = network.films[0], network.layers[0]
    hidden = torch.relu(torch.cat([chunk[..., 0], window[:, 0]], 1) @ layer.weight.T + layer.bias)
    modulation = c @ film.weight.T + film.bias
    expected = network.head(hidden * (1 + modulation[:, :5]) + modulation[:, 5:])
    found = whole(network, chunk, times, window)
    torch.testing.assert_close(found, expected.view(7, 3, 2), rtol=0, atol=1e-12)
    assert modulation.shape[1] == (6 if scalar_film_bias else 10)


@pytest.mark.parametrize("activation", ["relu", "mish"])
def test_a_batch_of_one_is_a_slice_of_the_batch(built, gaussian, activation):
    network = built(FilmMlp(widths=(16, 8), activation=activation), SMALL)
    chunk, times, window = inputs(gaussian)
    together = whole(network, chunk, times, window)
    for row in range(5):
        alone = whole(network, chunk[row, None], times[row, None], window[row, None])
        torch.testing.assert_close(alone[0], together[row], rtol=0, atol=1e-12)


def test_bounded_outputs_and_what_they_depend_on(built, gaussian):
    network, (chunk, times, window) = built(FilmMlp(widths=(16,)), SMALL), inputs(gaussian)
    chunk = 100 * chunk
    out = whole(network, chunk, times, window)
    assert float(out.detach().abs().max()) <= 1
    for other in ((chunk + 1, times, window), (chunk, times + 9, window), (chunk, times, window + 1)):
        assert not torch.allclose(whole(network, *other), out)


def test_the_linear_skip_starts_at_nothing_and_is_linear_in_the_condition(built, gaussian, size):
    plain, skipping = (built(FilmMlp(widths=(16,), bounded=False, linear_skip=skip), SMALL) for skip in (False, True))
    given = inputs(gaussian)
    base = whole(plain, *given)
    assert torch.equal(whole(skipping, *given), base)
    matrix = gaussian(2, 6, 4)
    skipping.skip.weight.data = matrix
    torch.testing.assert_close(whole(skipping, *given), base + (given[2].flatten(1) @ matrix.T).view(5, 3, 2))
    assert size(skipping) - size(plain) == 6 * 4


@pytest.mark.parametrize("options", [{"embedding": 5}, {"widths": ()}, {"widths": (8, 0)}])
def test_refusals(options):
    with pytest.raises(RecipeError, match="expected"):
        FilmMlp(**options)
