"""Trainings of study long-horizon and their long flights.

The expert comes to rest, so a flight in still air shows little after its arrival. Each policy therefore flies twice
from the same held-out starts: in still air, and in gusts, noise on the rates that is the same for every policy and for
the expert. The expert is the model-predictive one of the demonstrations, which plans at every step.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal, TypeAlias

import torch
from jaxtyping import Bool, Float
from safetensors.torch import load_file, save  # pyright: ignore[reportUnknownVariableType]
from torch import Tensor

from ...control import MpcExpert
from ...envs import Rollout, SystemEnvironment, rollout
from ...evaluation import compare, over_seeds
from ...evaluation.score import DIVERGENCE_RADIUS
from ...policy import Planner, Policy, StackedPolicies
from ...seeding import stream
from ...types import Observation, Trajectory
from ..engine.jobs import key_of
from ..engine.statistics import flat, geometric_mean, paired_ratio, share, side_of
from ..quadrotor.arms import Arm, Gains, recipe_of
from ..quadrotor.cells import Scored, comparison_of, row_of, scored, world_digest, world_of
from ..quadrotor.run_arms import train_planners
from ..quadrotor.world import QuadrotorWorld

Air: TypeAlias = Literal["still", "gusts"]
AIRS: tuple[Air, ...] = ("still", "gusts")

Arms: TypeAlias = tuple[Gains, int, float]
"""Settings of an arm: kind of gains, demonstrations, σ."""


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


Groups: TypeAlias = Mapping[tuple[Arms, Air], Sequence[LongFlight]]


def rows_of(groups: Groups, *, demonstrated: int) -> list[dict[str, Any]]:
    """One wide row per arm and air.

    Besides the entries of `row_of`: `early`, error in as many steps after the demonstrations' end as they are long;
    `late`, in the last tenth of the flight; `growth`, their ratio, paired by seed and start; `exponent`, the power of
    time with which the largest error so far grows from the demonstrations' end on: 0 is no growth, 1 linear growth.
    """
    return [_row(arm, air, group, demonstrated) for (arm, air), group in groups.items()]


def _row(arm: Arms, air: Air, group: Sequence[LongFlight], demonstrated: int) -> dict[str, Any]:
    block, blocks = group[0].block, len(group[0].error[0])
    error = torch.tensor([flight.error for flight in group], dtype=torch.float64)
    first, last = demonstrated // block, max(blocks // 10, 1)
    early, late = error[..., first : 2 * first].mean(-1), error[..., -last:].mean(-1)
    growth, exponent = paired_ratio(late, early), over_seeds(_exponents(group, first).quantile(0.5, dim=1))
    return {
        **_settings(arm, air),
        "steps": block * blocks,
        **row_of([flight.scored for flight in group]),
        "early": geometric_mean(early.quantile(0.5, dim=1)).mean,
        "late": geometric_mean(late.quantile(0.5, dim=1)).mean,
        **flat("growth", growth),
        "growth_side": side_of(growth, 1.0),
        **flat("exponent", exponent),
        "exponent_side": side_of(exponent, 1.0),
        **flat("diverged_demonstrated", share(_gone(group, demonstrated))),
    }


def _settings(arm: Arms, air: Air) -> dict[str, Any]:
    return {"gains": arm[0], "n_demos": arm[1], "sigma": arm[2], "air": air}


def _exponents(group: Sequence[LongFlight], first: int) -> Float[Tensor, "seeds starts"]:
    """log(M(H) / M(h)) / log(H / h) with M the largest error so far, h the demonstrations' end, H the flight's."""
    largest = torch.tensor([flight.peak for flight in group], dtype=torch.float64).cummax(-1).values
    grown = (largest[..., -1] / largest[..., first - 1].clamp(min=1e-9)).clamp(min=1.0)
    return grown.log() / math.log(largest.shape[-1] / first)


def _gone(group: Sequence[LongFlight], steps: int) -> Bool[Tensor, "seeds starts"]:
    """Whether each flight has diverged within a number of steps."""
    return torch.tensor([[left is not None and left < steps for left in flight.left] for flight in group])


def comparisons_of(groups: Groups) -> list[dict[str, Any]]:
    """Gains against raw actions with the same noise, and noise against none with the same gains, in each air."""
    found = list[dict[str, Any]]()
    for ((kind, count, sigma), air), group in groups.items():
        bases: dict[str, Arms] = {}
        if kind != "none":
            bases["raw actions with the same noise"] = ("none", count, sigma)
        if sigma > 0:
            bases["the same without noise"] = (kind, count, 0.0)
        own = [flight.scored for flight in group]
        for name, base in bases.items():
            if other := groups.get((base, air)):
                what = {**_settings((kind, count, sigma), air), "against": name}
                found.append({**what, **comparison_of(own, [flight.scored for flight in other])})
    return found


def curves_of(groups: Groups, *, dt: float) -> list[dict[str, Any]]:
    """Error and share of diverged flights of each arm in each air over time, all seeds and starts together.

    At the end of each block, `seconds`: `median` and the 10 % and 90 % quantiles of the errors (`low`, `high`), and
    the share of flights that have diverged with its interval.
    """
    return [_curve(arm, air, group, dt) for (arm, air), group in groups.items()]


def _curve(arm: Arms, air: Air, group: Sequence[LongFlight], dt: float) -> dict[str, Any]:
    error = torch.tensor([flight.error for flight in group], dtype=torch.float64).flatten(0, 1)
    block, blocks = group[0].block, error.shape[1]
    low, median, high = ([float(each) for each in error.quantile(q, dim=0)] for q in (0.1, 0.5, 0.9))
    shares = [share(_gone(group, block * (index + 1))) for index in range(blocks)]
    return {
        **_settings(arm, air),
        "seconds": [dt * block * (index + 1) for index in range(blocks)],
        "median": median,
        "low": low,
        "high": high,
        "diverged": [each.mean for each in shares],
        "diverged_low": [each.low for each in shares],
        "diverged_high": [each.high for each in shares],
    }


GUST = 0.03
"""Std of the gusts per step on each rate [m/s, m/s, rad/s]."""

BLOCKS = 100
"""Number of blocks of equal length that an episode is divided into."""


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
    environment, blown = SystemEnvironment(world.task, steps=steps), gusts(world, air, steps)
    expert = PlanningExpert(MpcExpert(world.task))
    return stored(rollout(expert, environment, starts=world.expert.states[:, 0], disturbance=blown).trajectory)


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
            guides = [_read_expert(expert_path(folder, (air, job.steps))) for air in AIRS]
            each = zip(AIRS, both.parts(len(AIRS)), guides, strict=True)
            yield job, [_beside(world, air, part, guide) for air, part, guide in each]
    trained.check()


def _flights(arms: Sequence[tuple[LongJob, Planner]], world: QuadrotorWorld) -> Rollout:
    """Flights of all jobs, one after another, each in both airs."""
    steps = arms[0][0].steps
    policies = [
        Policy(planner, execution=replace(recipe_of(job.arm).policy.execution, sigma_deploy=job.arm.sigma))
        for job, planner in arms
    ]
    together = StackedPolicies(policies, seeds=[job.arm.seed for job, _ in arms])
    blown = torch.cat([gusts(world, air, steps) for air in AIRS])
    starts = world.expert.states[:, 0].repeat(len(AIRS) * len(arms), 1)
    environment = SystemEnvironment(world.task, steps=steps)
    return rollout(together, environment, starts=starts, disturbance=blown.repeat(len(arms), 1, 1))


def _beside(world: QuadrotorWorld, air: Air, flown: Rollout, guide: Trajectory) -> LongFlight:
    comparison = compare(world.task, flown.trajectory, guide, lost=flown.lost)
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
