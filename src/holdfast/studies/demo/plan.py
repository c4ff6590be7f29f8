"""The demo: one demonstration, cloned in two ways, evaluated from the same held-out starts."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from ...control import Quadrotor2D, Tvlqr
from ...envs import Rollout
from ...evaluation import Comparison, Estimate, summary
from ...learn import choose_episodes, fit, planner_of, prepare
from ...policy import Policy
from ...recipe import Recipe
from ...types import Trajectory
from ..quadrotor.arms import Arm, deployments, recipe_of
from ..quadrotor.world import HoverRegulator, QuadrotorWorld, make_world

SIGMA = 0.3
RUNS = {"none": "raw", "tvlqr": "hint", "receding": "close"}
"""Gains → name of the run folder."""


@dataclass(frozen=True)
class Evaluated:
    """A policy's flights from the held-out starts, their comparison with the expert's, and its recipe."""

    name: str
    trajectory: Trajectory
    comparison: Comparison
    estimates: dict[str, Estimate]
    recipe: Recipe | None = None


@dataclass(frozen=True)
class DemoResult:
    """Results of the demo.

    Attributes:
        demonstration: The demonstration that all policies were trained on.
        hint: Cloned primitive controllers, with noise in training and at deployment.
        close: The same with the expert's own feedback as gains, which stays close to the expert.
        regulator: One gain at hover, without learning.
    """

    world: QuadrotorWorld
    demonstration: Trajectory
    raw: Evaluated
    hint: Evaluated
    close: Evaluated
    regulator: Evaluated

    @property
    def policies(self) -> tuple[Evaluated, ...]:
        """All policies, in the order of the page."""
        return (self.raw, self.hint, self.close, self.regulator)


def demo(
    folder: Path,
    *,
    place: Path | None = None,
    seed: int = 0,
    starts: int = 64,
    steps: int | None = None,
    on_stage: Callable[[str, int], Callable[[int], None]] = lambda name, total: lambda done: None,
) -> DemoResult:
    """Record demonstrations, train, and evaluate.

    Args:
        folder: Folder for the demonstrations and the run folders.
        place: Folder to which that one will be moved; the recipes name the demonstrations there. Default: `folder`.
        seed: Random seed.
        starts: Number of held-out initial states.
        steps: Number of updates of each training.
        on_stage: Called at the start of each stage.
    """
    advance = on_stage("expert rollouts", 2 * Quadrotor2D().steps)
    world = make_world(folder / "world", demonstrations=3, starts=starts, on_step=advance)
    arms = {
        "raw actions": Arm("holdfast", 1, "none", 0.0, seed, steps=steps),
        "HINT": Arm("holdfast", 1, "tvlqr", SIGMA, seed, steps=steps),
        "HINT, the expert's feedback": Arm("holdfast", 1, "receding", SIGMA, seed, steps=steps),
    }
    found = list[Evaluated]()
    for name, arm in arms.items():
        advance = on_stage(f"training: {name}", recipe_of(arm).training.steps)
        found.append(_train_and_score(name, arm, world, folder, place or folder, advance))
    weights = world.task.weights()[1].diagonal()
    regulator = HoverRegulator(world.task, Tvlqr(action_weight=tuple(float(value) for value in weights)))
    chosen, _ = choose_episodes(recipe_of(arms["HINT"]), world.pool)
    return DemoResult(
        world=world,
        demonstration=chosen.trajectory(0),
        raw=found[0],
        hint=found[1],
        close=found[2],
        regulator=_evaluated("hover regulator, nothing learned", world, world.fly(regulator.policy())),
    )


def _train_and_score(
    name: str, arm: Arm, world: QuadrotorWorld, folder: Path, place: Path, on_step: Callable[[int], None]
) -> Evaluated:
    recipe = recipe_of(arm)
    execution = list(deployments(arm).values())[-1]
    pool = str((place / "world" / "pool").resolve())
    recipe = replace(recipe, policy=replace(recipe.policy, execution=execution), data=pool)
    data = prepare(recipe, world.pool)
    state = fit(recipe, data, folder / "runs" / RUNS[arm.gains], on_step=lambda state: on_step(state.step))
    policy = Policy(planner_of(recipe, data, state))
    return replace(_evaluated(name, world, world.fly(policy, seed=arm.seed)), recipe=recipe)


def _evaluated(name: str, world: QuadrotorWorld, flights: Rollout) -> Evaluated:
    comparison = world.judge(flights)
    return Evaluated(name, flights.trajectory, comparison, summary(comparison))
