"""One file: the same bits come back, and what cannot be read says so."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from holdfast.errors import RunError
from holdfast.tokens import Binning, Fast, fit_tokenizer, load_tokenizer, save_tokenizer


def test_the_same_bits_come_back(small, smooth, tmp_path):
    chunks = smooth(60)
    fitted = fit_tokenizer(small, chunks, seed=0, dt=1 / 30)
    path = save_tokenizer(tmp_path / "sub" / "tokenizer.safetensors", fitted)
    again = load_tokenizer(path)
    assert type(again) is type(fitted)
    assert (again.options, again.horizon, again.width, again.dt) == (small, 10, 2, 1 / 30)
    assert (again.vocabulary, again.length, again.cells) == (fitted.vocabulary, fitted.length, fitted.cells)
    assert torch.equal(again.spans, fitted.spans)
    fresh = smooth(40, seed=1)
    tokens = fitted.encode(fresh)
    assert torch.equal(again.encode(fresh).ids, tokens.ids)
    assert torch.equal(again.encode(fresh).mask, tokens.mask)
    assert torch.equal(again.decode(tokens), fitted.decode(tokens))
    assert torch.equal(again.saturated(3 * fresh), fitted.saturated(3 * fresh))


def test_equal_fits_are_equal_files(small, smooth, tmp_path):
    for name in ("a", "b"):
        save_tokenizer(tmp_path / name, fit_tokenizer(small, smooth(60), seed=0))
    save_tokenizer(tmp_path / "c", load_tokenizer(tmp_path / "a"))
    contents = {(tmp_path / name).read_bytes() for name in "abc"}
    assert len(contents) == 1
    assert load_tokenizer(tmp_path / "a").dt is None


def test_what_cannot_be_read(smooth, tmp_path):
    with pytest.raises(RunError, match=r"tokenizer at .*none.safetensors, but there is no such file"):
        load_tokenizer(tmp_path / "none.safetensors")
    with pytest.raises(RunError, match="no such file"):
        load_tokenizer(tmp_path)
    whole = save_tokenizer(tmp_path / "whole", fit_tokenizer(Fast(), smooth(60), seed=0)).read_bytes()
    for cut in (0, 5, 60, len(whole) // 2, len(whole) - 1):
        (tmp_path / "cut").write_bytes(whole[:cut])
        with pytest.raises(RunError, match="cut is damaged or no tokenizer"):
            load_tokenizer(tmp_path / "cut")
    (tmp_path / "text").write_text("not a tokenizer")
    with pytest.raises(RunError, match="text is damaged"):
        load_tokenizer(tmp_path / "text")
    save_file({"weights": torch.zeros(3)}, tmp_path / "weights")
    with pytest.raises(RunError, match="weights is damaged or no tokenizer"):
        load_tokenizer(tmp_path / "weights")


def altered(path, tables=None, **changes):
    from safetensors import safe_open

    with safe_open(str(path), framework="pt") as file:
        header = json.loads(file.metadata()["holdfast"])
    save_file(tables or load_file(path), path, {"holdfast": json.dumps(header | changes)})


def test_what_was_altered(smooth, tmp_path):
    path = tmp_path / "tokenizer"
    save_tokenizer(path, fit_tokenizer(Binning(), smooth(60), seed=0))
    altered(path, version=99)
    with pytest.raises(RunError, match="of version 99, this holdfast reads version 1"):
        load_tokenizer(path)
    altered(path, version=1, options={"kind": "Morse"})
    with pytest.raises(RunError, match=r"damaged or no tokenizer .*'Morse'"):
        load_tokenizer(path)
    altered(path, options={"kind": "Binning", "bins": -1})
    with pytest.raises(RunError, match="bins of at least 1"):
        load_tokenizer(path)
    altered(path, options={"kind": "Binning"}, tables={"low": torch.zeros(2)})
    with pytest.raises(RunError, match="high"):
        load_tokenizer(path)


def test_sizes_that_do_not_fit_the_tables(small, smooth, tmp_path):
    path = save_tokenizer(tmp_path / "tokenizer", fit_tokenizer(small, smooth(60), seed=0))
    for width in (1, 3):
        altered(path, width=width)
        with pytest.raises(RunError, match="tokenizer is damaged or no tokenizer"):
            load_tokenizer(path)
