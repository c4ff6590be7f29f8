"""Memory: what a file declares is compared with what there is, before it is taken."""

import os
import resource
import subprocess
import sys

import pytest
import torch

from holdfast import memory
from holdfast.errors import DataError, RunError
from holdfast.memory import available_memory, check_memory, enough_memory


def test_there_is_memory_but_not_everything():
    assert 1 << 20 < available_memory() < 1 << 50


def test_sizes_beyond_it(monkeypatch):
    monkeypatch.setattr(memory, "available_memory", lambda: 1 << 30)
    check_memory(1 << 30, "a")
    with pytest.raises(DataError, match=r"a\.npz: actions declares 2\.15e\+09 bytes, but 1\.07e\+09 bytes"):
        check_memory(1 << 31, "a.npz: actions")
    with pytest.raises(RunError):
        check_memory(1 << 100, "a", error=RunError)


def test_small_sizes_cost_nothing(monkeypatch):
    monkeypatch.setattr(memory, "available_memory", None)
    check_memory(memory.UNCHECKED, "a")


@pytest.mark.parametrize("take", [lambda: bytearray(1 << 60), lambda: torch.empty(1 << 60, dtype=torch.uint8)])
def test_a_lack_is_a_sentence(take):
    with (
        pytest.raises(DataError, match=r"memory does not suffice for reading demos \("),
        enough_memory("reading demos"),
    ):
        take()


def test_other_errors_remain():
    with pytest.raises(RuntimeError, match=r"^other$"), enough_memory("a"):
        raise RuntimeError("other")


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="needs Linux")
def test_the_limit_of_the_process_counts():
    def limit():
        resource.setrlimit(resource.RLIMIT_AS, (3 << 30, 3 << 30))

    code = "from holdfast.memory import available_memory; print(available_memory())"
    done = subprocess.run([sys.executable, "-c", code], preexec_fn=limit, capture_output=True, text=True, check=True)
    assert 0 < int(done.stdout) < 3 << 30
