"""The examples run, and do what they say."""

import re
import subprocess
import sys
from pathlib import Path

EXAMPLES = Path(__file__).parents[1] / "examples"


def test_your_own_data_reaches_its_target():
    command = [sys.executable, str(EXAMPLES / "your_own_data.py")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=600)
    numbers = [float(number) for number in re.findall(r"-?\d+\.\d+", done.stdout.splitlines()[0])]
    target, reached = numbers[:2], numbers[2:]
    assert max(abs(a - b) for a, b in zip(target, reached, strict=True)) < 0.1
