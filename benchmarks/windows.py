"""Speed of gathering windows, against reading them item by item; and memory needed by a large data set.

    python benchmarks/windows.py [--out FILE.json]
    python benchmarks/windows.py --busy [--out FILE.json]
    python benchmarks/windows.py --scale [--rows 10000000] [--out FILE.json]

The first form makes batches of windows (256 per batch, 2 observations, chunks of 16) in two ways from the same rows.
Holdfast: the rows are in memory, `data.Windows` computes their indices, and a batch is one gather per quantity. Item by
item: for each window the row is looked up in the table, then the rows of each key at its offsets; each row becomes a
tensor, rows are stacked to a window and windows to a batch. This is how a `Dataset.__getitem__` with
`delta_timestamps` works (LeRobot 0.6, `datasets/dataset_reader.py`), without the layers around it. The ratio is
measured within one run, alternating between the two; and so is the rate beside a process that keeps a core busy, which
the second form measures alone: it needs a machine without other work. Each rate is over at least half a second.

The third form writes a LeRobot data set of 48 states and 16 actions in another process, opens it here and trains 200
steps. The peak is the one that the operating system reports for this process. Absolute times depend on the machine.

The last line of the output is the result as JSON.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import pyarrow
import pyarrow.parquet
import torch
from scipy import stats
from torch import Tensor

from holdfast.data import Windows, gathered
from holdfast.data.formats import lerobot
from holdfast.learn import default_recipe, initial_state, prepare, train
from holdfast.seeding import stream
from holdfast.types import Episodes

BATCH, N_OBS, HORIZON = 256, 2, 16
REPEATS, BATCHES, ITEM_BATCHES = 12, 100, 2
SPAN = 0.5
"""Seconds of one rate beside a busy core, and of the one without it [s]."""
STATES, ACTIONS, LENGTH = 48, 16, 1000
TRAINING_STEPS = 200
GIB = 2**30


def recording(rows: int, *, states: int = STATES, actions: int = ACTIONS) -> Episodes:
    """Noise in episodes of a thousand steps; only the shapes matter here."""
    rng = stream(0, "benchmark", "windows")
    lengths = torch.full((rows // LENGTH,), LENGTH)
    return Episodes(
        actions=torch.randn(rows // LENGTH * LENGTH, actions, generator=rng),
        states=torch.randn(rows // LENGTH * LENGTH, states, generator=rng),
        lengths=lengths,
        dt=1 / 50,
    )


class ItemByItem:
    """Windows of a table in a memory-mapped file, one at a time."""

    def __init__(self, table: pyarrow.Table, lengths: Tensor) -> None:
        self.table = table
        ends = lengths.cumsum(0)
        self.bounds = list(zip((ends - lengths).tolist(), ends.tolist(), strict=True))
        self.offsets = {"observation.state": range(1 - N_OBS, 1), "action": range(HORIZON)}

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        """The row, the windows around it, and masks of their steps outside the episode."""
        row = {name: values[0] for name, values in self.table.slice(index, 1).to_pydict().items()}
        item = {name: torch.tensor(value) for name, value in row.items()}
        first, end = self.bounds[row["episode_index"]]
        for name, offsets in self.offsets.items():
            rows = [min(max(index + offset, first), end - 1) for offset in offsets]
            values = self.table.column(name).take(pyarrow.array(rows)).to_pylist()
            item[name] = torch.stack([torch.tensor(value) for value in values])
            item[f"{name}_is_pad"] = torch.tensor([not first <= index + offset < end for offset in offsets])
        return item


def seconds(act: Callable[[], object]) -> float:
    """Time of a call [s]."""
    start = time.perf_counter()
    act()
    return time.perf_counter() - start


def batches(episodes: Episodes) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Batches of windows, as in Holdfast."""
    windows = Windows(lengths=episodes.lengths, n_obs_steps=N_OBS, horizon=HORIZON)
    rng = stream(0, "benchmark", "rows")
    while True:
        now = torch.randint(len(windows), (BATCH,), generator=rng)
        rows, mask = windows.chunk_rows(now)
        yield gathered(episodes.states, windows.observation_rows(now)), gathered(episodes.actions, rows), mask


def collated(items: ItemByItem, count: int) -> Iterator[Mapping[str, Tensor]]:
    """Batches of windows, item by item."""
    rng = stream(0, "benchmark", "rows")
    while True:
        chosen = [items[int(now)] for now in torch.randint(count, (BATCH,), generator=rng)]
        yield {name: torch.stack([item[name] for item in chosen]) for name in chosen[0]}


def compare(rows: int) -> dict[str, Any]:
    """Windows per second in both ways, and their ratio with a 95 % interval over repeats (t, of its logarithm)."""
    with tempfile.TemporaryDirectory() as folder:
        lerobot.write(recording(rows), Path(folder) / "set")
        episodes = lerobot.read(Path(folder) / "set")
        mapped = _mapped(Path(folder))
        fast, slow = batches(episodes), collated(ItemByItem(mapped, episodes.lengths), len(episodes.actions))
        _check(next(fast), next(slow))
        rates = [(_rate(fast, BATCHES), _rate(slow, ITEM_BATCHES)) for _ in range(REPEATS)]
    logs = [torch.tensor(quick / item).log().item() for quick, item in rates]
    spread = stats.t.ppf(0.975, len(logs) - 1) * statistics.stdev(logs) / len(logs) ** 0.5
    middle = statistics.mean(logs)
    ratio = {
        name: float(torch.tensor(middle + off).exp()) for name, off in [("mean", 0), ("low", -spread), ("high", spread)]
    }
    medians = [statistics.median(way) for way in zip(*rates, strict=True)]
    found = {"gather_windows_per_s": medians[0], "item_windows_per_s": medians[1], "ratio": ratio, "rows": rows}
    return found | {"beside_a_busy_core": beside_a_busy_core(batches(episodes))}


def beside_a_busy_core(made: Iterator[object]) -> dict[str, Any]:
    """Rate of gathering while another process keeps a core busy, relative to the rate without it, alternately."""
    ratios = list[float]()
    for _ in range(REPEATS):
        alone = _steady_rate(made)
        with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as other:
            time.sleep(0.2)
            beside = _steady_rate(made)
            other.kill()
        ratios.append(beside / alone)
    return {
        "median": statistics.median(ratios),
        "smallest": min(ratios),
        "largest": max(ratios),
        "cores": len(os.sched_getaffinity(0)),
        "load_average": os.getloadavg()[0],
    }


def busy(rows: int) -> dict[str, Any]:
    """Only the rate beside a busy core; the rows are made in memory."""
    return {"rows": rows, "beside_a_busy_core": beside_a_busy_core(batches(recording(rows)))}


def _mapped(folder: Path) -> pyarrow.Table:
    """The rows of a data set in one memory-mapped file, which is the fastest for lookups."""
    files = sorted((folder / "set" / "data").rglob("*.parquet"))
    table = pyarrow.concat_tables([pyarrow.parquet.read_table(file) for file in files]).combine_chunks()
    with pyarrow.OSFile(str(folder / "rows.arrow"), "wb") as file, pyarrow.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table)
    return pyarrow.ipc.open_file(pyarrow.memory_map(str(folder / "rows.arrow"))).read_all()


def _check(fast: tuple[Tensor, Tensor, Tensor], slow: Mapping[str, Tensor]) -> None:
    """Check that both ways give the same numbers."""
    assert torch.equal(fast[0], slow["observation.state"])
    assert torch.equal(fast[1], slow["action"])
    assert torch.equal(~fast[2], slow["action_is_pad"])


def _steady_rate(made: Iterator[object]) -> float:
    """Windows per second over at least `SPAN`: shorter spans are a matter of whose turn it is on a core."""
    began, count = time.perf_counter(), 0
    while (passed := time.perf_counter() - began) < SPAN:
        next(made)
        count += 1
    return count * BATCH / passed


def _rate(batches: Iterator[object], count: int) -> float:
    return count * BATCH / seconds(lambda: [next(batches) for _ in range(count)])


def scale(rows: int) -> dict[str, Any]:
    """Seconds and peak memory of this process for opening a data set and training on it."""
    before = _peak()
    with tempfile.TemporaryDirectory() as folder:
        place = str(Path(folder) / "set")
        subprocess.run([sys.executable, __file__, "--make", place, "--rows", str(rows)], check=True)
        opened = time.perf_counter()
        episodes = lerobot.read(place)
        prepared = time.perf_counter()
        found: dict[str, Any] = {"rows": rows, "open_s": prepared - opened, "peak_open_gib": _peak()}
    data_gib = rows * (STATES + ACTIONS) * 4 / GIB
    recipe = default_recipe(episodes)
    data = prepare(recipe, episodes)
    trained = time.perf_counter()
    found |= {"prepare_s": trained - prepared, "peak_prepare_gib": _peak()}
    updates = train(recipe, data, initial_state(recipe, data))
    for _ in range(TRAINING_STEPS):
        next(updates)
    found |= {"train_s": time.perf_counter() - trained, "peak_train_gib": _peak()}
    return found | {"peak_before_gib": before, "numbers_gib": data_gib, "training_steps": TRAINING_STEPS}


def _peak() -> float:
    """Largest resident memory of this process so far [GiB]."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / GIB


def table(found: Mapping[str, Any]) -> str:
    """Result as text, one number per line."""
    lines = list[str]()
    for name, value in found.items():
        if isinstance(value, dict):
            given = cast("dict[str, float]", value)
            form = (
                "{mean:.1f} [{low:.1f}, {high:.1f}]"
                if "mean" in given
                else "{median:.2f} ({smallest:.2f} to {largest:.2f})"
            )
            value = form.format(**given)
        lines.append(f"{name:<22} {value:,.2f}" if isinstance(value, float) else f"{name:<22} {value}")
    return "\n".join(lines)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", action="store_true", help="measure memory and time of a large data set")
    parser.add_argument("--busy", action="store_true", help="measure only the rate beside a busy core")
    parser.add_argument("--rows", type=int, help="steps of the data set; default: 100,000, with --scale 10,000,000")
    parser.add_argument("--out", type=Path, help="write the numbers as JSON")
    parser.add_argument("--make", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.make:
        lerobot.write(recording(options.rows), options.make)
        return
    measure = scale if options.scale else busy if options.busy else compare
    found = measure(options.rows or (10_000_000 if options.scale else 100_000)) | {"threads": torch.get_num_threads()}
    print(table(found))
    print(json.dumps(found))
    if options.out:
        options.out.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
