"""Trainings of study long-horizon and their long flights.

The expert comes to rest, so a flight in still air shows little after its arrival. Each policy therefore flies twice
from the same held-out starts: in still air, and in gusts, noise on the rates that is the same for every policy and for
the expert. The expert is the model-predictive one of the demonstrations, which plans at every step.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Literal, TypeAlias

import torch
from jaxtyping import Float
from safetensors.torch import load_file, save  # pyright: ignore[reportUnknownVariableType]
from torch import Tensor

from ...control import MpcExpert
from ...envs import Rollout, SystemEnvironment, rollout
from ...evaluation import compare
from ...evaluation.score import DIVERGENCE_RADIUS
from ...policy import Planner, Policy, StackedPolicies
from ...seeding import stream
from ...types import Observation, Trajectory
from ..engine.jobs import key_of
from ..quadrotor.arms import Arm, Gains, recipe_of
from ..quadrotor.cells import Scored, scored, world_digest, world_of
from ..quadrotor.run_arms import train_planners
from ..quadrotor.world import QuadrotorWorld

Air: TypeAlias = Literal["still", "gusts"]
AIRS: tuple[Air, ...] = ("still", "gusts")

Arms: TypeAlias = tuple[Gains, int, float]
"""Settings of an arm: kind of gains, demonstrations, σ."""

GUST = 0.03
"""Std of the gusts per step on each rate [m/s, m/s, rad/s]."""

BLOCKS = 100
"""Number of blocks of equal length that an episode is divided into."""


@dataclass(frozen=True)
class LongFlight:
    """One training's flights in one air, compared with the expert's; time is divided into blocks of equal length.

    Attributes:
        block: Steps of a block.
        error: Mean state error of each start in each block.
        peak: Largest state error of each start in each block.
        left: Step at which each start had diverged, `None` if it never did.
    """

    air: Air
    block: int
    score: list[float]
    distance: list[float]
    error: list[list[float]]
    peak: list[list[float]]
    left: list[int | None]

    @property
    def scored(self) -> Scored:
        """Scores as in the other quadrotor studies."""
        return Scored(self.score, self.distance, [step is not None for step in self.left])


@dataclass(frozen=True)
class LongJob:
    """One training and its long flights of a number of steps, with the training's noise."""

    arm: Arm
    steps: int

    @property
    def key(self) -> str:
        return key_of(self.arm.key, self.steps, GUST)


class PlanningExpert:
    """The model-predictive expert as a policy, which replans at every step, for flights with disturbances."""

    def __init__(self, expert: MpcExpert) -> None:
        self.expert = expert
        self.reset()

    def reset(self, seed: int | None = None) -> None:
        """Discard the last plan."""
        self.warm_start: Tensor | None = None

    def act(self, observation: Observation, state: Float[Tensor, "b n"]) -> Float[Tensor, "b m"]:
        """First action of a new plan, warm-started with the last one shifted by a step."""
        plan = self.expert.plan(state, self.warm_start)
        self.warm_start = torch.cat([plan.actions[:, 1:], plan.actions[:, -1:]], 1)
        return plan.actions[:, 0]


def gusts(world: QuadrotorWorld, air: Air, steps: int) -> Float[Tensor, "b t n"]:
    """Disturbance of the next state at each step: zero, or independent Gaussian noise on the rates."""
    count, n = len(world.held_out), world.task.n_states
    noise = torch.randn(count, steps, n, dtype=torch.float64, generator=stream(0, "quadrotor study", "gusts"))
    return noise * torch.tensor([0.0] * 3 + [0.0 if air == "still" else GUST] * 3, dtype=torch.float64)


def expert_path(folder: Path, sky: tuple[Air, int]) -> Path:
    """File of the expert's flights in one air, of a given number of steps."""
    air, steps = sky
    return folder / "expert" / f"{key_of(f'{air}-{steps}', GUST)}-{world_digest(folder)}.safetensors"


def expert_flights(folder: Path, skies: Sequence[tuple[Air, int]]) -> Iterator[tuple[tuple[Air, int], bytes]]:
    """The expert's flights in each air, as they are stored."""
    return ((sky, _expert_bytes(folder, *sky)) for sky in skies)


def _expert_bytes(folder: Path, air: Air, steps: int) -> bytes:
    world = world_of(folder)
    environment, disturbance = SystemEnvironment(world.task, steps=steps), gusts(world, air, steps)
    expert = PlanningExpert(MpcExpert(world.task))
    flown = rollout(expert, environment, starts=world.expert.states[:, 0], disturbance=disturbance)
    return stored(flown.trajectory)


def stored(flight: Trajectory) -> bytes:
    """Flights in the format of their file."""
    return save({"states": flight.states.contiguous(), "actions": flight.actions.contiguous()})


def evaluate_long(folder: Path, jobs: Sequence[LongJob]) -> Iterator[tuple[LongJob, list[LongFlight]]]:
    """Train arms of one shape together and evaluate each in both airs, all as one batch."""
    world = world_of(folder)
    trained = train_planners([job.arm for job in jobs], world)
    flown = [job for job in jobs if job.arm in trained.planners]
    if flown:
        parts = _flights([(job, trained.planners[job.arm]) for job in flown], world).parts(len(flown))
        for job, both in zip(flown, parts, strict=True):
            experts = [_read_expert(expert_path(folder, (air, job.steps))) for air in AIRS]
            each = zip(AIRS, both.parts(len(AIRS)), experts, strict=True)
            yield job, [_long_flight(world, air, part, expert) for air, part, expert in each]
    trained.check()


def _flights(arms: Sequence[tuple[LongJob, Planner]], world: QuadrotorWorld) -> Rollout:
    """Flights of all jobs, one after another, each in both airs."""
    steps = arms[0][0].steps
    policies = [
        Policy(planner, execution=replace(recipe_of(job.arm).policy.execution, sigma_deploy=job.arm.sigma))
        for job, planner in arms
    ]
    together = StackedPolicies(policies, seeds=[job.arm.seed for job, _ in arms])
    disturbance = torch.cat([gusts(world, air, steps) for air in AIRS])
    starts = world.expert.states[:, 0].repeat(len(AIRS) * len(arms), 1)
    environment = SystemEnvironment(world.task, steps=steps)
    return rollout(together, environment, starts=starts, disturbance=disturbance.repeat(len(arms), 1, 1))


def _long_flight(world: QuadrotorWorld, air: Air, flown: Rollout, expert: Trajectory) -> LongFlight:
    comparison = compare(world.task, flown.trajectory, expert, lost=flown.lost)
    gone = (comparison.error > DIVERGENCE_RADIUS) | flown.lost
    blocks = comparison.error.reshape(len(comparison.error), BLOCKS, -1)
    plain = scored(comparison)
    return LongFlight(
        air=air,
        block=blocks.shape[-1],
        score=plain.score,
        distance=plain.distance,
        error=[[float(value) for value in start] for start in blocks.mean(-1)],
        peak=[[float(value) for value in start] for start in blocks.amax(-1)],
        left=[int(each.int().argmax()) if bool(each.any()) else None for each in gone],
    )


@cache
def _read_expert(path: Path) -> Trajectory:
    found = load_file(path)
    return Trajectory(actions=found["actions"], states=found["states"])
