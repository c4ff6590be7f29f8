"""`holdfast study`: a figure or table of the seeds, measured again."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from ..errors import OutputError, RecipeError, UnknownNameError
from ..report import write_result
from ..study.arms import recipe_of
from ..study.fig5 import Fig5, fig5, plan
from ..study.fig5_report import write_fig5_page
from .console import console, name_files, show_table, stages

__all__ = ["STUDIES", "Study"]

STUDIES = ("fig5",)
_COLUMNS = ("arm", "sigma", "noise", "score", "distance", "diverged")


@dataclass(frozen=True)
class Study:
    """Measure a figure of the literature again, over training seeds, on common held-out starts.

    fig5: cloning gains against cloning raw actions on the 2-D quadrotor (Block et al. 2023, Figure 5).
    """

    name: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="NAME")]
    """Name of the study: fig5."""
    out: Path | None = None
    """Folder for result.json, the figure and the page, called after the study if nothing is said; a stopped study goes
    on where it was."""
    preset: Literal["quick", "full"] = "quick"
    """quick: minutes; full: the paper's whole grid, hours."""
    setting: Literal["published", "holdfast"] = "holdfast"
    """The authors' choices, or our best."""
    film_defect: bool = False
    """With the published defect of the FiLM bias (one number a layer)."""
    range_defect: bool = False
    """With the published defect of the gains' range (un-normalised by another quantity's)."""
    seeds: int = 5
    """Training seeds."""
    demos: tuple[int, ...] | None = None
    """Numbers of demonstrations, in place of the preset's."""
    sigmas: tuple[float, ...] | None = None
    """Noise levels, in place of the preset's."""
    workers: int | None = None
    """Processes; all cores if nothing is said."""
    overwrite: bool = False
    """Replace result.json, the figure and the page of a finished study; finished trainings are kept."""

    def run(self) -> None:
        """Run the study and write its figure, page and result.json."""
        match self.name:
            case "fig5":
                self._fig5()
            case _:
                raise UnknownNameError("study", self.name, STUDIES)

    def _fig5(self) -> None:
        if self.seeds < 1:
            raise RecipeError(f"expected at least 1 seed, got {self.seeds}.")
        started = time.perf_counter()
        out = _claim(self.out or Path(self.name), overwrite=self.overwrite)
        arms = plan(
            self.preset,
            self.setting,
            seeds=self.seeds,
            demos=self.demos,
            sigmas=self.sigmas,
            film_defect=self.film_defect,
            range_defect=self.range_defect,
        )
        console.print(f"{len(arms)} trainings; finished ones are kept in {out / 'arms'}", soft_wrap=True)
        with stages() as stage:
            found = fig5(arms, out, workers=self.workers, on_done=stage("trainings", len(arms)))
        values: dict[str, Any] = {
            "study": "fig5",
            "preset": self.preset,
            "setting": self.setting,
            "film_defect": self.film_defect,
            "range_defect": self.range_defect,
            "recipes": {arm.gains: recipe_of(arm) for arm in reversed(arms)},
            "rows": found.rows,
            "comparisons": found.comparisons,
            "references": found.references,
            "training_seconds": found.seconds,
            "seconds": time.perf_counter() - started,
        }
        _show(found)
        name_files(write_result(out / "result.json", values), *write_fig5_page(out, found, setting=self.setting))


def _claim(out: Path, *, overwrite: bool) -> Path:
    """The study's folder: unfinished ones are gone on with, finished ones are replaced only when asked for."""
    if out.is_file():
        raise OutputError(f"{out} is a file. Choose another --out.")
    if (out / "result.json").exists() and not overwrite:
        raise OutputError(f"{out} holds a finished study. Choose another --out, or give --overwrite.")
    if out.is_dir() and any(out.iterdir()) and not (out / "world").is_dir():
        raise OutputError(f"{out} holds something that is no study. Choose another --out.")
    out.mkdir(parents=True, exist_ok=True)
    return out


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
