"""Uniform bins: what is lost inside the range and beyond it."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.tokens import Binning, fit_tokenizer


@settings(max_examples=60, deadline=None)
@given(
    bins=st.integers(1, 300),
    low=st.floats(-1, 0.5),
    extent=st.floats(1e-3, 2),
    places=st.lists(st.floats(0, 1), min_size=1, max_size=20),
)
def test_half_a_bin_inside_the_range(bins, low, extent, places):
    fitted = torch.tensor([low, low + extent], dtype=torch.float64).view(1, 2, 1)
    tokenizer = fit_tokenizer(Binning(bins=bins, low=0.0, high=1.0), fitted, seed=0)
    values = low + extent * torch.tensor(places, dtype=torch.float64)
    chunks = values.view(-1, 1, 1).expand(-1, 2, 1)
    decoded = tokenizer.decode(tokenizer.encode(chunks))
    assert float((decoded - chunks).abs().max()) <= extent / bins / 2 + 1e-12
    # what was decoded is a centre, which stays itself
    assert torch.equal(tokenizer.encode(decoded).ids, tokenizer.encode(chunks).ids)


def test_as_many_centres_as_bins():
    chunks = torch.linspace(-1, 1, 20_000, dtype=torch.float64).view(-1, 2, 1)
    # the published 256 edges between -1 and 1
    edges = np.linspace(-1, 1, 256)
    centres = (edges[1:] + edges[:-1]) / 2
    for bins, expected in ((255, 255), (256, 256)):
        tokenizer = fit_tokenizer(Binning(bins=bins, low=0.0, high=1.0), chunks, seed=0)
        decoded = tokenizer.decode(tokenizer.encode(chunks)).unique()
        assert len(decoded) == expected == tokenizer.vocabulary
        if bins == 255:
            assert np.allclose(decoded.numpy(), centres, atol=1e-12)


def test_openvla_places(smooth):
    """The published rule: np.digitize over edges between quantiles, clipped to the bins."""
    chunks = smooth(300)
    tokenizer = fit_tokenizer(Binning(bins=255), chunks, seed=0)
    expected = np.empty(chunks.shape, dtype=np.int64)
    for place in range(2):
        values = chunks[..., place].numpy()
        edges = np.linspace(np.quantile(values, 0.01), np.quantile(values, 0.99), 256)
        expected[..., place] = np.clip(np.digitize(values, edges) - 1, 0, 254)
    found = tokenizer.encode(chunks).ids.view(chunks.shape).numpy()
    # edges computed another way differ in their last digit
    assert (found != expected).mean() < 1e-3
    assert np.abs(found - expected).max() <= 1


def test_beyond_the_range():
    chunks = torch.linspace(0, 1, 1001, dtype=torch.float64).view(-1, 1, 1).repeat(1, 2, 2)
    chunks[..., 1] = 0.3
    tokenizer = fit_tokenizer(Binning(bins=10, low=0.1, high=0.9), chunks, seed=0)
    # a tenth of the numbers lies on either side, the quantiles themselves inside; the other coordinate never changes
    assert tokenizer.saturated(chunks).tolist() == pytest.approx([200 / 1001, 0])
    far = torch.tensor([[[-1e30, 0.3], [1e30, 5.0]]], dtype=torch.float64)
    decoded = tokenizer.decode(tokenizer.encode(far))
    assert decoded.flatten().tolist() == pytest.approx([0.14, 0.3, 0.86, 0.3])
    assert tokenizer.saturated(far).tolist() == [1, 0.5]


def test_time_major_order():
    tokenizer = fit_tokenizer(Binning(bins=4, low=0.0, high=1.0), torch.rand(50, 3, 2), seed=0)
    assert tokenizer.step_of.tolist() == [0, 0, 1, 1, 2, 2]
    chunk = torch.full((1, 3, 2), 0.1)
    chunk[0, 1, 1] = 0.9
    assert tokenizer.encode(chunk).ids.tolist() == [[0, 0, 0, 3, 0, 0]]
