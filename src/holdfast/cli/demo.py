"""`holdfast demo`: the main job, end to end, on the built-in quadrotor."""

import re
import time
from dataclasses import dataclass
from pathlib import Path

from ..atomic import leaves, replacing
from ..errors import Interrupted, OutputError
from ..interrupts import Stopped
from ..learn import is_of_run
from ..report import write_result
from ..studies.demo.page import write_demo_page
from ..studies.demo.plan import DemoResult, demo
from .console import console, name_files, show_table
from .progress import stages

_RUN = re.compile(r"runs/(raw|hint|close)/")
_FILES = re.compile(
    r"result\.json|index\.html|flights\.(gif|png)|errors\.png|world/(pool|held_out)/(meta|data)/.+\.(json|parquet)"
)


@dataclass(frozen=True)
class Demo:
    """Clone one demonstration of a quadrotor in two ways and run both from the same held-out initial states.

    One policy clones the actions, the other clones actions with feedback gains (HINT). For comparison, HINT with the
    expert's own feedback and a regulator that is not learned run as well. This takes a few minutes on a laptop and
    writes a page that explains the result.
    """

    out: Path = Path("demo")
    """Folder for the page, the pictures and result.json; it is created."""
    seed: int = 0
    """Random seed for the choice of the demonstration, one of three recorded ones, and for initialization, batches and
    noise. The held-out initial states are the same for all seeds."""
    steps: int | None = None
    """Number of parameter updates per training run. A smaller number is faster and gives worse policies. Default:
    3000."""
    starts: int = 64
    """Number of held-out initial states."""
    overwrite: bool = False
    """Replace an existing demo in --out."""

    def run(self) -> None:
        """Run the demo, write its page."""
        started = time.perf_counter()
        console.say(("Holdfast", "bold"), ": one demonstration, cloned in two ways, run from the same initial states")
        try:
            with replacing(self.out, ours=_is_of_demo, purpose="running a demo in") as fresh:
                _check(self.out, overwrite=self.overwrite)
                written = self._made(fresh, started)
        except Interrupted as stop:
            # its run folder is gone with everything else that was not finished
            raise Stopped(stop.signum) from stop
        name_files(*written, prepared=fresh, out=self.out)
        seconds = time.perf_counter() - started
        console.say(f"{seconds:.0f} s; open {self.out / 'index.html'} in a browser")
        runs = self.out / "runs"
        console.say(f"next: holdfast diagnose {runs / 'raw'} and the same for {runs / 'hint'}")

    def _made(self, folder: Path, started: float) -> list[Path]:
        found = self._work(folder)
        show_table(
            f"{self.starts} held-out initial states, 95 % intervals",
            ["", "score", "distance", "diverged"],
            [
                [item.name, *(str(item.estimates[key]) for key in ("score", "distance", "diverged"))]
                for item in found.policies
            ],
        )
        values = {
            "study": "demo",
            "recipes": {item.name: item.recipe for item in found.policies if item.recipe is not None},
            "seed": self.seed,
            "starts": self.starts,
            "policies": [{"name": item.name, **item.estimates} for item in found.policies],
            "seconds": time.perf_counter() - started,
        }
        return [write_result(folder / "result.json", values), *write_demo_page(folder, found)]

    def _work(self, folder: Path) -> DemoResult:
        with stages() as stage:
            return demo(folder, place=self.out, seed=self.seed, starts=self.starts, steps=self.steps, on_stage=stage)


def _is_of_demo(relative: str) -> bool:
    run = _RUN.match(relative)
    return is_of_run(relative[run.end() :]) if run else _FILES.fullmatch(relative) is not None


def _check(out: Path, *, overwrite: bool) -> None:
    """Refuse a folder that a new demo may not replace."""
    if out.is_file():
        raise OutputError(f"{out} is a file. Choose a folder for --out.")
    if not out.is_dir() or not any(leaves(out)):
        return
    if not overwrite:
        raise OutputError(f"{out} exists already. Choose another --out, or give --overwrite to replace its results.")
    if not any((out / part).exists() for part in ("result.json", "runs", "world")):
        raise OutputError(f"{out} holds something that is not a demo. Choose another --out.")
