"""Compare the speed of this checkout with that of another one, in interleaved pairs.

    git worktree add ../before COMMIT
    python benchmarks/versions.py ../before [--pairs 11] [--only "500 episodes"]

Both checkouts run in a process of their own, on one thread, and take turns, so that both see the same load of the
machine. Each writes its own files. Every line is the median of the ratios of processor time (this / other), with the
range of the middle half. A ratio that should hold is at most 1.10.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

FORMATS = {"holdfast": "", "npz": ".npz", "robomimic": ".hdf5", "zarr": ".zarr", "lerobot": "", "minari": ""}
CASES = {
    "train: 500 updates, checkpoint every 100": ("train", ""),
    "load a run folder": ("load", ""),
    "select_action: 300 calls": ("act", ""),
    "pictures: 20 batches of 64 windows": ("pictures", ""),
    **{f"read {name}: 130,000 steps": ("read", f"long {name}") for name in FORMATS},
    **{f"read {name}: 500 episodes": ("read", f"many {name}") for name in FORMATS},
}


class Served:
    """What one checkout does on request; everything is written to one folder."""

    def __init__(self, folder: Path) -> None:
        import torch

        import holdfast

        torch.set_num_threads(1)
        self.folder, self.holdfast, self.torch = folder, holdfast, torch
        self.trained = self.policy = None

    def train(self, _: str) -> float:
        """Train on a small system for 500 updates."""
        import dataclasses
        import shutil

        hf, run = self.holdfast, self.folder / "run"
        episodes = self._episodes(20, 50)
        recipe = hf.default_recipe(episodes, gains=False)
        recipe = dataclasses.replace(recipe, training=dataclasses.replace(recipe.training, steps=500, save_every=100))
        data = hf.prepare(recipe, episodes)
        shutil.rmtree(run, ignore_errors=True)
        started = time.process_time()
        hf.fit(recipe, data, run)
        return time.process_time() - started

    def load(self, _: str) -> float:
        """Load the run."""
        if not (self.folder / "run").exists():
            self.train("")
        started = time.process_time()
        self.policy = self.holdfast.load(self.folder / "run")
        return time.process_time() - started

    def act(self, _: str) -> float:
        """Step the policy 300 times."""
        if self.policy is None:
            self.load("")
        assert self.policy is not None
        self.policy.reset(0)
        state = self.torch.zeros(8, dtype=self.torch.float64)
        started = time.process_time()
        for _step in range(300):
            self.policy.select_action({"observation.state": state})
        return time.process_time() - started

    def pictures(self, _: str) -> float:
        """Read batches of pictures 64 x 64, two in a row each, from a set in Holdfast's own format."""
        path = self.folder / "pictures"
        if not path.exists():
            self._write_pictures(path)
        camera = self.holdfast.read(path).cameras["top"]
        draw = self.torch.Generator().manual_seed(0)
        firsts = [self.torch.randint(0, 1999, (64,), generator=draw) for _batch in range(20)]
        started = time.process_time()
        for first in firsts:
            camera.read(self.torch.stack([first, first + 1], dim=1).flatten())
        return time.process_time() - started

    def _write_pictures(self, path: Path) -> None:
        import dataclasses

        from holdfast.data import write
        from holdfast.data.pictures import Frames

        draw = self.torch.Generator().manual_seed(0)
        shown = self.torch.randint(0, 256, (2000, 64, 64, 3), generator=draw, dtype=self.torch.uint8)
        write(dataclasses.replace(self._episodes(20, 100), cameras={"top": Frames(shown)}), path, format="holdfast")

    def read(self, what: str) -> float:
        """Read a set, which is written before the first time."""
        from holdfast.data import write

        size, _, name = what.partition(" ")
        path = self.folder / f"{size}-{name}{FORMATS[name]}{'-v0' if name == 'minari' else ''}"
        if not path.exists():
            write(self._episodes(*((130, 1000) if size == "long" else (500, 20))), path, format=name)
        started = time.process_time()
        self.holdfast.read(path)
        return time.process_time() - started

    def _episodes(self, count: int, steps: int) -> Any:
        draw = self.torch.Generator().manual_seed(0)
        states = self.torch.randn(count, steps, 8, generator=draw, dtype=self.torch.float64)
        actions = self.torch.randn(count, steps, 2, generator=draw, dtype=self.torch.float64)
        return self.holdfast.episodes_from_arrays(list(states), list(actions), dt=0.05)


def serve(folder: Path) -> None:
    """Answer requests, one line of JSON each, with seconds of processor time."""
    served = Served(folder)
    answers, sys.stdout = sys.stdout, sys.stderr
    for line in sys.stdin:
        method, argument = json.loads(line)
        answers.write(json.dumps(getattr(served, method)(argument)) + "\n")
        answers.flush()


def started(checkout: Path, folder: Path) -> "subprocess.Popen[str]":
    """The process of one checkout."""
    environment = {**os.environ, "PYTHONPATH": str(checkout / "src"), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-W", "ignore", __file__, "--serve", str(folder)]
    return subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def seconds(process: "subprocess.Popen[str]", case: tuple[str, str]) -> float:
    """Processor time of one case [s]."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(json.dumps(case) + "\n")
    process.stdin.flush()
    return float(json.loads(process.stdout.readline()))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("other", type=Path, nargs="?", help="the other checkout")
    parser.add_argument("--pairs", type=int, default=11)
    parser.add_argument("--only", default="", help="only the cases whose name holds this")
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve is not None:
        serve(options.serve)
        return
    if options.other is None:
        parser.error("expected the folder of the other checkout.")
    here = Path(__file__).resolve().parents[1]
    with tempfile.TemporaryDirectory() as ours, tempfile.TemporaryDirectory() as theirs:
        own, other = started(here, Path(ours)), started(options.other.resolve(), Path(theirs))
        chosen = {name: case for name, case in CASES.items() if options.only in name}
        for name, case in chosen.items():
            pairs = [(seconds(own, case), seconds(other, case)) for _ in range(options.pairs + 1)][1:]
            ratios = [mine / before for mine, before in pairs]
            low, middle, high = statistics.quantiles(ratios, n=4)
            base = statistics.median(before for _, before in pairs)
            print(f"{name:42} {middle:.2f} [{low:.2f}, {high:.2f}]   {base * 1e3:8.1f} ms before", flush=True)
        for process in (own, other):
            process.communicate()


if __name__ == "__main__":
    main()
