"""Demonstrations and held-out starts that all arms of a quadrotor study share."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

import torch

from ...control import MpcExpert, Quadrotor2D, synthesize
from ...control.synthesis import Synthesis
from ...data import read, write
from ...envs import Actor, Rollout, SystemEnvironment, rollout
from ...errors import DataError
from ...evaluation import Comparison, compare
from ...policy import ChunkExecutor, Policy, StackedPolicies
from ...seeding import stream
from ...types import Episodes, Observation, Prefix, PrimitiveControllers, Trajectory

TOGETHER = 32
"""Number of policies simulated as one batch on a CPU; more would exceed the caches."""


@dataclass(frozen=True)
class QuadrotorWorld:
    """Demonstrations, and held-out starts with the expert's flights from them.

    Attributes:
        pool: Expert episodes to train on.
        held_out: Expert episodes from the starts on which policies are evaluated.
    """

    task: Quadrotor2D
    pool: Episodes
    held_out: Episodes

    @cached_property
    def expert(self) -> Trajectory:
        """The expert's flights from the held-out starts, `[b, t, ·]`."""
        flights = [self.held_out.trajectory(index) for index in range(len(self.held_out))]
        return Trajectory(
            actions=torch.stack([flight.actions for flight in flights]),
            states=torch.stack([flight.states for flight in flights]),
        )

    def fly(self, policy: Actor, *, seed: int = 0) -> Rollout:
        """Flights of a policy from the held-out starts."""
        return rollout(policy, SystemEnvironment(self.task), starts=self.expert.states[:, 0], seed=seed)

    def fly_together(self, policies: Sequence[Policy], seeds: Sequence[int], *, device: str = "cpu") -> list[Rollout]:
        """Flights of several policies from the held-out starts, each with its own seed, in batches."""
        found, size = list[Rollout](), TOGETHER if torch.device(device).type == "cpu" else max(len(policies), 1)
        for first in range(0, len(policies), size):
            part = policies[first : first + size]
            together = StackedPolicies(part, seeds=seeds[first : first + size])
            starts = self.expert.states[:, 0].repeat(len(part), 1).to(device)
            found += rollout(together, SystemEnvironment(self.task), starts=starts).to("cpu").parts(len(part))
        return found

    def judge(self, flights: Rollout) -> Comparison:
        """Comparison of flights with the expert's."""
        return compare(self.task, flights.trajectory, self.expert, lost=flights.lost)


def make_world(
    folder: Path,
    *,
    demonstrations: int = 50,
    starts: int = 64,
    seed: int = 0,
    on_step: Callable[[int], None] = lambda done: None,
) -> QuadrotorWorld:
    """Make the demonstrations and starts of a study once and store them, so that parallel workers share the same bits.

    Only this function draws from the random streams of the held-out starts: no choice was tuned on them.
    """
    task = Quadrotor2D()
    _make_episodes(folder / "pool", task, demonstrations, seed, on_step)
    _make_episodes(folder / "held_out", task, starts, seed, lambda done: on_step(task.steps + done))
    return read_world(folder)


def read_world(folder: Path) -> QuadrotorWorld:
    """The demonstrations and starts that `make_world` stored in a folder."""
    return QuadrotorWorld(Quadrotor2D(), pool=read(folder / "pool"), held_out=read(folder / "held_out"))


@cache
def digest_of_world(folder: Path) -> str:
    """Digest of the stored episodes, so that results are never mistaken for those of other starts."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    content = b"".join(str(path.relative_to(folder)).encode() + path.read_bytes() for path in files)
    return hashlib.sha256(content).hexdigest()[:6]


def _make_episodes(path: Path, task: Quadrotor2D, count: int, seed: int, on_step: Callable[[int], None]) -> None:
    if path.exists():
        if (stored := len(read(path))) != count:
            raise DataError(f"{path} holds {stored} episodes, expected {count}. Remove it, or choose another folder.")
        return
    starts = task.initial_states(count, rng=stream(seed, "quadrotor study", path.name))
    flights = MpcExpert(task).rollout(starts, task.steps, progress=on_step)
    write(Episodes.of(flights, dt=task.dt, system=task.name), path)


@dataclass(frozen=True)
class HoverRegulator:
    """u = u* + K x with the gain of one synthesis at hover: gains without learning."""

    task: Quadrotor2D
    synthesis: Synthesis

    def plan(self, window: Observation, *, rng: torch.Generator, prefix: Prefix | None = None) -> PrimitiveControllers:
        """The same controller for every window."""
        count = window.state.shape[0]
        return PrimitiveControllers(
            actions=self._law.actions.expand(count, 1, -1),
            states=self._law.states.expand(count, 1, -1),
            gains=self._law.gains.expand(count, 1, -1, -1),
        )

    @cached_property
    def _law(self) -> PrimitiveControllers:
        state, action = self.task.equilibrium()
        # the last linearisation of a trajectory repeats beyond its end, so one step at hover suffices
        still = Trajectory(actions=action[None], states=state.expand(2, -1))
        return synthesize(self.synthesis, self.task, still).at(0)

    def policy(self) -> ChunkExecutor:
        """The regulator as a policy."""
        return ChunkExecutor(self)


def expert_jacobians(task: Quadrotor2D, episodes: Episodes, *, spacing: float = 1e-4) -> torch.Tensor:
    """∂u/∂x of the expert's law at each demonstrated state, `[rows, m, n]`, by central differences of its plans."""
    expert = MpcExpert(task)
    nominal = expert.plan(episodes.states)
    columns = list[torch.Tensor]()
    for coordinate in range(task.n_states):
        shift = torch.zeros(task.n_states, dtype=episodes.states.dtype)
        shift[coordinate] = spacing
        ahead, behind = (expert.plan(episodes.states + sign * shift, nominal.actions).actions[:, 0] for sign in (1, -1))
        columns.append((ahead - behind) / (2 * spacing))
    return torch.stack(columns, dim=-1)
