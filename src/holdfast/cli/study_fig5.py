"""Study fig5 on the command line: from options to files and a table."""

import time
from pathlib import Path
from typing import Any

from ..report import write_result
from ..studies.fig5.page import write_fig5_page
from ..studies.fig5.plan import Fig5, fig5
from ..studies.quadrotor.arms import Arm, recipe_of
from .console import console, name_files, show_table, stages

__all__ = ["run_fig5"]

_COLUMNS = ("arm", "sigma", "noise", "score", "distance", "diverged")


def run_fig5(out: Path, arms: list[Arm], *, preset: str, workers: int | None, device: str = "cpu") -> None:
    """Run the study and write its figure, page and result.json."""
    started, first = time.perf_counter(), arms[0]
    with stages() as stage:
        found = fig5(arms, out, workers=workers, device=device, on_done=stage("trainings", len(arms)))
    values: dict[str, Any] = {
        "study": "fig5",
        "preset": preset,
        "setting": first.setting,
        "film_defect": first.film_defect,
        "range_defect": first.range_defect,
        "recipes": {arm.gains: recipe_of(arm) for arm in reversed(arms)},
        "rows": found.rows,
        "comparisons": found.comparisons,
        "references": found.references,
        "training_seconds": found.seconds,
        "seconds": time.perf_counter() - started,
    }
    _show(found)
    name_files(write_result(out / "result.json", values), *write_fig5_page(out, found, setting=first.setting))


def _show(found: Fig5) -> None:
    rows = [
        [
            f"{row['synthesis']}, N = {row['n_demos']}",
            f"{row['sigma']:g}",
            row["noise"],
            f"{row['score']:.2f} [{row['low']:.2f}, {row['high']:.2f}]",
            f"{row['distance']:.3f}",
            f"{row['diverged']:.0%}",
        ]
        for row in found.rows
    ]
    rows += [[item["name"], "", "", f"{item['score']:.3f}", f"{item['distance']:.3f}", ""] for item in found.references]
    show_table("fig5, means over seeds with 95 % intervals", _COLUMNS, rows)
    for item in found.comparisons:
        console.print(
            f"{item['what']} ({item['synthesis']}, sigma {item['sigma']:g}, {item['noise']}): "
            f"{item['difference']:+.3f} [{item['low']:+.3f}, {item['high']:+.3f}], "
            f"{item['seeds_in_favour']} of {item['seeds']} seeds in favour",
            soft_wrap=True,
        )
