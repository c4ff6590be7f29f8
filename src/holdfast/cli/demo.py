"""`holdfast demo`: the main job, end to end, on the built-in quadrotor."""

import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from ..report import write_result
from ..studies.demo.page import write_demo_page
from ..studies.demo.plan import DemoResult, demo
from .console import claim_folder, console, name_files, show_table, stages


@dataclass(frozen=True)
class Demo:
    """Clone one demonstration of a quadrotor in two ways and run both from the same held-out initial states.

    One policy clones the actions, the other clones feedback gains (HINT). For comparison, HINT with the expert's own
    feedback and a regulator that is not learned run as well. This takes a few minutes on a laptop and writes a page
    that explains the result.
    """

    out: Path = Path("demo")
    """Folder for the page, the pictures and result.json; it is created."""
    seed: int = 0
    """Random seed for the demonstration, initialization, batches and noise."""
    steps: int | None = None
    """Number of parameter updates of each training. Fewer are faster and give worse policies. Default: 4000."""
    starts: int = 64
    """Number of held-out initial states."""
    overwrite: bool = False
    """Replace an existing demo in --out."""

    def run(self) -> None:
        """Run the demo, write its page."""
        started = time.perf_counter()
        out = claim_folder(self.out, overwrite=self.overwrite)
        for part in ("world", "runs"):
            shutil.rmtree(out / part, ignore_errors=True)
        console.say(("Holdfast", "bold"), ": one demonstration, cloned in two ways, run from the same initial states")
        found = self._work(out)
        seconds = time.perf_counter() - started
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
            "seconds": seconds,
        }
        name_files(write_result(out / "result.json", values), *write_demo_page(out, found))
        console.say(f"{seconds:.0f} s; open {out / 'index.html'} in a browser")
        console.say(f"next: holdfast diagnose {out / 'runs' / 'raw'} and the same for {out / 'runs' / 'hint'}")

    def _work(self, out: Path) -> DemoResult:
        with stages() as stage:
            return demo(out, seed=self.seed, starts=self.starts, steps=self.steps, on_stage=stage)
