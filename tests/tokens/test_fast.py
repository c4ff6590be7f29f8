"""FAST: its transform, its rounding, its compression, and that no code of it is malformed."""

import re

import numpy as np
import pytest
import scipy.fft
import torch
from tokenizers import Tokenizer as BytePairs

from holdfast.errors import RecipeError
from holdfast.seeding import stream
from holdfast.tokens import Fast, fit_tokenizer
from holdfast.tokens.fast import FIRST, cosines


def coefficients(tokenizer, chunks):
    """What is rounded, by scipy."""
    low, high = (tokenizer.tables[name].numpy() for name in ("low", "high"))
    scaled = 2 * (chunks.numpy() - low) / (high - low) - 1
    return tokenizer.options.scale * scipy.fft.dct(scaled, axis=1, norm="ortho")


def noise(count, steps=8, width=3):
    return torch.randn(count, steps, width, generator=stream(0, "tests", "fast"), dtype=torch.float64) / 3


@pytest.mark.parametrize("steps", [1, 2, 5, 16])
def test_the_transform_is_scipys(steps):
    values = noise(1, steps)[0].numpy()
    assert np.allclose(cosines(steps).numpy() @ values, scipy.fft.dct(values, axis=0, norm="ortho"), atol=1e-13)


def test_quantiles_become_one(smooth):
    chunks = smooth(500)
    tokenizer = fit_tokenizer(Fast(), chunks, seed=0)
    for name, share in (("low", 0.01), ("high", 0.99)):
        assert np.allclose(tokenizer.tables[name].numpy(), np.quantile(chunks.numpy(), share, axis=(0, 1)))


def test_integers_lowest_frequency_of_all_coordinates_first(smooth):
    chunks = smooth(200)
    tokenizer = fit_tokenizer(Fast(), chunks, seed=0)
    tokens = tokenizer.encode(chunks[:20])
    spelled = BytePairs.from_str(tokenizer.tables["merges"].numpy().tobytes().decode())
    expected = np.rint(coefficients(tokenizer, chunks[:20])).reshape(20, -1)
    for ids, mask, integers in zip(tokens.ids, tokens.mask, expected, strict=True):
        letters = "".join(spelled.id_to_token(int(token)) for token in ids[mask])
        assert [ord(letter) - FIRST + int(tokenizer.tables["integers"][0]) for letter in letters] == integers.tolist()


def test_the_error_is_that_of_rounding():
    chunks = noise(2000)
    tokenizer = fit_tokenizer(Fast(scale=20.0, vocabulary=2000), chunks, seed=0)
    decoded = tokenizer.decode(tokenizer.encode(chunks))
    missed = coefficients(tokenizer, decoded) - coefficients(tokenizer, chunks)
    assert np.abs(missed).max() <= 0.5 + 1e-9
    # coefficients of noise are busy, so what rounding takes is uniform; an orthonormal transform keeps its size
    half = (tokenizer.tables["high"] - tokenizer.tables["low"]) / 2
    rms = ((decoded - chunks) / half).square().mean().sqrt()
    assert float(rms) == pytest.approx(1 / (20 * np.sqrt(12)), rel=0.02)
    assert tokenizer.saturated(chunks).tolist() == [0, 0, 0]


def test_each_integer_has_a_token(smooth):
    chunks = smooth(200)
    tokenizer = fit_tokenizer(Fast(vocabulary=400), chunks, seed=0)
    rounded = np.rint(coefficients(tokenizer, chunks))
    smallest, largest = tokenizer.tables["integers"].tolist()
    assert (smallest, largest) == (rounded.min(), rounded.max())
    assert int((tokenizer.spans == 1).sum()) == largest - smallest + 1
    assert tokenizer.vocabulary <= 400
    assert tokenizer.cells == tokenizer.length == 20
    # an integer between the extremes that was never seen can still be said: a chunk of it alone comes back
    unseen = sorted(set(range(smallest, largest + 1)) - set(rounded.flatten().astype(int).tolist()))
    low, high = tokenizer.tables["low"].numpy(), tokenizer.tables["high"].numpy()
    for integer in [*unseen, smallest, largest]:
        frequencies = np.zeros((1, 10, 2))
        frequencies[0, 3, 1] = integer / 10
        made = low + (high - low) * (scipy.fft.idct(frequencies, axis=1, norm="ortho") + 1) / 2
        made = torch.as_tensor(made)
        assert torch.allclose(tokenizer.decode(tokenizer.encode(made)), made, atol=1e-12)


def test_integers_beyond_the_range_are_clipped_and_counted(smooth):
    tokenizer = fit_tokenizer(Fast(), smooth(200), seed=0)
    still = (tokenizer.tables["low"] + (tokenizer.tables["high"] - tokenizer.tables["low"]) / 2).expand(1, 10, 2)
    far = still.clone()
    far[..., 1] += 1000
    # a constant has one coefficient that is not zero: one in ten of that coordinate's
    assert tokenizer.saturated(far).tolist() == pytest.approx([0, 0.1])
    decoded = tokenizer.decode(tokenizer.encode(far))
    # every coefficient else is zero, and the first one is the largest there is
    half = float(tokenizer.tables["high"][1] - tokenizer.tables["low"][1]) / 2
    expected = float(still[0, 0, 1]) + half * int(tokenizer.tables["integers"][1]) / 10 / np.sqrt(10)
    assert decoded[0, :, 1].tolist() == pytest.approx([expected] * 10)


def test_codes_hardly_grow_with_the_rate(smooth):
    """The pattern of the paper's Table I: the faster the control, the more is saved: 1.75 times at 5 Hz, 13 at 50."""
    ratios = []
    for rate in (5, 10, 20, 50):
        chunks = smooth(1200, rate=rate, width=7)
        tokenizer = fit_tokenizer(Fast(), chunks[:1000], seed=0, dt=1 / rate)
        ratios.append(rate * 7 / float(tokenizer.encode(chunks[1000:]).lengths.double().mean()))
    assert ratios == sorted(ratios)
    assert ratios[0] > 1
    # ten times the numbers, at most two and a half times the tokens
    assert ratios[-1] > 4 * ratios[0]


def test_constant_coordinates(smooth):
    chunks = smooth(200)
    chunks[..., 1] = 0.25
    tokenizer = fit_tokenizer(Fast(), chunks, seed=0)
    assert torch.equal(tokenizer.decode(tokenizer.encode(chunks))[..., 1], chunks[..., 1])


def test_a_vocabulary_too_small(smooth):
    chunks = smooth(200)
    chunks[3, 4, 1] = 50
    with pytest.raises(
        RecipeError, match=r"integers from (-?\d+) to (\d+), and .* of 20 .* Coordinate 1 .*"
    ) as refused:
        fit_tokenizer(Fast(vocabulary=20), chunks, seed=0)
    smallest, largest = map(int, re.findall(r"from (-?\d+) to (\d+)", str(refused.value))[0])
    assert f"Set vocabulary to {largest - smallest + 1} or more" in str(refused.value)
    assert fit_tokenizer(Fast(vocabulary=largest - smallest + 1), chunks, seed=0).vocabulary == largest - smallest + 1
