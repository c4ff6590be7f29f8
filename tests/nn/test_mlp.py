"""The FiLM network: its size counted by hand, modulation by hand, rows independent of one another."""

import pytest
import torch

from holdfast.nn import FilmMlp, FilmMlpNet


def size(network: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def test_parameters_of_the_published_network():
    """9 steps of 2 + 6 + 12 numbers, two observations of 6: counted layer by layer."""
    codes, conditions, film = 180, 12, 64 + 12
    embedding = (64 * 256 + 256) + (256 * 64 + 64)
    layers = (192 * 256 + 256) + (256 * 128 + 128) + (128 * 128 + 128) + (128 * 64 + 64)
    films = sum((film + 1) * 2 * width for width in (256, 128, 128, 64))
    head = 64 * codes + codes
    sound = FilmMlpNet(FilmMlp(), n_codes=codes, n_conditions=conditions)
    assert size(sound) == embedding + layers + films + head
    defect = FilmMlpNet(FilmMlp(scalar_film_bias=True), n_codes=codes, n_conditions=conditions)
    # one shift a layer in place of one a unit
    assert size(sound) - size(defect) == (film + 1) * ((256 - 1) + (128 - 1) + (128 - 1) + (64 - 1))


@pytest.mark.parametrize("scalar_film_bias", [False, True])
def test_one_layer_by_hand(gaussian, scalar_film_bias):
    options = FilmMlp(widths=(5,), embedding=4, bounded=False, scalar_film_bias=scalar_film_bias)
    network = FilmMlpNet(options, n_codes=3, n_conditions=2).double()
    code, condition, level = gaussian(0, 7, 3), gaussian(1, 7, 2), torch.arange(7)
    # frequencies 1 and 1/10000
    waves = [[f(k * w) for f in (torch.sin, torch.cos) for w in (1.0, 1e-4)] for k in level.double()]
    c = torch.cat([network.embed(torch.tensor(waves, dtype=torch.float64)), condition], 1)
    film, layer = network.films[0], network.layers[0]
    hidden = torch.relu(torch.cat([code, condition], 1) @ layer.weight.T + layer.bias)
    modulation = c @ film.weight.T + film.bias
    expected = network.head(hidden * (1 + modulation[:, :5]) + modulation[:, 5:])
    # the embedding is computed in single precision
    torch.testing.assert_close(network(code, level, condition), expected, rtol=0, atol=1e-6)
    assert modulation.shape[1] == (6 if scalar_film_bias else 10)


@pytest.mark.parametrize("activation", ["relu", "mish"])
def test_a_batch_of_one_is_a_slice_of_the_batch(gaussian, activation):
    network = FilmMlpNet(FilmMlp(widths=(16, 8), activation=activation), n_codes=6, n_conditions=4).double()
    code, condition, level = gaussian(0, 5, 6), gaussian(1, 5, 4), torch.tensor([0, 3, 50, 98, 99])
    together = network(code, level, condition)
    for row in range(5):
        alone = network(code[row, None], level[row, None], condition[row, None])
        torch.testing.assert_close(alone[0], together[row], rtol=0, atol=1e-12)


def test_bounded_outputs_and_what_they_depend_on(gaussian):
    network = FilmMlpNet(FilmMlp(widths=(16,)), n_codes=6, n_conditions=4).double()
    code, condition, level = 100 * gaussian(0, 5, 6), gaussian(1, 5, 4), torch.arange(5)
    out = network(code, level, condition)
    assert float(out.detach().abs().max()) <= 1
    for other in (network(code + 1, level, condition), network(code, level + 9, condition)):
        assert not torch.allclose(other, out)
    assert not torch.allclose(network(code, level, condition + 1), out)


def test_the_linear_skip_starts_at_nothing_and_is_linear_in_the_condition(gaussian):
    def network(linear_skip):
        with torch.random.fork_rng():
            torch.manual_seed(0)
            options = FilmMlp(widths=(16,), bounded=False, linear_skip=linear_skip)
            return FilmMlpNet(options, n_codes=6, n_conditions=4).double()

    code, condition, level = gaussian(0, 5, 6), gaussian(1, 5, 4), torch.arange(5)
    plain, skipping = network(False), network(True)
    base = plain(code, level, condition)
    assert torch.equal(skipping(code, level, condition), base)
    matrix = gaussian(2, 6, 4)
    skipping.skip.weight.data = matrix
    torch.testing.assert_close(skipping(code, level, condition), base + condition @ matrix.T)
    assert size(skipping) - size(plain) == 6 * 4
