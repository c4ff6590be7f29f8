"""`holdfast demonstrate`: an expert writes demonstrations."""

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import tyro

from ..control import MpcExpert, system
from ..data import FormatName, check_target, write
from ..errors import RecipeError
from ..seeding import stream
from ..types import Episodes
from .console import console, name_files, stages

__all__ = ["Demonstrate"]


@dataclass(frozen=True)
class Demonstrate:
    """Let the model-predictive expert of a built-in system record demonstrations."""

    system: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="SYSTEM")]
    """Name of the system: double_integrator, quadrotor2d or scalar."""
    out: Path
    """File or folder to write the data set to."""
    episodes: int = 50
    """How many episodes to record."""
    format: FormatName | None = None
    """What to write; by default what the suffix of --out says (.npz, .hdf5, .zarr, .zarr.zip), else lerobot."""
    seed: int = 0
    """Of the initial states."""
    overwrite: bool = False
    """Replace a data set that lies there."""

    def run(self) -> None:
        """Record and store the episodes."""
        if self.episodes < 1:
            raise RecipeError(f"expected at least 1 episode, got {self.episodes}.")
        task = system(self.system)
        check_target(self.out, overwrite=self.overwrite)
        starts = task.initial_states(self.episodes, rng=stream(self.seed, "demonstrate", self.system))
        started = time.perf_counter()
        with stages() as stage:
            advance = stage(f"{self.episodes} episodes", task.steps)
            flights = MpcExpert(task).rollout(starts, task.steps, progress=advance)
        seconds = time.perf_counter() - started
        episodes = replace(
            Episodes.of(flights, dt=task.dt, system=task.name),
            names={"state": tuple(task.state_names), "action": tuple(task.action_names)},
            meta={"expert": "model-predictive control by iterative LQR, 30 states ahead", "seed": self.seed},
        )
        write(episodes, self.out, format=self.format, overwrite=self.overwrite)
        last = flights.states[:, -1]
        left = task.difference(last, task.equilibrium()[0].expand_as(last)).square().sum(dim=-1).sqrt()
        console.print(
            f"{self.episodes} episodes of {task.steps} steps in {seconds:.1f} s; "
            f"{float((left < 0.3).double().mean()):.0%} end within 0.3 of the goal (median {float(left.median()):.3f})"
        )
        name_files(self.out)
