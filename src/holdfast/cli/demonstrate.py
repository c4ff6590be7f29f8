"""`holdfast demonstrate`: an expert writes demonstrations."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import tyro

from ..atomic import check_space
from ..control import SYSTEMS, MpcExpert, Task, system
from ..data import FORMATS, check_output, claimed_output, write
from ..envs.avoid_expert import LONGEST, avoid_demonstrations
from ..envs.avoid_rewards import modes_of_task
from ..envs.courier import COURIER_STEPS, courier_demonstrations
from ..envs.fork import fork_demonstrations
from ..envs.maze import MAZE_STEPS, maze_demonstrations
from ..envs.obstacle import obstacle_demonstrations
from ..envs.particle import PARTICLE_STEPS, particle_demonstrations
from ..envs.registry import PARTICLE_DIGITS
from ..errors import UnknownNameError
from ..seeding import stream
from ..types import Episodes
from .console import console, name_files
from .machine import check_rollouts
from .options import one_of
from .progress import stages

_AVOIDING = ("avoid", "avoid-m1", "avoid-m2", "avoid-m3")
_TWO_SIDES = 60
"""Control steps of a demonstration past a disc, at most."""


@dataclass(frozen=True)
class Demonstrate:
    """Record demonstrations with a built-in expert.

    The systems double_integrator, quadrotor2d and scalar have a model-predictive expert. The other environments have
    scripted experts. In avoid, D3IL's obstacle avoidance, the 24 ways around the obstacles are demonstrated equally
    often (their counts differ by at most one episode). In avoid-m1, avoid-m2 and avoid-m3, the tasks of DPPO, only two
    ways are: right of the first obstacle, left of the second row, then the first gap of the third row, or its second
    (m1), third (m2) or fourth (m3) gap. In courier, the expert fetches a parcel, delivers it and rings a bell, in
    gusts; the column skill labels each step with one of these three skills. In obstacle, the expert passes a disc on a
    side chosen at random. In fork, it passes a disc at high speed and in gusts, in half of the episodes on each side.
    In maze, it wanders between random squares, by shortest ways. In particle, the task of IBC, a point moves to two
    goals in turn, in 2 dimensions, or in <dims> dimensions for particle:<dims>.
    """

    system: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="ENVIRONMENT")]
    """Environment: avoid, avoid-m1, avoid-m2, avoid-m3, courier, double_integrator, fork, maze, obstacle,
    particle, particle:<dims>, quadrotor2d or scalar."""
    out: Path
    """File or folder to write the data set to."""
    episodes: int = 50
    """Number of episodes to record."""
    format: Annotated[str | None, one_of(FORMATS)] = None
    """Format to write. Default: by the suffix .npz, .hdf5, .zarr or .zarr.zip, else lerobot."""
    seed: int = 0
    """Random seed for the initial states, the paths (avoid, fork, obstacle), the goals (particle), the places
    (courier) and the squares (maze)."""
    overwrite: bool = False
    """Replace an existing data set at --out."""

    def run(self) -> None:
        """Record and store the episodes."""
        with claimed_output(self.out):
            check_output(self.out, overwrite=self.overwrite)
            self._record()
        name_files(self.out)

    def _record(self) -> None:
        match self.system.partition(":"):
            case ("avoid", "", _):
                self._avoid()
            case (("avoid-m1" | "avoid-m2" | "avoid-m3") as task, "", _):
                self._avoid(modes_of_task(task.removeprefix("avoid-")))
            case ("courier", "", _):
                self._courier()
            case ("maze", "", _):
                self._maze()
            case ("obstacle", "", _):
                self._two_sides(obstacle_demonstrations)
            case ("fork", "", _):
                self._two_sides(fork_demonstrations)
            case ("particle", "", _):
                self._particle(dims=2)
            case ("particle", ":", dims) if dims.isdecimal() and len(dims) <= PARTICLE_DIGITS:
                self._particle(dims=int(dims))
            case (name, "", _) if name in SYSTEMS:
                self._by_planning(system(name))
            case _:
                raise UnknownNameError(
                    "system",
                    self.system,
                    (*SYSTEMS, *_AVOIDING, "courier", "fork", "maze", "obstacle", "particle", "particle:<dims>"),
                )

    def _check_size(self, steps: int, numbers: int) -> None:
        """Ask for memory and disk before the work."""
        check_rollouts(self.episodes, steps, numbers)
        check_space(self.out, 8 * self.episodes * steps * numbers)

    def _avoid(self, modes: Sequence[int] | None = None) -> None:
        self._check_size(LONGEST, 8)
        rng = stream(self.seed, "demonstrate", self.system)
        episodes = avoid_demonstrations(self.episodes, rng=rng, modes=modes)
        self._write(episodes, {"seed": self.seed})
        console.say(f"{self.episodes} episodes, {int(episodes.lengths.sum())} steps, all solved")

    def _courier(self) -> None:
        # four states, seven further readings, two forces and a label
        self._check_size(COURIER_STEPS, 14)
        episodes = courier_demonstrations(self.episodes, rng=stream(self.seed, "demonstrate", "courier"))
        self._write(episodes, {"seed": self.seed})
        console.say(f"{self.episodes} episodes, {int(episodes.lengths.sum())} steps, all solved")

    def _maze(self) -> None:
        self._check_size(MAZE_STEPS, 4)
        episodes = maze_demonstrations(self.episodes, rng=stream(self.seed, "demonstrate", "maze"))
        self._write(episodes, {"seed": self.seed})
        console.say(
            f"{self.episodes} episodes, {int(episodes.lengths.sum())} steps, none of them to the goal on purpose"
        )

    def _two_sides(self, demonstrations: Callable[..., Episodes]) -> None:
        self._check_size(_TWO_SIDES, 8)
        episodes = demonstrations(self.episodes, rng=stream(self.seed, "demonstrate", self.system))
        self._write(episodes, {"seed": self.seed})
        sides = episodes.meta["modes"]
        console.say(f"{self.episodes} episodes, {sides.count(0)} on the left and {sides.count(1)} on the right")

    def _particle(self, *, dims: int) -> None:
        rng = stream(self.seed, "demonstrate", "particle")
        # position, velocity and two goals
        self._check_size(PARTICLE_STEPS, 5 * dims)
        episodes = particle_demonstrations(self.episodes, rng=rng, dims=dims)
        self._write(episodes, {"seed": self.seed})
        solved = int(episodes.meta["solved"])
        console.say(f"{self.episodes} episodes, {int(episodes.lengths.sum())} steps, {solved} solved")

    def _write(self, episodes: Episodes, meta: dict[str, Any]) -> None:
        described = replace(episodes, meta={**episodes.meta, **meta})
        write(described, self.out, format=self.format, overwrite=self.overwrite)

    def _by_planning(self, task: Task) -> None:
        self._check_size(task.steps, task.n_states + task.n_actions)
        starts = task.initial_states(self.episodes, rng=stream(self.seed, "demonstrate", task.name))
        started = time.perf_counter()
        with stages() as stage:
            advance = stage(f"{self.episodes} episodes", task.steps)
            rollouts = MpcExpert(task).rollout(starts, task.steps, progress=advance)
        seconds = time.perf_counter() - started
        episodes = replace(
            Episodes.of(rollouts, dt=task.dt, system=task.name),
            names={"state": tuple(task.state_names), "action": tuple(task.action_names)},
        )
        expert = "model-predictive control by iterative LQR, 30 states ahead"
        self._write(episodes, {"expert": expert, "seed": self.seed})
        last = rollouts.states[:, -1]
        distance = (last - task.equilibrium()[0]).square().sum(dim=-1).sqrt()
        near, median = float((distance < 0.3).double().mean()), float(distance.median())
        console.say(
            f"{self.episodes} episodes of {task.steps} steps in {seconds:.1f} s; {near:.0%} end within 0.3 of the goal "
            f"(median {median:.3f})"
        )
