"""Windows with pictures a second from a LeRobot data set of films, against LeRobot's own loader; memory of a training.

    python benchmarks/films.py --lerobot LEROBOT_ENV/bin/python [--out FILE.json]
    python benchmarks/films.py --memory [--rows 20000] [--out FILE.json]

The first form writes a data set of version 3.0 (three cameras of 96 × 96 pixels as H.264 with a key frame every second
picture, as in LeRobot's own films; 10 Hz, episodes of 100 steps) and reads batches of 64 windows in random order: one
observation with its pictures, and chunks of 16 actions. Holdfast decodes every film once, before training; that time is
reported too, and the ratio that includes it for a training of 40,000 updates. Then one thread reads batches ahead.
LeRobot's `LeRobotDataset` with `delta_timestamps` is read by a `DataLoader` in two worker processes, or in the process
itself (`--workers 0`), in its own environment:

    python3.12 -m venv LEROBOT_ENV
    LEROBOT_ENV/bin/pip install "torch>=2.7,<2.12" "lerobot[dataset]==0.6.1"

Both loaders take turns, and the ratio is that of their rates in one run. The second form trains the default policy on
films for a few updates, and compares the largest memory of the process with the size of the data set on disk.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

BATCH, HORIZON, FPS, LENGTH = 64, 16, 10, 100
CAMERAS = ("top", "side", "wrist")
UPDATES = 40_000
MEMORY_UPDATES = 20
MIB = 2**20

LEROBOT = """
import json, sys, time
import torch
from lerobot.datasets.lerobot_dataset import LeRobotDataset

folder, workers, batch, horizon, fps, cameras, backend = json.loads(sys.argv[1])
times = {"action": [step / fps for step in range(horizon)], "observation.state": [0.0]}
times |= {f"observation.images.{camera}": [0.0] for camera in cameras}
data = LeRobotDataset("films", root=folder, delta_timestamps=times, video_backend=backend)

def batches():
    torch.manual_seed(0)
    more = {"prefetch_factor": 4} if workers else {}
    while True:
        yield from torch.utils.data.DataLoader(data, batch, shuffle=True, num_workers=workers, drop_last=True, **more)

coming = batches()
next(coming)
print("ready", flush=True)
for line in sys.stdin:
    begun = time.perf_counter()
    for _ in range(int(line)):
        read = next(coming)
        assert read["action"].shape[:2] == (batch, horizon)
    print(time.perf_counter() - begun, flush=True)
"""


class Moving:
    """Pictures of a bright square that moves over a still background, made when they are read."""

    shape = (96, 96, 3)

    def __init__(self, rows: int, seed: int) -> None:
        import torch

        rng = torch.Generator().manual_seed(seed)
        self.rows = rows
        self.still = torch.randint(60, 140, (12, 12, 3), generator=rng, dtype=torch.uint8)
        self.still = self.still.repeat_interleave(8, 0).repeat_interleave(8, 1)

    def __len__(self) -> int:
        return self.rows

    def read(self, rows: Any) -> Any:
        """The pictures of the given rows."""
        found = self.still.expand(len(rows), -1, -1, -1).clone()
        for picture, row in zip(found, rows.tolist(), strict=True):
            at = row % LENGTH * 80 // LENGTH
            picture[at : at + 16, 80 - at : 96 - at] = 250
        return found


def write_films(folder: Path, rows: int) -> Any:
    """A data set of films."""
    import torch

    import holdfast as hf
    from holdfast.types import Episodes

    rng, count = torch.Generator().manual_seed(0), rows // LENGTH
    states, actions = (torch.randn(count * LENGTH, 6, generator=rng) for _ in range(2))
    cameras = {camera: Moving(count * LENGTH, seed) for seed, camera in enumerate(CAMERAS)}
    lengths = torch.full((count,), LENGTH)
    episodes = Episodes(actions=actions, states=states, lengths=lengths, dt=1 / FPS, cameras=cameras)
    hf.write(episodes, folder, video=True)


def prepared(folder: Path) -> tuple[Any, Any, float]:
    """Training set of the default policy, its recipe, and the seconds for which films were decoded."""
    import holdfast as hf
    from holdfast.learn import prepare, vision_of

    episodes = hf.read(folder)
    recipe = hf.default_recipe(episodes, vision=vision_of(episodes, CAMERAS))
    begun = time.perf_counter()
    data = prepare(recipe, episodes)
    return recipe, data, time.perf_counter() - begun


def own_batches(data: Any) -> Iterator[Any]:
    """Batches of windows as training reads them, with their pictures read ahead by one thread."""
    from holdfast.data.prefetch import prefetched
    from holdfast.seeding import stream

    def drawn(step: int) -> tuple[Any, Any]:
        rng = stream(0, "update", step)
        return data.draw(BATCH, rng), rng

    rows = (data.windows.observation_rows(drawn(step)[0]) for step in range(10**9))
    for step, (_, pictures) in enumerate(prefetched(data.cameras, rows, threads=1)):
        now, rng = drawn(step)
        yield data.batch(now, sigma=0.02, rng=rng, pictures=pictures)


def size_of(folder: Path) -> int:
    """Bytes of all files of a folder."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def compare(python: str, folder: Path, *, repeats: int, batches: int, workers: int, backend: str) -> dict[str, Any]:
    """Seconds of a batch of both loaders, in turns."""
    _, data, decoding = prepared(folder)
    ours, own, other = own_batches(data), list[float](), list[float]()
    next(ours)
    given = json.dumps([str(folder), workers, BATCH, HORIZON, FPS, CAMERAS, backend])
    with subprocess.Popen(
        [python, "-c", LEROBOT, given], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        if process.stdout.readline().strip() != "ready":
            raise SystemExit(f"LeRobot's loader did not start with {python}; see its message above.")
        for _ in range(repeats):
            begun = time.perf_counter()
            for _ in range(50 * batches):
                next(ours)
            own.append((time.perf_counter() - begun) / (50 * batches))
            print(batches, file=process.stdin, flush=True)
            other.append(float(process.stdout.readline()) / batches)
        process.stdin.close()
        process.terminate()
    return described(own, other, decoding)


def described(own: list[float], other: list[float], decoding: float) -> dict[str, Any]:
    """Rates, their ratio, and the ratio with the decoding before a training."""
    ratios = [theirs / mine for mine, theirs in zip(own, other, strict=True)]
    mine, theirs = statistics.median(own), statistics.median(other)
    ratio = statistics.median(ratios)
    return {
        "windows_per_second": BATCH / mine,
        "windows_per_second_lerobot": BATCH / theirs,
        "ratio": ratio,
        "ratio_smallest": min(ratios),
        "ratio_largest": max(ratios),
        "decoding_seconds": decoding,
        "ratio_of_a_training_with_decoding": ratio * UPDATES * mine / (UPDATES * mine + decoding),
    }


def trained(folder: Path) -> dict[str, Any]:
    """The largest memory of this process in a training on films, and the size of the films."""
    from dataclasses import replace

    import torch

    from holdfast.learn import train_to_end

    torch.set_num_threads(1)
    recipe, data, _ = prepared(folder)
    recipe = replace(recipe, training=replace(recipe.training, steps=MEMORY_UPDATES))
    train_to_end(recipe, data)
    decoded = sum(len(shown) * 96 * 96 * 3 for shown in data.cameras.values())
    # the system counts in KiB
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    compressed = size_of(folder)
    return {
        "peak_mib": peak / MIB,
        "data_on_disk_mib": compressed / MIB,
        "decoded_mib": decoded / MIB,
        "peak_beyond_data_mib": (peak - compressed) / MIB,
    }


def main() -> None:
    """Write films, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lerobot", help="Python of an environment with LeRobot")
    parser.add_argument("--workers", type=int, default=2, help="worker processes of LeRobot's loader (2)")
    parser.add_argument("--backend", default="pyav", help="LeRobot's decoder: pyav or torchcodec (pyav)")
    parser.add_argument("--rows", type=int, default=2000, help="control steps of the data set (2000)")
    parser.add_argument("--repeats", type=int, default=8, help="turns of each loader (8)")
    parser.add_argument("--batches", type=int, default=2, help="batches of a turn of LeRobot's loader (2)")
    parser.add_argument("--memory", action="store_true", help="measure the memory of a training")
    parser.add_argument("--folder", type=Path, help="where films are written, or were (a temporary folder)")
    parser.add_argument("--write", action="store_true", help="only write the films to --folder")
    parser.add_argument("--out", type=Path, help="JSON file for the numbers")
    args = parser.parse_args()
    if args.write:
        write_films(args.folder, args.rows)
        return
    if not args.memory and args.lerobot is None:
        parser.error("give --lerobot LEROBOT_ENV/bin/python, or --memory")
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.folder or Path(temporary) / "films"
        if not folder.is_dir():
            # in another process: the peak is that of reading and training alone
            write = [sys.executable, __file__, "--write", "--folder", str(folder), "--rows", str(args.rows)]
            subprocess.run(write, check=True)
        if args.memory:
            found = trained(folder)
        else:
            options = {"repeats": args.repeats, "batches": args.batches, "workers": args.workers}
            found = compare(args.lerobot, folder, backend=args.backend, **options)
    for name, value in found.items():
        print(f"{name:36} {value:12,.1f}")
    if args.out:
        args.out.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
