"""Measure how long the package and the command line take to start, as ratios to the libraries they are built on.

    python benchmarks/door.py [--repetitions 9]

Each line is the median of runs in fresh interpreters; numerator and denominator alternate, so that both see the same
load of the machine. Bytecode is cached in a temporary folder before the first measurement, as it is after installation.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time

TORCH, TERMINAL = ("-c", "import torch"), ("-c", "import tyro, rich")
RATIOS = (
    ("import holdfast", ("-c", "import holdfast"), "import torch", TORCH, 0.3),
    ("hf.load", ("-c", "import holdfast as hf; hf.load"), "import torch", TORCH, 1.2),
    ("holdfast --help", ("-m", "holdfast", "--help"), "import tyro, rich", TERMINAL, 2.0),
    ("holdfast --version", ("-m", "holdfast", "--version"), "import tyro, rich", TERMINAL, 2.0),
)


def seconds_of(arguments: tuple[str, ...], environment: dict[str, str]) -> float:
    """Wall time of one fresh interpreter [s]."""
    start = time.perf_counter()
    subprocess.run([sys.executable, *arguments], env=environment, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=9)
    repetitions = parser.parse_args().repetitions
    with tempfile.TemporaryDirectory() as cache:
        environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
        environment["PYTHONPYCACHEPREFIX"] = cache
        for name, measured, other, reference, limit in RATIOS:
            pairs = [[seconds_of(run, environment) for run in (measured, reference)] for _ in range(repetitions + 1)]
            # the first pair fills the cache of bytecode
            own, base = (statistics.median(column) for column in zip(*pairs[1:], strict=True))
            print(f"{name:20} {own:.3f} s = {own / base:.2f} × {other} ({base:.3f} s); goal at most {limit} ×")


if __name__ == "__main__":
    main()
