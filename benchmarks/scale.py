"""Time and memory of a training as functions of the data, the batch, the horizon, the state, and variants.

    python benchmarks/scale.py [--out FILE.json] [--picture FILE.png] [--quick]

One quantity is varied at a time, starting from 100,000 steps of 16 states and 8 actions, batches of 256, chunks of 16
and one training (the default recipe for data without known dynamics). Each cell runs in its own process, because the
peak of resident memory never decreases; the data are created in that process, so the peak includes them. "beyond" is
the peak minus the imports and minus the data: model, optimiser, activations, copies. Times are those of one thread and
depend on the machine; `relative` is relative to the starting point, measured just before.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from holdfast.learn import default_recipe, prepare, train_variants
from holdfast.recipe import Recipe
from holdfast.report import Chart, Series, draw_chart
from holdfast.seeding import stream
from holdfast.types import Episodes

MIB = 2**20
LENGTH = 1000


@dataclass(frozen=True)
class Cell:
    """Sizes of a training."""

    rows: int = 100_000
    batch: int = 256
    horizon: int = 16
    states: int = 16
    variants: int = 1


AXES: dict[str, tuple[int, ...]] = {
    "rows": (10_000, 100_000, 1_000_000, 10_000_000),
    "batch": (32, 64, 128, 256, 512, 1024),
    "horizon": (4, 8, 16, 32, 64),
    "states": (4, 16, 64, 256),
    "variants": (1, 2, 4, 8, 16, 32),
}
QUICK = {name: (values[0], values[-2]) for name, values in AXES.items()}
UPDATES, LOOKS = 5, 5


def recording(cell: Cell) -> Episodes:
    """Noise in episodes of a thousand steps; only the shapes matter here."""
    rng = stream(0, "benchmark", "scale")
    return Episodes(
        actions=torch.randn(cell.rows, 8, generator=rng),
        states=torch.randn(cell.rows, cell.states, generator=rng),
        lengths=torch.full((cell.rows // LENGTH,), LENGTH),
        dt=1 / 50,
    )


def recipe_of(cell: Cell, episodes: Episodes) -> Recipe:
    """The default recipe in float32, so that results are comparable across processors."""
    recipe = default_recipe(episodes)
    training = replace(recipe.training, batch_size=cell.batch, precision="float32")
    execution = replace(recipe.policy.execution, n_action_steps=1)
    return replace(recipe, policy=replace(recipe.policy, horizon=cell.horizon, execution=execution), training=training)


def peak() -> int:
    """Largest resident memory of this process so far [bytes]."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def measure(cell: Cell) -> dict[str, Any]:
    """Time of an update per variant, and memory, in this process."""
    torch.set_num_threads(1)
    imported = peak()
    episodes = recording(cell)
    recipe = recipe_of(cell, episodes)
    data = prepare(recipe, episodes)
    size = sum(value.numel() * value.element_size() for value in (episodes.actions, episodes.states))
    recipes = [replace(recipe, seed=seed) for seed in range(cell.variants)]
    updates = train_variants(recipes, [data] * cell.variants, every=UPDATES, threads=1)
    next(updates)
    times = list[float]()
    for _ in range(LOOKS):
        started = time.process_time()
        next(updates)
        times.append(1e3 * (time.process_time() - started) / UPDATES / cell.variants)
    found = {"ms_per_update": statistics.median(times), "peak_mib": peak() / MIB, "data_mib": size / MIB}
    return asdict(cell) | found | {"beyond_mib": (peak() - imported - size) / MIB}


def elsewhere(cell: Cell) -> dict[str, Any]:
    """`measure` in a fresh process."""
    command = [sys.executable, __file__, "--cell", json.dumps(asdict(cell))]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)


def sweep(axes: dict[str, tuple[int, ...]]) -> list[dict[str, Any]]:
    """Measure all cells; each value of an axis after the starting point."""
    found = list[dict[str, Any]]()
    for axis, values in axes.items():
        for value in values:
            middle, cell = elsewhere(Cell()), elsewhere(replace(Cell(), **{axis: value}))
            cell["relative"] = cell["ms_per_update"] / middle["ms_per_update"]
            found.append({"axis": axis, "value": value, **cell})
            print(line(found[-1]), flush=True)
    return found


def line(row: dict[str, Any]) -> str:
    """One cell as text."""
    return (
        f"{row['axis']:9s} {row['value']:>10,d}  {row['ms_per_update']:8.2f} ms = {row['relative']:5.2f} of the middle "
        f"data {row['data_mib']:7.1f} MiB, beyond them {row['beyond_mib']:7.1f} MiB"
    )


def draw(found: list[dict[str, Any]], path: Path) -> None:
    """Draw the times of all axes, each relative to its starting point."""
    middle = asdict(Cell())
    series = [
        Series(
            axis,
            [row["value"] / middle[axis] for row in found if row["axis"] == axis],
            [row["relative"] for row in found if row["axis"] == axis],
            points=True,
        )
        for axis in dict.fromkeys(row["axis"] for row in found)
    ]
    chart = Chart(
        "Time of an update",
        series,
        x="relative to 100,000 rows, batch 256, horizon 16, 16 states, 1 variant",
        y="time of one update, relative",
        log_x=True,
    )
    draw_chart(path, chart)


def main() -> None:
    """Measure, print, and write what was requested."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="write the numbers as JSON")
    parser.add_argument("--picture", type=Path, help="draw the times")
    parser.add_argument("--quick", action="store_true", help="two values of each axis")
    parser.add_argument("--cell", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.cell:
        print(json.dumps(measure(Cell(**json.loads(options.cell)))))
        return
    found = sweep(QUICK if options.quick else AXES)
    if options.out:
        options.out.write_text(json.dumps(found, indent=1))
    if options.picture:
        draw(found, options.picture)


if __name__ == "__main__":
    main()
