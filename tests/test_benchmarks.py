"""The benchmarks still run: what they measure is for who runs them in full."""

import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.mark.parametrize("name", sorted(path.name for path in BENCHMARKS.glob("*.py")))
def test_every_benchmark_starts(name):
    """Those with options say them; those without run at once."""
    command = [sys.executable, str(BENCHMARKS / name), "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout


def test_the_training_step_is_measured_as_ratios():
    """It is what `make bench` runs."""
    command = [sys.executable, str(BENCHMARKS / "training_step.py"), "--repeats", "3"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    assert done.stdout.count("×") == 2
