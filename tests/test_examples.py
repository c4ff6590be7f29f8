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


def test_diagnose_any_policy_tells_the_damped_law_from_the_other():
    command = [sys.executable, str(EXAMPLES / "diagnose_any_policy.py")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=600)
    damped, undamped = done.stdout.split("undamped: ")
    assert re.search(r"undisturbed flight shrinks 0\.\d+× a step", damped)
    assert "shrinks" not in undamped
    assert all(Path(path).is_file() for path in re.findall(r"\S+index\.html", done.stdout))
