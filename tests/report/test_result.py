"""`result.json`: strict JSON, the same bytes for the same values, whole or not there."""

import json
import math
import os
import platform
from pathlib import Path

import numpy as np
import pytest
import torch

import holdfast
from holdfast.control import Dare
from holdfast.evaluation.intervals import Estimate
from holdfast.report import write_result


def _read(path):
    def refuse(word):
        raise AssertionError(f"{word} is not JSON")

    return json.loads(path.read_text(), parse_constant=refuse)


def test_values(tmp_path):
    values = {
        "score": Estimate(0.5, 0.25, math.nan),
        "lost": math.nan,
        "far": -math.inf,
        "exact": 0.1,
        "count": np.int64(3),
        "tensor": torch.tensor([1.0, math.inf]),
        "rows": [{"sigma": 0.3, "gains": True, "note": None}],
    }
    read = _read(write_result(tmp_path / "result.json", values))
    assert read["score"] == {"mean": 0.5, "low": 0.25, "high": None}
    assert (read["lost"], read["far"], read["exact"], read["count"]) == (None, None, 0.1, 3)
    assert read["tensor"] == [1.0, None]
    assert read["rows"] == [{"sigma": 0.3, "gains": True, "note": None}]


def test_same_values_same_bytes(tmp_path):
    forward = {"b": 1.0, "a": {"y": 2, "x": Estimate(0.1, 0.0, 0.2)}}
    backward = {"a": {"x": Estimate(0.1, 0.0, 0.2), "y": 2}, "b": 1.0}
    first = write_result(tmp_path / "first.json", forward).read_bytes()
    assert first == write_result(tmp_path / "first.json", forward).read_bytes()
    assert first == write_result(tmp_path / "second.json", backward).read_bytes()
    assert first != write_result(tmp_path / "third.json", {**forward, "b": 2.0}).read_bytes()


def test_says_with_what_it_was_measured_and_not_where(tmp_path):
    read = _read(write_result(tmp_path / "result.json", {}))
    assert read["versions"] == {
        "holdfast": holdfast.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
        "torch": str(torch.__version__),
    }
    assert read["machine"]["cores"] == os.cpu_count()
    text = (tmp_path / "result.json").read_text()
    assert platform.node() not in text
    assert str(Path.home()) + "/" not in text


def test_a_recipe_keeps_its_plain_form(tmp_path):
    read = _read(write_result(tmp_path / "result.json", {"synthesis": Dare(2.0)}))
    assert read["synthesis"] == {"kind": "Dare", "state_weight": 2.0, "action_weight": 1.0}


def test_whole_or_not_there(tmp_path):
    path = write_result(tmp_path / "new" / "result.json", {"a": 1})
    before = path.read_bytes()
    with pytest.raises(TypeError, match="a set cannot be written"):
        write_result(path, {"a": {1, 2}})
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == ["result.json"]


def test_nothing_is_left_of_a_failed_move(tmp_path, monkeypatch):
    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        write_result(tmp_path / "result.json", {"a": 1})
    assert list(tmp_path.iterdir()) == []
