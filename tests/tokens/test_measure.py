"""What is measured of a tokenizer, on cases worked out by hand, and on real demonstrations."""

import math
import os
from pathlib import Path

import pytest
import torch

from holdfast.data import MinMax, Windows, read
from holdfast.errors import DataError
from holdfast.seeding import stream
from holdfast.tokens import Binning, Fast, KMeans, fit_tokenizer, measure_tokenizer
from holdfast.tokens.measure import _others

ROOT = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("HOLDFAST_DATA", ROOT.parent / "shared" / "data"))
PUSHT = DATA / "pusht" / "pusht_cchi_v7_replay.zarr"


def two_bins(width=1):
    """Centres at -0.5 and 0.5."""
    ends = torch.tensor([-1.0, 1.0], dtype=torch.float64).view(2, 1, 1).expand(2, 3, width)
    return fit_tokenizer(Binning(bins=2, low=0.0, high=1.0), ends, seed=0)


def chunks_of(*values):
    return torch.tensor(values, dtype=torch.float64)[:, None, None].repeat(1, 3, 1)


def test_by_hand():
    found = measure_tokenizer(two_bins(), chunks_of(0.3, 0.7, 0.9, -0.2), rng=stream(0, "tests"), sizes=(0.1, 0.25))
    assert (found.chunks, found.tokens, found.fewest_tokens, found.most_tokens) == (4, 3, 3, 3)
    assert (found.naive_tokens, found.compression, found.vocabulary, found.used) == (3, 1, 2, 1)
    # 0.2, 0.2, 0.4 and 0.3 from the centres
    rms = math.sqrt((0.04 + 0.04 + 0.16 + 0.09) / 4)
    assert found.rms_error == pytest.approx((rms,))
    assert found.error_at_step == pytest.approx((rms, rms, rms))
    assert found.largest_error == pytest.approx((0.4,))
    # three of four tokens are the upper one
    assert found.perplexity == pytest.approx(math.exp(0.75 * math.log(4 / 3) + 0.25 * math.log(4)))
    # the other centre is one unit away, wherever the token is
    assert (found.sensitivity, found.sensitivity_95) == (1, 1)
    assert found.sensitivity_at == (1, 1, 1)
    assert found.saturated == (0,)
    small, large = found.smoothness
    assert (small.size, small.changed, small.jump, small.largest_jump) == (0.1, 0, 0, 0)
    # only -0.2 can cross, when at least one of three signs is up
    assert large.changed in (0, 0.25)
    assert large.jump == 4 * large.changed


def test_half_of_the_changes_cross_an_edge():
    values = torch.full((1000, 3, 1), 0.05, dtype=torch.float64)
    values[:, 1:] = 0.6
    (change,) = measure_tokenizer(two_bins(), values, rng=stream(0, "tests"), sizes=(0.1,)).smoothness
    # the first number crosses where its sign is down: 1000 tosses of a coin
    assert change.changed == pytest.approx(0.5, abs=0.06)
    assert (change.jump, change.largest_jump) == (1, 1)


def test_moves_are_euclidean_and_of_the_worst_step():
    corners = torch.tensor([[0.0, 0.0], [3.0, 4.0]]).expand(30, 2, 2)
    tokenizer = fit_tokenizer(KMeans(clusters=2), corners, seed=0)
    found = measure_tokenizer(tokenizer, corners, rng=stream(0, "tests"))
    assert (found.sensitivity, found.sensitivity_95) == (5, 5)
    assert found.sensitivity_at == (5, 5)
    assert found.rms_error == (0, 0)


def test_nothing_to_replace():
    tokenizer = fit_tokenizer(KMeans(clusters=1), torch.ones(5, 2, 1), seed=0)
    found = measure_tokenizer(tokenizer, torch.ones(5, 2, 1), rng=stream(0, "tests"))
    assert (found.sensitivity, found.perplexity, found.used) == (0, 1, 1)
    assert all(math.isnan(move) for move in found.sensitivity_at)


def test_replacements_keep_the_span_and_are_drawn_evenly():
    spans = torch.tensor([1, 3, 1, 2, 1, 3, 1])
    ids = torch.arange(7).repeat(6000, 1)
    others = _others(ids, spans, stream(0, "tests"))
    assert torch.equal(spans[others], spans[ids])
    # 3 is alone of its span
    assert bool((others == ids).all(0)[3])
    assert int((others == ids).sum()) == 6000
    assert torch.bincount(others[:, 0], minlength=7).tolist() == pytest.approx([0, 0, 2000, 0, 2000, 0, 2000], abs=150)
    assert others[:, 1].unique().tolist() == [5]


def test_wrong_tokens_of_fast_keep_codes_whole(smooth):
    tokenizer = fit_tokenizer(Fast(), smooth(300), seed=0)
    found = measure_tokenizer(tokenizer, smooth(50, seed=1), rng=stream(0, "tests"))
    assert 0 < found.sensitivity < found.sensitivity_95
    assert len(found.sensitivity_at) == found.most_tokens
    # low frequencies come first: a wrong token costs most at the beginning
    assert found.sensitivity_at[0] > found.sensitivity
    assert [change.size for change in found.smoothness] == [0.001, 0.01, 0.1]
    assert found.smoothness[0].changed < found.smoothness[2].changed


def test_equal_seeds_give_equal_reports(smooth):
    tokenizer = fit_tokenizer(Binning(bins=16), smooth(50), seed=0)
    one, other = (measure_tokenizer(tokenizer, smooth(50), rng=stream(0, "tests")) for _ in range(2))
    assert one == other


def test_no_chunks():
    with pytest.raises(DataError, match="no chunks"):
        measure_tokenizer(two_bins(), chunks_of(0.3)[:0], rng=stream(0, "tests"))


@pytest.mark.skipif(not PUSHT.exists(), reason=f"the real Push-T demonstrations are not at {PUSHT}")
def test_real_pusht():
    episodes = read(PUSHT)
    actions = MinMax.fit(episodes.actions).normalize(episodes.actions)
    windows = Windows(lengths=episodes.lengths, n_obs_steps=1, horizon=16)
    chunks = actions[windows.chunk_rows(torch.arange(0, len(windows), 5))[0]]
    fast, bins = (fit_tokenizer(options, chunks, seed=0, dt=episodes.dt) for options in (Fast(), Binning()))
    found = measure_tokenizer(fast, chunks, rng=stream(0, "tests"))
    assert (found.naive_tokens, found.chunks) == (32, 5130)
    # 1.6 s at 10 Hz: between the 1.75 of 5 Hz and the 13 of 50 Hz that the paper reports for other robots
    assert 3 < found.compression < 13
    # rounding takes at most half a step from each of 32 coefficients
    assert max(found.rms_error) < 0.5 / 10
    binned = measure_tokenizer(bins, chunks, rng=stream(0, "tests"))
    # a fiftieth of the numbers lies beyond the quantiles, by construction
    assert binned.saturated == pytest.approx((0.02, 0.02), abs=0.003)
    width = float((bins.tables["high"] - bins.tables["low"]).max()) / 256
    inside = ((chunks >= bins.tables["low"]) & (chunks <= bins.tables["high"])).all(2).all(1)
    decoded = bins.decode(bins.encode(chunks[inside]))
    assert float((decoded - chunks[inside]).abs().max()) <= width / 2 + 1e-6
