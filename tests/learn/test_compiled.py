"""Compiled losses and networks: the same up to rounding, and the plain ones where compiling fails."""

import json
import os
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
from torch._dynamo.exc import Unsupported

from holdfast.errors import CompileWarning, ShapeError
from holdfast.nn import WithFallback

SCRIPT = Path(__file__).with_name("compiled_script.py")

needs_compiler = pytest.mark.skipif(
    not any(shutil.which(name) for name in ("g++", "clang++", "c++")),
    reason="PyTorch compiles with a C++ compiler, and there is none here",
)


def measured(case, folder, **environment):
    """What the script prints of a case."""
    done = subprocess.run(
        [sys.executable, str(SCRIPT), case, str(folder)],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, **environment},
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@needs_compiler
def test_a_compiled_training_is_the_same_up_to_rounding(tmp_path):
    found = measured("training", tmp_path)
    assert found["fast"]
    assert found["moved"] > 1e-3
    assert found["apart"] < 2e-5
    assert found["losses"][0] == pytest.approx(found["losses"][1], rel=1e-4)


@pytest.mark.slow  # a minute of compiling each: the two that are left run every day
@needs_compiler
def test_compiled_variants_are_their_separate_trainings(tmp_path):
    found = measured("variants", tmp_path)
    assert found["fast"] == [True, True]
    assert found["seeds_apart"] > 1e-3
    assert max(found["apart"]) < 2e-5


@pytest.mark.slow
@needs_compiler
def test_a_stopped_compiled_training_goes_on_bit_for_bit(tmp_path):
    found = measured("resuming", tmp_path)
    assert found["same"] == [True, True]
    # or the comparison would say nothing of compiling
    assert not found["eager"]


@needs_compiler
def test_a_compiled_policy_plans_the_same(tmp_path):
    found = measured("planning", tmp_path)
    assert found["fast"] == [True]
    assert all(apart < 1e-4 * size for apart, size in found["plans"])
    assert "AutoregressiveTokens" in found["refused"]


def test_without_a_compiler_a_line_says_so_and_the_training_goes_on(tmp_path):
    # what other processes compiled must not be found on disk
    found = measured("without_compiler", tmp_path, TORCHINDUCTOR_CACHE_DIR=str(tmp_path))
    assert found["apart"] == 0.0
    (said,) = found["said"]
    assert said.startswith("the loss could not be compiled")
    assert "\n" not in said
    assert "no-such-compiler" in said


def test_what_cannot_be_compiled_is_tried_once():
    calls = []

    def fails(value):
        calls.append(value)
        raise Unsupported("a reason\nand pages more")

    either = WithFallback(fails, lambda value: 2 * value, what="this")
    with pytest.warns(CompileWarning, match="^this could not be compiled .* a reason$"):
        assert either(1) == 2
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert either(3) == 6
    assert calls == [1]


def test_an_error_of_the_function_itself_stays_one():
    def refuses(value):
        raise ShapeError("of a wrong shape")

    either = WithFallback(refuses, lambda value: value, what="this")
    with pytest.raises(ShapeError, match="of a wrong shape"):
        either(1)
    assert either.fast is not None
