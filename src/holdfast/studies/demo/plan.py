"""The main job from end to end, small: one demonstration, two ways to clone it, the same held-out starts."""

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

__all__ = ["DemoResult", "Flown", "demo"]

SIGMA = 0.3
RUNS = {"none": "raw", "tvlqr": "hint", "receding": "close"}
"""Run folders by the gains that were cloned."""


@dataclass(frozen=True)
class Flown:
    """One policy's flights from the held-out starts, how they compare with the expert's, and how it was trained."""

    name: str
    trajectory: Trajectory
    comparison: Comparison
    estimates: dict[str, Estimate]
    recipe: Recipe | None = None


@dataclass(frozen=True)
class DemoResult:
    """What the demo shows.

    Attributes:
        world: Demonstrations and held-out starts.
        demonstration: The one demonstration that both policies were trained on.
        raw: Cloned raw actions.
        hint: Cloned primitive controllers, noised in training and deployment.
        close: The same with the expert's own feedback as gains, which follows the expert rather than outdoes it.
        regulator: One gain at hover, without learning.
    """

    world: QuadrotorWorld
    demonstration: Trajectory
    raw: Flown
    hint: Flown
    close: Flown
    regulator: Flown

    @property
    def flown(self) -> tuple[Flown, ...]:
        """All policies, in the order of the story."""
        return (self.raw, self.hint, self.close, self.regulator)


def demo(
    folder: Path,
    *,
    seed: int = 0,
    starts: int = 64,
    steps: int | None = None,
    on_stage: Callable[[str, int], Callable[[int], None]] = lambda name, total: lambda done: None,
) -> DemoResult:
    """Demonstrate, train, fly.

    Args:
        folder: Where demonstrations, the expert's flights (`world`) and the policies (`runs`) are kept.
        seed: Of the choice of the demonstration, the weights and the noise.
        starts: Held-out initial states.
        steps: Updates of each training; the study's own number if nothing is said.
        on_stage: Called with the name and the number of steps of each part as it begins; answers with what to call
            with the steps done.
    """
    advance = on_stage("expert flights", 2 * Quadrotor2D().steps)
    world = make_world(folder / "world", demonstrations=3, starts=starts, on_step=advance)
    arms = {
        "raw actions": Arm("holdfast", 1, "none", 0.0, seed, steps=steps),
        "HINT": Arm("holdfast", 1, "tvlqr", SIGMA, seed, steps=steps),
        "HINT, the expert's feedback": Arm("holdfast", 1, "receding", SIGMA, seed, steps=steps),
    }
    flown = list[Flown]()
    for name, arm in arms.items():
        advance = on_stage(f"training: {name}", recipe_of(arm).training.steps)
        flown.append(_train_and_fly(name, arm, world, folder, advance))
    weights = world.task.weights()[1].diagonal()
    regulator = HoverRegulator(world.task, Tvlqr(action_weight=tuple(float(value) for value in weights)))
    chosen, _ = choose_episodes(recipe_of(arms["HINT"]), world.pool)
    return DemoResult(
        world=world,
        demonstration=chosen.trajectory(0),
        raw=flown[0],
        hint=flown[1],
        close=flown[2],
        regulator=_judged("hover + Kx, nothing learnt", world, world.fly(regulator.policy())),
    )


def _train_and_fly(name: str, arm: Arm, world: QuadrotorWorld, folder: Path, on_step: Callable[[int], None]) -> Flown:
    recipe = recipe_of(arm)
    execution = list(deployments(arm).values())[-1]
    pool = str((folder / "world" / "pool").resolve())
    recipe = replace(recipe, policy=replace(recipe.policy, execution=execution), data=pool)
    data = prepare(recipe, world.pool)
    state = fit(recipe, data, folder / "runs" / RUNS[arm.gains], on_step=lambda state: on_step(state.step))
    policy = Policy(planner_of(recipe, data, state))
    return replace(_judged(name, world, world.fly(policy, seed=arm.seed)), recipe=recipe)


def _judged(name: str, world: QuadrotorWorld, flights: Rollout) -> Flown:
    comparison = world.judge(flights)
    return Flown(name, flights.trajectory, comparison, summary(comparison))
