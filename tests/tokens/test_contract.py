"""What every tokenizer owes, whichever it is."""

import sys

import pytest
import torch

from holdfast.errors import DataError, MissingExtraError, RecipeError, ShapeError
from holdfast.seeding import stream
from holdfast.tokens import TOKENIZERS, Binning, Fast, Fsq, KMeans, ResidualVq, Tokens, fit_tokenizer


def test_the_whole_table_is_in_this_suite(small_options):
    assert {type(options) for options in TOKENIZERS.values()} <= set(map(type, small_options))


def random_code(tokenizer, rng):
    """A whole code, each token drawn from those that still fit."""
    spans, left, ids = tokenizer.spans, tokenizer.cells, []
    while left:
        fitting = (spans <= left).nonzero().flatten()
        ids.append(int(fitting[torch.randint(len(fitting), (1,), generator=rng)]))
        left -= int(spans[ids[-1]])
    return ids


def test_shapes_and_counts(small, smooth):
    chunks = smooth(60)
    tokenizer = fit_tokenizer(small, chunks, seed=0, dt=0.1)
    assert (tokenizer.options, tokenizer.horizon, tokenizer.width, tokenizer.dt) == (small, 10, 2, 0.1)
    tokens = tokenizer.encode(chunks)
    assert tokens.ids.shape == tokens.mask.shape
    assert tokens.ids.shape[1] <= tokenizer.length
    assert 0 <= int(tokens.ids.min()) <= int(tokens.ids.max()) < tokenizer.vocabulary
    assert not bool(tokens.ids[~tokens.mask].any())
    # to the left: no token after a gap
    assert bool((tokens.mask.int().diff(dim=1) <= 0).all())
    assert torch.equal(tokens.lengths, tokens.mask.sum(1))
    filled = torch.stack([tokenizer.spans[row[mask]].sum() for row, mask in zip(tokens.ids, tokens.mask, strict=True)])
    assert filled.tolist() == [tokenizer.cells] * 60
    assert tokenizer.spans.shape == (tokenizer.vocabulary,)
    assert int(tokenizer.spans.min()) == 1
    if tokenizer.step_of is not None:
        assert len(tokenizer.step_of) == tokenizer.length
        assert tokenizer.step_of.tolist() == sorted(tokenizer.step_of.tolist())


def test_every_code_that_fits_can_be_read(small, smooth):
    tokenizer = fit_tokenizer(small, smooth(60), seed=0)
    rng = stream(0, "tests", "codes")
    for _ in range(20):
        ids = torch.tensor([random_code(tokenizer, rng)])
        decoded = tokenizer.decode(Tokens(ids=ids, mask=torch.ones_like(ids, dtype=torch.bool)))
        assert decoded.shape == (1, 10, 2)
        assert bool(decoded.isfinite().all())


def test_dtypes_follow_the_chunks(small, smooth):
    for dtype in (torch.float32, torch.float64):
        chunks = smooth(60).to(dtype)
        tokenizer = fit_tokenizer(small, chunks, seed=0)
        decoded = tokenizer.decode(tokenizer.encode(chunks))
        assert decoded.dtype == dtype
        assert not decoded.requires_grad
        assert torch.equal(decoded, tokenizer.decode(tokenizer.encode(chunks)))


def test_equal_seeds_give_equal_tables(small, smooth):
    one, other = (fit_tokenizer(small, smooth(60), seed=3) for _ in range(2))
    assert one.tables.keys() == other.tables.keys()
    assert all(torch.equal(table, other.tables[name]) for name, table in one.tables.items())


def test_the_global_generator_is_left_alone(small, smooth):
    before = torch.get_rng_state()
    fit_tokenizer(small, smooth(60), seed=3)
    assert torch.equal(torch.get_rng_state(), before)


def test_no_chunks_have_no_codes(small, smooth):
    tokenizer = fit_tokenizer(small, smooth(60), seed=0)
    tokens = tokenizer.encode(torch.zeros(0, 10, 2))
    assert len(tokens.ids) == 0
    assert tokenizer.decode(tokens).shape == (0, 10, 2)


def test_codes_that_are_not_whole_are_refused(small, smooth):
    tokenizer = fit_tokenizer(small, smooth(60), seed=0)
    tokens = tokenizer.encode(smooth(3, seed=1))
    last = int(tokens.lengths[1]) - 1
    mask = tokens.mask.clone()
    mask[1, last] = False
    lost = int(tokenizer.spans[tokens.ids[1, last]])
    left = tokenizer.cells - lost
    with pytest.raises(DataError, match=rf"row 1 has {last} tokens that fill {left} cells; .* fills {tokenizer.cells}"):
        tokenizer.decode(Tokens(ids=tokens.ids, mask=mask))
    doubled = Tokens(ids=tokens.ids.repeat(1, 2), mask=tokens.mask.repeat(1, 2))
    with pytest.raises(DataError, match=rf"row 0 has .* fill {2 * tokenizer.cells} cells"):
        tokenizer.decode(doubled)
    ids = tokens.ids.clone()
    ids[0, 0] = tokenizer.vocabulary
    with pytest.raises(DataError, match=rf"to {tokenizer.vocabulary} of a vocabulary of {tokenizer.vocabulary}"):
        tokenizer.decode(Tokens(ids=ids, mask=tokens.mask))


def test_other_chunks_are_refused(small, smooth):
    tokenizer = fit_tokenizer(small, smooth(60), seed=0, dt=0.1)
    for wrong, came in ((smooth(2, rate=12), "12 steps of 2"), (smooth(2, width=3), "10 steps of 3")):
        with pytest.raises(ShapeError, match=f"fitted on chunks of 10 steps of 2 numbers, got {came}"):
            tokenizer.encode(wrong)
        with pytest.raises(ShapeError):
            tokenizer.saturated(wrong)
    broken = smooth(3)
    broken[2, 4, 1] = float("nan")
    with pytest.raises(DataError, match="chunk 2 holds a number that is not finite"):
        tokenizer.encode(broken)
    with pytest.raises(DataError, match="chunk 2 holds a number that is not finite"):
        fit_tokenizer(small, broken, seed=0)
    with pytest.raises(DataError, match=r"chunks \[0, 10, 2\]"):
        fit_tokenizer(small, smooth(3)[:0], seed=0)


def test_other_rates_are_refused(smooth):
    tokenizer = fit_tokenizer(Binning(), smooth(60), seed=0, dt=0.1)
    for same in (0.1, 0.10001, None):
        tokenizer.check_rate(same)
    with pytest.raises(DataError, match=r"steps of 0.1 s \(10 Hz\), these are of 0.02 s \(50 Hz\).*resample"):
        tokenizer.check_rate(0.02)
    fit_tokenizer(Binning(), smooth(60), seed=0).check_rate(0.02)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Binning(bins=0), "bins of at least 1, got 0"),
        (lambda: Binning(low=0.6, high=0.5), "0 <= low < high <= 1"),
        (lambda: KMeans(clusters=0), "clusters of at least 1"),
        (lambda: KMeans(iterations=0), "iterations of at least 1"),
        (lambda: ResidualVq(groups=0), "groups of at least 1"),
        (lambda: ResidualVq(codes=1), "codes of at least 2"),
        (lambda: ResidualVq(learning_rate=0.0), "learning_rate above 0"),
        (lambda: Fsq(levels=()), "at least one number with at least 3 levels"),
        (lambda: Fsq(levels=(8, 2)), "at least 3 levels"),
        (lambda: Fsq(stride=0), "stride of at least 1"),
        (lambda: Fast(scale=float("inf")), "scale above 0"),
        (lambda: Fast(vocabulary=1), "vocabulary from 2"),
        (lambda: Fast(vocabulary=70_000), "vocabulary from 2"),
    ],
)
def test_options_that_make_no_sense(make, says):
    with pytest.raises(RecipeError, match=says):
        make()


@pytest.mark.parametrize(
    ("options", "package"),
    [(Fast(), "tokenizers"), (Fsq(), "vector_quantize_pytorch"), (ResidualVq(), "vector_quantize_pytorch")],
)
def test_missing_extra(options, package, smooth, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtraError, match=rf"{package} is not installed.*holdfast\[tokens\]"):
        fit_tokenizer(options, smooth(60), seed=0)


def test_fitted_tokenizers_need_no_extra_but_fast_to_encode(small, smooth, monkeypatch):
    tokenizer = fit_tokenizer(small, smooth(60), seed=0)
    tokens = tokenizer.encode(smooth(2))
    for package in ("tokenizers", "vector_quantize_pytorch"):
        monkeypatch.setitem(sys.modules, package, None)
    tokenizer.decode(tokens)
    if not isinstance(small, Fast):
        tokenizer.encode(smooth(2))
