"""Policies cloned from demonstrations of 100 steps, flown for a thousand and more, on the quadrotor.

The expert only comes to rest, so that a flight in still air says little after it has arrived. Each policy therefore
flies twice from the same held-out starts: in still air, and in gusts, noise on the rates that is the same for every
policy and for the expert. The expert is the model-predictive one of the demonstrations, planning all the way.
"""

import itertools
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any, assert_never

import torch
from jaxtyping import Float
from safetensors.torch import load_file, save  # pyright: ignore[reportUnknownVariableType]
from torch import Tensor

from ...control import MpcExpert
from ...envs import Rollout, SystemEnvironment, rollout
from ...errors import RecipeError
from ...evaluation import compare
from ...evaluation.score import DIVERGENCE_RADIUS
from ...policy import Planner, Policy, StackedPolicies
from ...seeding import stream
from ...types import Observation, Trajectory
from ..engine.pool import run_kept, run_together
from ..quadrotor.arms import Arm, Gains, recipe_of
from ..quadrotor.cells import Preset, digest_of, judged, kept_world, world_digest, world_of
from ..quadrotor.run_arms import GROUP, shape_of, train_planners
from ..quadrotor.world import QuadrotorWorld
from .rows import AIRS, Air, Arms, Curve, LongFlight, comparisons_of, curves_of, rows_of

__all__ = ["GUST", "LongHorizon", "LongJob", "PlanningExpert", "gusts", "long_horizon", "plan_long_horizon"]

GUST = 0.03
"""Std, at each step, of what gusts add to each rate [m/s, m/s, rad/s]."""

QUICK_UPDATES = 2000
"""Two thirds of what `fig5` trains with."""

_BLOCKS = 100


@dataclass(frozen=True)
class LongJob:
    """One training and its long flights, with the training's noise.

    Attributes:
        arm: What is trained.
        steps: Control steps of a flight.
    """

    arm: Arm
    steps: int

    @property
    def name(self) -> str:
        """What its file is called; another for another recipe, other flights or another version."""
        return f"{self.arm.key}-{digest_of(self.steps, GUST)}"


@dataclass(frozen=True)
class LongHorizon:
    """The study's values.

    Attributes:
        rows: One flat object an arm and air, over its seeds: see `rows_of`.
        comparisons: Gains beside raw actions, noise beside none, paired.
        curves: Error and share of diverged flights over time.
    """

    rows: list[dict[str, Any]]
    comparisons: list[dict[str, Any]]
    curves: list[Curve]


class PlanningExpert:
    """The model-predictive expert as a policy, for flights in which something else than its plan moves the state."""

    def __init__(self, expert: MpcExpert) -> None:
        self.expert = expert
        self.reset()

    def reset(self, seed: int | None = None) -> None:
        """Forget the last plan."""
        self.warm_start: Tensor | None = None

    def act(self, observation: Observation, state: Float[Tensor, "b n"]) -> Float[Tensor, "b m"]:
        """The first action of a fresh plan, which starts from the last one, shifted by a step."""
        plan = self.expert.plan(state, self.warm_start)
        self.warm_start = torch.cat([plan.actions[:, 1:], plan.actions[:, -1:]], 1)
        return plan.actions[:, 0]


def plan_long_horizon(
    preset: Preset,
    *,
    seeds: int = 3,
    demos: Sequence[int] | None = None,
    sigmas: Sequence[float] | None = None,
    steps: int | None = None,
    updates: int | None = None,
) -> list[LongJob]:
    """All trainings of a preset: raw actions, gains of two kinds; with noise and without.

    Args:
        preset: `quick`: 3 and 10 demonstrations, 1,000 steps; `full`: 1, 3 and 10, 5,000 steps, more noises.
        seeds: Training seeds; each also chooses its demonstrations.
        demos: Numbers of demonstrations, in place of the preset's.
        sigmas: Noise levels, in training and flight alike, in place of the preset's.
        steps: Of a flight, in place of the preset's.
        updates: Of each training, in place of the preset's.

    Raises:
        RecipeError: A flight is shorter than two demonstrations, or is not a whole number of blocks.
    """
    match preset:
        case "quick":
            grid = demos or (3, 10), sigmas or (0.0, 0.1)
            length, updates = steps or 1000, updates or QUICK_UPDATES
        case "full":
            grid = demos or (1, 3, 10), sigmas or (0.0, 0.03, 0.1, 0.3)
            length = steps or 5000
        case _:
            assert_never(preset)
    if length < 200 or length % _BLOCKS:
        raise RecipeError(f"expected flights of 200 steps or more, a multiple of {_BLOCKS}, got {length}.")
    kinds: tuple[Gains, ...] = ("none", "tvlqr", "receding")
    return [
        LongJob(Arm("holdfast", count, kind, sigma, seed, steps=updates), length)
        for seed, count, kind, sigma in itertools.product(range(seeds), grid[0], kinds, grid[1])
    ]


def long_horizon(
    jobs: Sequence[LongJob],
    folder: Path,
    *,
    preset: Preset = "quick",
    size: tuple[int, int] | None = None,
    workers: int | None = None,
    on_expert: Callable[[int], None] = lambda done: None,
    on_done: Callable[[int], None] = lambda done: None,
) -> LongHorizon:
    """Run the study.

    Args:
        jobs: The trainings, from `plan_long_horizon`.
        folder: Where finished flights are kept; a stopped study goes on from there.
        preset: How large the shared world is.
        size: Demonstrations to choose from and held-out starts, in place of the preset's.
        workers: Processes; all cores if nothing is said.
        on_expert: Called with the number of the expert's two flights done.
        on_done: Called with the number of trainings done.
    """
    world = kept_world(folder, preset, size)
    skies: list[tuple[Air, int]] = [(air, steps) for steps in sorted({job.steps for job in jobs}) for air in AIRS]
    run_kept(skies, partial(_guide, folder), partial(guide_path, folder), workers=workers, on_done=on_expert)
    paths = partial(_path, folder)
    run_together(jobs, partial(_run, folder), paths, alike=_shape, size=GROUP, workers=workers, on_done=on_done)
    groups = dict[tuple[Arms, Air], list[LongFlight]]()
    for job in jobs:
        for flight in _read(folder, job):
            groups.setdefault(((job.arm.gains, job.arm.n_demos, job.arm.sigma), flight.air), []).append(flight)
    return LongHorizon(
        rows=rows_of(groups, demonstrated=world.task.steps),
        comparisons=comparisons_of(groups),
        curves=curves_of(groups, dt=world.task.dt),
    )


def gusts(world: QuadrotorWorld, air: Air, steps: int) -> Float[Tensor, "b t n"]:
    """What is added to the next state at each step: nothing, or independent Gaussian noise on the rates."""
    count, n = len(world.held_out), world.task.n_states
    noise = torch.randn(count, steps, n, dtype=torch.float64, generator=stream(0, "quadrotor study", "gusts"))
    return noise * torch.tensor([0.0] * 3 + [0.0 if air == "still" else GUST] * 3, dtype=torch.float64)


def guide_path(folder: Path, sky: tuple[Air, int]) -> Path:
    """The file that keeps the expert's flight in one air, of so many steps."""
    air, steps = sky
    return folder / "expert" / f"{air}-{steps}-{digest_of(GUST)}-{world_digest(folder)}.safetensors"


def guide_bytes(flight: Trajectory) -> bytes:
    """A flight as it is kept."""
    return save({"states": flight.states.contiguous(), "actions": flight.actions.contiguous()})


def fly_long(jobs: Sequence[LongJob], folder: Path) -> Iterator[tuple[LongJob, list[LongFlight]]]:
    """Train arms of one shape as one program and fly each in both airs, all as one batch.

    Raises:
        DivergedError: A training's loss was not finite; all others' flights came before.
    """
    world = world_of(folder)
    trained = train_planners([job.arm for job in jobs], world)
    flown = [job for job in jobs if job.arm in trained.planners]
    if flown:
        parts = _flights([(job, trained.planners[job.arm]) for job in flown], world).parts(len(flown))
        for job, both in zip(flown, parts, strict=True):
            guides = [_kept_guide(guide_path(folder, (air, job.steps))) for air in AIRS]
            each = zip(AIRS, both.parts(len(AIRS)), guides, strict=True)
            yield job, [_beside(world, air, part, guide) for air, part, guide in each]
    trained.check()


def _flights(arms: Sequence[tuple[LongJob, Planner]], world: QuadrotorWorld) -> Rollout:
    """Job by job, the airs of each in turn."""
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
    blocks = comparison.error.reshape(len(comparison.error), _BLOCKS, -1)
    plain = judged(comparison)
    return LongFlight(
        air=air,
        block=blocks.shape[-1],
        score=plain.score,
        distance=plain.distance,
        error=[[float(value) for value in start] for start in blocks.mean(-1)],
        peak=[[float(value) for value in start] for start in blocks.amax(-1)],
        left=[int(each.int().argmax()) if bool(each.any()) else None for each in gone],
    )


def _guide(folder: Path, sky: tuple[Air, int]) -> bytes:
    world, (air, steps) = world_of(folder), sky
    expert = PlanningExpert(MpcExpert(world.task))
    starts = world.expert.states[:, 0]
    return guide_bytes(
        rollout(
            expert, SystemEnvironment(world.task, steps=steps), starts=starts, disturbance=gusts(world, air, steps)
        ).trajectory
    )


@cache
def _kept_guide(path: Path) -> Trajectory:
    kept = load_file(path)
    return Trajectory(actions=kept["actions"], states=kept["states"])


def _run(folder: Path, jobs: Sequence[LongJob]) -> Iterator[tuple[LongJob, bytes]]:
    for job, flights in fly_long(jobs, folder):
        yield job, json.dumps([vars(flight) for flight in flights]).encode()


def _shape(job: LongJob) -> str:
    return f"{shape_of(job.arm)} {job.steps}"


def _path(folder: Path, job: LongJob) -> Path:
    return folder / "flights" / f"{job.name}-{world_digest(folder)}.json"


def _read(folder: Path, job: LongJob) -> list[LongFlight]:
    return [LongFlight(**plain) for plain in json.loads(_path(folder, job).read_text())]
